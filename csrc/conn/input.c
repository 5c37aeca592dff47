// What clients send: receiving it, large values past all buffers, and keeping what cannot be served
// yet.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "conn/conn_internal.h"

#define NO_INPUT_MEMORY "SERVER_ERROR out of memory reading request\r\n"
// Of a large value so many parts are received at once at most, and so much before others get their
// turn.
#define DIRECT_PARTS 8
#define DIRECT_READS 32
#define DIRECT_BYTES_MAX (4u << 20)
#define BEHIND_BYTES 8192
// Where large values come so much is received at first: the line. How much has come behind it is
// asked, and all of that goes straight into the item instead of being copied from the input.
#define LITTLE_BYTES 512
// While replies wait for a client that is still writing the keys of one get, so much of them is
// kept: of one client, and of all clients of a worker together with the rest of their kept input.
#define AHEAD_BYTES_MAX (32u << 20)
#define AHEAD_BYTES_ALL_MAX (64u << 20)
#define AHEAD_BYTES_FIRST 65536
#define AHEAD_READS 32
// A buffer of which less than a part like this is in use is exchanged for one that fits.
#define SPARSE_PART 4

static void count_input(struct conns *conns, int64_t buffers, int64_t bytes) {
    conns->input_bytes += (uint64_t)bytes;
    count(conns->proc, COUNTER_read_buf_count, (uint64_t)buffers);
    count(conns->proc, COUNTER_read_buf_bytes, (uint64_t)bytes);
}

void conn_input_drop(struct conns *conns, struct connection *connection) {
    if (connection->kept.base) {
        count_input(conns, -1, -(int64_t)connection->kept.room);
        free(connection->kept.base);
        connection->kept = (struct kept_input){0};
    }
}

// Says why, when it can be said, and closes.
static void refuse_input(struct conns *conns, struct connection *connection) {
    count(conns->proc, COUNTER_read_buf_oom, 1);
    conns_send_deferred(conns);    // What this connection was answered comes first.
    if (!connection->backlog && conn_is_open(connection)
        && transport_send(&connection->transport, NO_INPUT_MEMORY, sizeof NO_INPUT_MEMORY - 1)
               > 0) {
        count(conns->proc, COUNTER_bytes_written, sizeof NO_INPUT_MEMORY - 1);
    }
    conn_close(conns, connection);
}

void conn_input_lend(struct conns *conns, struct connection *connection) {
    conns->lent = connection->kept;
    connection->kept = (struct kept_input){0};
    count_input(conns, conns->lent.base ? -1 : 0, -(int64_t)conns->lent.room);
}

void conn_input_take_back(struct conns *conns) {
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

void conn_input_keep(struct conns *conns, struct connection *connection, const char *rest,
                     size_t bytes) {
    if (LIKELY(bytes == 0)) {
        conn_input_drop(conns, connection);
        return;
    }
    if (keep_lent(conns, connection, rest, bytes)) {
        return;
    }
    bool is_too_much = conns->input_bytes - connection->kept.room + bytes > limit_of(conns);
    char *copy = is_too_much ? NULL : malloc(bytes);
    if (!copy) {
        refuse_input(conns, connection);
        return;
    }
    memcpy(copy, rest, bytes);
    conn_input_drop(conns, connection);
    connection->kept =
        (struct kept_input){.base = copy, .bytes = (uint32_t)bytes, .room = (uint32_t)bytes};
    count_input(conns, 1, (int64_t)bytes);
}

bool conn_input_has_value(const struct connection *connection) {
    return connection->has_more && connection->state == CONN_READING && connection->kept.bytes == 0
           && session_is_filling_value(&connection->session);
}

// The transport had nothing for the connection: it waits for an event, or is over.
static void received_none(struct conns *conns, struct connection *connection, ssize_t result) {
    if (result == TRANSPORT_LATER) {
        conn_want(conns, connection, connection->wants);    // The transport may wish for another.
    } else {
        conn_close(conns, connection);
    }
}

// Whether to receive again without an event. Behind the last bytes is the end.
static bool may_hold_more(const struct connection *connection, bool was_filled) {
    return was_filled || connection->has_ended || connection->transport.holds_input;
}

// Where the next bytes of a large value belong.
struct direct_places {
    struct iovec pieces[DIRECT_PARTS + 1];
    size_t count;
    size_t value_room;    // Bytes of the value that fit ...
    size_t room;          // ... and with them what may be received behind it.
};

// One part of the value, and as many more as surely have bytes to come in: only what has come takes
// memory. The value's end comes with its last bytes, as does what follows it.
static void find_places(struct connection *connection, char *behind, struct direct_places *places) {
    struct session *session = &connection->session;
    char *place = NULL;
    bool is_last;
    size_t arrived = session->arrived_bytes;
    size_t fits = session_direct_place(session, 0, &place, &is_last);
    // Without room in the item the session is fed: it gives the value up.
    bool goes_behind = fits == 0;
    session->arrived_bytes = 0;
    places->count = 0;
    places->value_room = 0;
    while (fits > 0) {
        places->pieces[places->count++] = (struct iovec){place, fits};
        places->value_room += fits;
        goes_behind = is_last;
        if (is_last || places->count == DIRECT_PARTS) {
            break;
        }
        arrived = arrived ? arrived : transport_arrived(&connection->transport);
        fits = arrived > places->value_room
                   ? session_direct_place(session, places->value_room, &place, &is_last)
                   : 0;
    }
    places->room = places->value_room;
    if (goes_behind) {
        places->pieces[places->count++] = (struct iovec){behind, BEHIND_BYTES};
        places->room += BEHIND_BYTES;
    }
}

size_t conn_input_receive_value(struct conns *conns, struct connection *connection, char *behind) {
    size_t all = 0;
    for (int reads = 0; reads < DIRECT_READS && all < DIRECT_BYTES_MAX; reads++) {
        struct direct_places places;
        find_places(connection, behind, &places);
        ssize_t result =
            transport_receive_pieces(&connection->transport, places.pieces, places.count);
        connection->has_more = false;
        if (result <= 0) {
            received_none(conns, connection, result);
            return 0;
        }
        size_t received = (size_t)result;
        size_t filled = received < places.value_room ? received : places.value_room;
        all += received;
        count(conns->proc, COUNTER_bytes_read, received);
        session_direct_filled(&connection->session, filled);
        connection->has_more = may_hold_more(connection, received == places.room);
        if (received > filled || received < places.room) {
            return received - filled;
        }
    }
    connection->has_more = true;    // Others get their turn in between.
    return 0;
}

void conn_input_note_command(struct conns *conns, struct connection *connection) {
    uint32_t now = conns->proc->now_seconds;
    if (connection->last_command_seconds != now) {
        connection->last_command_seconds = now;
        SHARED_STORE(connection->record->last_command_seconds, now);
    }
}

// Whether the kept input holds a line's end. Each byte is looked at once.
static bool has_line_end(struct kept_input *kept) {
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

static void end_ahead(struct conns *conns, struct connection *connection) {
    conn_move(connection, CONN_SENDING);
    conn_want(conns, connection, TRANSPORT_OUT);
}

void conn_input_begin_ahead(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_SENDING && session_is_in_get(&connection->session)
        && !has_line_end(&connection->kept)) {
        conn_move(connection, CONN_SENDING_AHEAD);
        conn_want(conns, connection, TRANSPORT_IN | TRANSPORT_OUT);
    }
}

// Makes room behind the kept input. Returns false at the bound, or when there is no memory.
static bool make_room(struct conns *conns, struct connection *connection) {
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
    conn_input_drop(conns, connection);
    *kept = larger;
    count_input(conns, 1, room);
    return true;
}

// Replies wait until the client takes them, and it takes none before it has written its whole get.
static void read_ahead(struct conns *conns, struct connection *connection) {
    struct kept_input *kept = &connection->kept;
    for (int reads = 0; reads < AHEAD_READS; reads++) {
        if (!make_room(conns, connection)) {
            count(conns->proc, COUNTER_read_ahead_refused, 1);
            end_ahead(conns, connection);
            return;
        }
        uint32_t end = kept->at + kept->bytes;
        ssize_t received =
            transport_receive(&connection->transport, kept->base + end, kept->room - end);
        if (received == TRANSPORT_LATER) {
            conn_want(conns, connection, connection->wants);
            return;
        }
        if (received <= 0) {
            end_ahead(conns, connection);    // Looked at again when the replies are sent.
            return;
        }
        count(conns->proc, COUNTER_bytes_read, (uint64_t)received);
        kept->bytes += (uint32_t)received;
        if (has_line_end(kept)) {
            end_ahead(conns, connection);
            return;
        }
    }
    conn_read_again(conns, connection);
}

// An event of input for a connection that does not converse now.
static void receive_otherwise(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_SENDING_AHEAD) {
        read_ahead(conns, connection);
        conn_writable(conns, connection);    // The event may have told of both.
    } else if (conn_is_waiting(connection)) {
        connection->has_missed_input = true;
    }
    // In the other states asking for input again brings the event again.
}

size_t conn_receive(struct conns *conns, struct connection *connection, char *stage) {
    if (UNLIKELY(connection->state != CONN_READING)) {
        receive_otherwise(conns, connection);
        return 0;
    }
    conn_input_note_command(conns, connection);
    size_t kept = connection->kept.bytes;
    if (UNLIKELY(session_is_filling_value(&connection->session)) && kept == 0) {
        size_t behind = conn_input_receive_value(conns, connection, stage);
        conn_values_note(conns, connection);
        if (behind == 0 && connection->has_more && conn_is_open(connection)) {
            connection->has_more = false;
            conn_read_again(conns, connection);
        }
        return behind;
    }
    PYMC_CHECK(kept < STAGE_BYTES);
    if (UNLIKELY(kept)) {
        memcpy(stage, connection->kept.base + connection->kept.at, kept);
    }
    size_t space = LIKELY(!connection->reads_little) || kept ? STAGE_BYTES - kept : LITTLE_BYTES;
    ssize_t received = transport_receive(&connection->transport, stage + kept, space);
    if (UNLIKELY(received <= 0)) {
        received_none(conns, connection, received);
        return 0;
    }
    count(conns->proc, COUNTER_bytes_read, (uint64_t)received);
    connection->has_more = may_hold_more(connection, (size_t)received == space);
    if (UNLIKELY(space == LITTLE_BYTES && connection->has_more)) {
        connection->session.arrived_bytes = transport_arrived(&connection->transport);
    }
    return kept + (size_t)received;
}
