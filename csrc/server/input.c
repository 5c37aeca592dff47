// What clients send: receiving it, large values past all buffers, and keeping what cannot be served
// yet.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "server/server_internal.h"

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

static void count_input(struct engine *engine, int64_t buffers, int64_t bytes) {
    engine->input_bytes += (uint64_t)bytes;
    count(engine->proc, COUNTER_read_buf_count, (uint64_t)buffers);
    count(engine->proc, COUNTER_read_buf_bytes, (uint64_t)bytes);
}

void input_drop(struct engine *engine, struct connection *connection) {
    if (connection->kept.base) {
        count_input(engine, -1, -(int64_t)connection->kept.room);
        free(connection->kept.base);
        connection->kept = (struct kept_input){0};
    }
}

// Says why, when it can be said, and closes.
static void refuse_input(struct engine *engine, struct connection *connection) {
    count(engine->proc, COUNTER_read_buf_oom, 1);
    connections_send_deferred(engine);    // What this connection was answered comes first.
    if (!connection->backlog && !connection->is_dead
        && send(connection->fd, NO_INPUT_MEMORY, sizeof NO_INPUT_MEMORY - 1,
                MSG_NOSIGNAL | MSG_DONTWAIT)
               > 0) {
        count(engine->proc, COUNTER_bytes_written, sizeof NO_INPUT_MEMORY - 1);
    }
    connection_close(engine, connection);
}

void input_lend(struct engine *engine, struct connection *connection) {
    engine->lent = connection->kept;
    connection->kept = (struct kept_input){0};
    count_input(engine, engine->lent.base ? -1 : 0, -(int64_t)engine->lent.room);
}

void input_take_back(struct engine *engine) {
    free(engine->lent.base);
    engine->lent = (struct kept_input){0};
}

// The rest lies in the buffer that was lent, and fills a good part of it: it stays there.
static bool keep_lent(struct engine *engine, struct connection *connection, const char *rest,
                      size_t bytes) {
    struct kept_input *lent = &engine->lent;
    uintptr_t offset = (uintptr_t)rest - (uintptr_t)lent->base;
    if (!lent->base || offset >= lent->room || bytes * SPARSE_PART < lent->room) {
        return false;
    }
    connection->kept = *lent;
    connection->kept.at = (uint32_t)offset;
    connection->kept.bytes = (uint32_t)bytes;
    *lent = (struct kept_input){0};
    count_input(engine, 1, connection->kept.room);
    return true;
}

static uint64_t limit_of(const struct engine *engine) {
    uint64_t limit =
        (uint64_t)live_get(engine->arena, LIVE_read_buffer_limit_bytes) / engine->workers;
    return limit ? limit : UINT64_MAX;
}

void input_keep(struct engine *engine, struct connection *connection, const char *rest,
                size_t bytes) {
    if (LIKELY(bytes == 0)) {
        input_drop(engine, connection);
        return;
    }
    if (keep_lent(engine, connection, rest, bytes)) {
        return;
    }
    bool is_too_much = engine->input_bytes - connection->kept.room + bytes > limit_of(engine);
    char *copy = is_too_much ? NULL : malloc(bytes);
    if (!copy) {
        refuse_input(engine, connection);
        return;
    }
    memcpy(copy, rest, bytes);
    input_drop(engine, connection);
    connection->kept =
        (struct kept_input){.base = copy, .bytes = (uint32_t)bytes, .room = (uint32_t)bytes};
    count_input(engine, 1, (int64_t)bytes);
}

bool input_has_value(const struct connection *connection) {
    return connection->has_more && session_is_filling_value(&connection->session)
           && !connection->is_dead && !connection->backlog && !connection->is_on_flash
           && !connection->is_busy && !connection->is_closing && connection->kept.bytes == 0;
}

// How many bytes have surely come that were not received yet.
static uint32_t ask_arrived(const struct connection *connection) {
    int bytes = 0;
    return ioctl(connection->fd, FIONREAD, &bytes) == 0 && bytes > 0 ? (uint32_t)bytes : 0;
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
    size_t arrived = session_arrived(session);
    size_t fits = session_direct_place(session, 0, &place, &is_last);
    // Without room in the item the session is fed: it gives the value up.
    bool goes_behind = fits == 0;
    session_set_arrived(session, 0);
    places->count = 0;
    places->value_room = 0;
    while (fits > 0) {
        places->pieces[places->count++] = (struct iovec){place, fits};
        places->value_room += fits;
        goes_behind = is_last;
        if (is_last || places->count == DIRECT_PARTS) {
            break;
        }
        arrived = arrived ? arrived : ask_arrived(connection);
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

size_t input_receive_value(struct engine *engine, struct connection *connection, char *behind) {
    size_t all = 0;
    for (int reads = 0; reads < DIRECT_READS && all < DIRECT_BYTES_MAX; reads++) {
        struct direct_places places;
        find_places(connection, behind, &places);
        struct msghdr message = {.msg_iov = places.pieces, .msg_iovlen = places.count};
        ssize_t result = recvmsg(connection->fd, &message, MSG_DONTWAIT);
        connection->has_more = false;
        if (result <= 0) {
            if (result == 0 || (errno != EAGAIN && errno != EINTR)) {
                connection_close(engine, connection);
            }
            return 0;
        }
        size_t received = (size_t)result;
        size_t filled = received < places.value_room ? received : places.value_room;
        all += received;
        count(engine->proc, COUNTER_bytes_read, received);
        session_direct_filled(&connection->session, filled);
        connection->has_more = received == places.room || connection->has_ended;
        if (received > filled || received < places.room) {
            return received - filled;
        }
    }
    connection->has_more = true;    // Others get their turn in between.
    return 0;
}

void input_note_command(struct engine *engine, struct connection *connection) {
    uint32_t now = engine->proc->now_seconds;
    if (connection->last_command_seconds != now) {
        connection->last_command_seconds = now;
        SHARED_STORE(record_at(engine, connection->record)->last_command_seconds, now);
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

static void end_ahead(struct engine *engine, struct connection *connection) {
    connection->reads_ahead = false;
    connection_want(engine, connection, EPOLLOUT | EPOLLET);
}

void input_begin_ahead(struct engine *engine, struct connection *connection) {
    if (!connection->is_dead && session_is_in_get(&connection->session)
        && !has_line_end(&connection->kept)) {
        connection->reads_ahead = true;
        connection_want(engine, connection, READ_INTEREST | EPOLLOUT);
    }
}

// Makes room behind the kept input. Returns false at the bound, or when there is no memory.
static bool make_room(struct engine *engine, struct connection *connection) {
    struct kept_input *kept = &connection->kept;
    if (kept->at + kept->bytes < kept->room) {
        return true;
    }
    // What is done with at the front is not taken along.
    uint32_t room = kept->bytes < AHEAD_BYTES_FIRST / 2 ? AHEAD_BYTES_FIRST : 2 * kept->bytes;
    room = room < AHEAD_BYTES_MAX ? room : AHEAD_BYTES_MAX;
    uint64_t all = engine->input_bytes - kept->room + room;
    if (room <= kept->bytes || all > AHEAD_BYTES_ALL_MAX || all > limit_of(engine)) {
        return false;
    }
    char *base = malloc(room);
    if (!base) {
        count(engine->proc, COUNTER_malloc_fails, 1);
        return false;
    }
    struct kept_input larger = {
        .base = base, .bytes = kept->bytes, .room = room, .scanned = kept->bytes};
    if (kept->bytes) {
        memcpy(base, kept->base + kept->at, kept->bytes);
    }
    input_drop(engine, connection);
    *kept = larger;
    count_input(engine, 1, room);
    return true;
}

// Replies wait until the client takes them, and it takes none before it has written its whole get.
static void read_ahead(struct engine *engine, struct connection *connection) {
    struct kept_input *kept = &connection->kept;
    for (int reads = 0; reads < AHEAD_READS; reads++) {
        if (!make_room(engine, connection)) {
            count(engine->proc, COUNTER_read_ahead_refused, 1);
            end_ahead(engine, connection);
            return;
        }
        uint32_t end = kept->at + kept->bytes;
        ssize_t received = recv(connection->fd, kept->base + end, kept->room - end, MSG_DONTWAIT);
        if (received <= 0) {
            if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
                end_ahead(engine, connection);    // Looked at again when the replies are sent.
            }
            return;
        }
        count(engine->proc, COUNTER_bytes_read, (uint64_t)received);
        kept->bytes += (uint32_t)received;
        if (has_line_end(kept)) {
            end_ahead(engine, connection);
            return;
        }
    }
    connection_read_again(engine, connection);
}

size_t connection_receive(struct engine *engine, struct connection *connection, char *stage) {
    if (UNLIKELY(connection->reads_ahead)) {
        read_ahead(engine, connection);
        connection_writable(engine, connection);    // The event may have told of both.
        return 0;
    }
    if (UNLIKELY(connection->backlog || connection->is_parked)) {
        return 0;    // Asking for input again re-arms the event.
    }
    if (UNLIKELY(connection->is_on_flash || connection->is_busy)) {
        connection->has_missed_input = true;
        return 0;
    }
    input_note_command(engine, connection);
    size_t kept = connection->kept.bytes;
    if (UNLIKELY(session_is_filling_value(&connection->session)) && kept == 0) {
        size_t behind = input_receive_value(engine, connection, stage);
        values_note(engine, connection);
        if (behind == 0 && connection->has_more && !connection->is_dead) {
            connection->has_more = false;
            connection_read_again(engine, connection);
        }
        return behind;
    }
    PYMC_CHECK(kept < STAGE_BYTES);
    if (UNLIKELY(kept)) {
        memcpy(stage, connection->kept.base + connection->kept.at, kept);
    }
    size_t space = LIKELY(!connection->reads_little) || kept ? STAGE_BYTES - kept : LITTLE_BYTES;
    ssize_t received = recv(connection->fd, stage + kept, space, MSG_DONTWAIT);
    if (UNLIKELY(received <= 0)) {
        if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
            connection_close(engine, connection);
        }
        return 0;
    }
    count(engine->proc, COUNTER_bytes_read, (uint64_t)received);
    // Behind the last bytes is the end.
    connection->has_more = (size_t)received == space || connection->has_ended;
    if (UNLIKELY(space == LITTLE_BYTES && connection->has_more)) {
        session_set_arrived(&connection->session, ask_arrived(connection));
    }
    return kept + (size_t)received;
}
