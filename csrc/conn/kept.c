// Input that waits for the session: how much is kept, and in what buffer.
#include <stdlib.h>

#include "conn/conn_internal.h"

// While replies wait for a client that is still writing the keys of one get, so much of them is
// kept: of one client, and of all clients of a worker together with the rest of their kept input.
#define AHEAD_BYTES_MAX (32u << 20)
#define AHEAD_BYTES_ALL_MAX (64u << 20)
#define AHEAD_BYTES_FIRST 65536
// A buffer of which less than a part like this is in use is exchanged for one that fits.
#define SPARSE_PART 4

static void count_input(struct conns *conns, int64_t buffers, int64_t bytes) {
    conns->input_bytes += (uint64_t)bytes;
    count(conns->proc, COUNTER_read_buf_count, (uint64_t)buffers);
    count(conns->proc, COUNTER_read_buf_bytes, (uint64_t)bytes);
}

void conn_kept_drop(struct conns *conns, struct connection *connection) {
    if (connection->kept.base) {
        count_input(conns, -1, -(int64_t)connection->kept.room);
        free(connection->kept.base);
        connection->kept = (struct kept_input){0};
    }
}

void conn_kept_lend(struct conns *conns, struct connection *connection) {
    conns->lent = connection->kept;
    connection->kept = (struct kept_input){0};
    count_input(conns, conns->lent.base ? -1 : 0, -(int64_t)conns->lent.room);
}

void conn_kept_take_back(struct conns *conns) {
    free(conns->lent.base);
    conns->lent = (struct kept_input){0};
}

// The rest lies in the buffer that was lent, and fills a good part of it: it stays there.
static bool keep_lent(struct conns *conns, struct connection *connection, const char *rest,
                      size_t bytes) {
    struct kept_input *lent = &conns->lent;
    uintptr_t offset = (uintptr_t)rest - (uintptr_t)lent->base;
    if (!lent->base || offset >= lent->room || bytes * SPARSE_PART < lent->room) {
        return false;
    }
    connection->kept = *lent;
    connection->kept.at = (uint32_t)offset;
    connection->kept.bytes = (uint32_t)bytes;
    *lent = (struct kept_input){0};
    count_input(conns, 1, connection->kept.room);
    return true;
}

static uint64_t limit_of(const struct conns *conns) {
    uint64_t limit =
        (uint64_t)live_get(conns->arena, LIVE_read_buffer_limit_bytes) / conns->workers;
    return limit ? limit : UINT64_MAX;
}

bool conn_kept_put(struct conns *conns, struct connection *connection, const char *rest,
                   size_t bytes) {
    if (LIKELY(bytes == 0)) {
        conn_kept_drop(conns, connection);
        return true;
    }
    if (keep_lent(conns, connection, rest, bytes)) {
        return true;
    }
    bool is_too_much = conns->input_bytes - connection->kept.room + bytes > limit_of(conns);
    char *copy = is_too_much ? NULL : malloc(bytes);
    if (!copy) {
        return false;
    }
    memcpy(copy, rest, bytes);
    conn_kept_drop(conns, connection);
    connection->kept =
        (struct kept_input){.base = copy, .bytes = (uint32_t)bytes, .room = (uint32_t)bytes};
    count_input(conns, 1, (int64_t)bytes);
    return true;
}

bool conn_kept_has_line_end(struct kept_input *kept) {
    if (kept->line_end && kept->line_end > kept->at) {
        return true;
    }
    uint32_t from = kept->scanned > kept->at ? kept->scanned : kept->at;
    uint32_t end = kept->at + kept->bytes;
    const char *found = end > from ? memchr(kept->base + from, '\n', end - from) : NULL;
    kept->scanned = kept->line_end = found ? (uint32_t)(found - kept->base) + 1 : 0;
    if (!found) {
        kept->scanned = end;
    }
    return found != NULL;
}

bool conn_kept_make_room(struct conns *conns, struct connection *connection) {
    struct kept_input *kept = &connection->kept;
    if (kept->at + kept->bytes < kept->room) {
        return true;
    }
    // What is done with at the front is not taken along.
    uint32_t room = kept->bytes < AHEAD_BYTES_FIRST / 2 ? AHEAD_BYTES_FIRST : 2 * kept->bytes;
    room = room < AHEAD_BYTES_MAX ? room : AHEAD_BYTES_MAX;
    uint64_t all = conns->input_bytes - kept->room + room;
    if (room <= kept->bytes || all > AHEAD_BYTES_ALL_MAX || all > limit_of(conns)) {
        return false;
    }
    char *base = malloc(room);
    if (!base) {
        count(conns->proc, COUNTER_malloc_fails, 1);
        return false;
    }
    struct kept_input larger = {
        .base = base, .bytes = kept->bytes, .room = room, .scanned = kept->bytes};
    if (kept->bytes) {
        memcpy(base, kept->base + kept->at, kept->bytes);
    }
    conn_kept_drop(conns, connection);
    *kept = larger;
    count_input(conns, 1, room);
    return true;
}
