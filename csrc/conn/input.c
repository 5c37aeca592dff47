// What clients send: receiving it, large values past all buffers, and keeping what cannot be served
// yet.
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
#define AHEAD_READS 32

// Says why, when it can be said, and closes.
static void refuse_input(struct conns *conns, struct connection *connection) {
    count(conns->proc, COUNTER_read_buf_oom, 1);
    conns_send_deferred(conns);    // What this connection was answered comes first.
    if (!connection->backlog && conn_is_open(connection)
        && transport_send(&connection->transport, NO_INPUT_MEMORY, sizeof NO_INPUT_MEMORY - 1)
               > 0) {
        count(conns->proc, COUNTER_bytes_written, sizeof NO_INPUT_MEMORY - 1);
    }
    conn_close_as(conns, connection, WATCH_IN_ERROR);
}

void conn_input_keep(struct conns *conns, struct connection *connection, const char *rest,
                     size_t bytes) {
    if (UNLIKELY(!conn_kept_put(conns, connection, rest, bytes))) {
        refuse_input(conns, connection);
    }
}

bool conn_input_has_value(const struct connection *connection) {
    return connection->has_more && connection->state == CONN_READING && connection->kept.bytes == 0
           && session_is_filling_value(&connection->session);
}

// The transport had nothing for the connection: it waits for an event, or is over.
static void received_none(struct conns *conns, struct connection *connection, ssize_t result) {
    if (result == TRANSPORT_LATER) {
        conn_want(conns, connection, connection->wants);    // The transport may wish for another.
        conn_values_note(conns, connection);                // And it may have begun a record.
        if (UNLIKELY(connection->transport.holds_input)) {
            conn_read_again(conns, connection);    // Only others get their turn in between.
        }
    } else {
        conn_close_as(conns, connection, result == TRANSPORT_END ? WATCH_NORMAL : WATCH_IN_ERROR);
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

static void end_ahead(struct conns *conns, struct connection *connection) {
    conn_move(connection, CONN_SENDING);
    conn_want(conns, connection, TRANSPORT_OUT);
}

// Replies wait until the client takes them, and it takes none before it has written its whole get.
void conn_read_ahead(struct conns *conns, struct connection *connection) {
    struct kept_input *kept = &connection->kept;
    for (int reads = 0; reads < AHEAD_READS; reads++) {
        if (!conn_kept_make_room(conns, connection)) {
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
        if (conn_kept_has_line_end(kept)) {
            end_ahead(conns, connection);
            return;
        }
    }
    conn_read_again(conns, connection);
}

size_t conn_receive(struct conns *conns, struct connection *connection, char *stage) {
    conn_note_command(conns, connection);
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
        session_set_arrived(&connection->session, transport_arrived(&connection->transport));
    }
    return kept + (size_t)received;
}
