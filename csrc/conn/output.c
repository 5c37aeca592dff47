// What a connection sends: replies, at once if the client takes them, else from a backlog.
#include <stdlib.h>

#include "conn/conn_internal.h"

// Enough for all values of a reply and the text around each.
#define IOV_MAX_HERE (2 * REPLY_VALUES + 1)
// How much one connection may send before others get their turn.
#define SEND_BYTES_MAX (4u << 20)

// Text with values at their places in it, and how much of it is sent.
struct outgoing {
    const char *text;
    uint32_t text_bytes;
    uint32_t sent;
    struct reply_value *values;
    uint32_t value_first;
    uint32_t value_count;
};

// Describes what is unsent in at most IOV_MAX_HERE pieces.
static size_t describe(struct conns *conns, const struct outgoing *out, struct iovec *iov) {
    size_t pieces = 0;
    uint32_t at = out->sent;
    for (uint32_t i = out->value_first; i < out->value_count && pieces < IOV_MAX_HERE; i++) {
        const struct reply_value *value = &out->values[i];
        if (value->buffer_offset > at) {
            iov[pieces++] =
                (struct iovec){(char *)out->text + at, (size_t)value->buffer_offset - at};
            at = value->buffer_offset;
        }
        uint32_t offset = value->sent_bytes;
        const char *place;
        uint32_t bytes;
        while (pieces < IOV_MAX_HERE
               && (bytes = reply_value_span(conns->store, value, offset, &place))) {
            iov[pieces++] = (struct iovec){(char *)place, bytes};
            offset += bytes;
        }
        if (offset < value->value_bytes) {
            return pieces;
        }
    }
    if (pieces < IOV_MAX_HERE && at < out->text_bytes) {
        iov[pieces++] = (struct iovec){(char *)out->text + at, (size_t)out->text_bytes - at};
    }
    return pieces;
}

// Counts sent bytes off the text and the values; unpins what is sent.
static void advance(struct conns *conns, struct outgoing *out, size_t bytes) {
    while (bytes > 0) {
        uint32_t mark = out->value_first < out->value_count
                            ? out->values[out->value_first].buffer_offset
                            : UINT32_MAX;
        if (out->sent < mark) {
            size_t piece = bytes < mark - out->sent ? bytes : mark - out->sent;
            out->sent += (uint32_t)piece;
            bytes -= piece;
            continue;
        }
        struct reply_value *value = &out->values[out->value_first];
        size_t piece = bytes < value->value_bytes - value->sent_bytes
                           ? bytes
                           : value->value_bytes - value->sent_bytes;
        value->sent_bytes += (uint32_t)piece;
        bytes -= piece;
        if (value->sent_bytes == value->value_bytes) {
            reply_value_release(conns->store, value);
            out->value_first++;
        }
    }
}

// Sends until all is gone (TRANSPORT_END), the client takes no more or the connection has had its
// turn (TRANSPORT_LATER), or it is broken.
static int push(struct conns *conns, struct connection *connection, struct outgoing *out) {
    size_t gone = 0;
    while (out->sent < out->text_bytes || out->value_first < out->value_count) {
        ssize_t result;
        if (LIKELY(out->value_first == out->value_count)) {
            result = transport_send(&connection->transport, out->text + out->sent,
                                    out->text_bytes - out->sent);
        } else {
            struct iovec iov[IOV_MAX_HERE];
            size_t pieces = describe(conns, out, iov);
            PYMC_CHECK(pieces > 0);
            result = transport_send_pieces(&connection->transport, iov, pieces);
        }
        if (UNLIKELY(result < 0)) {
            return (int)result;
        }
        count(conns->proc, COUNTER_bytes_written, (uint64_t)result);
        advance(conns, out, (size_t)result);
        gone += (size_t)result;
        // A datagram's transport takes all or nothing, and no event tells of room in it.
        if (UNLIKELY(gone >= SEND_BYTES_MAX) && LIKELY(!connection->is_datagram)
            && (out->sent < out->text_bytes || out->value_first < out->value_count)) {
            return TRANSPORT_LATER;
        }
    }
    return TRANSPORT_END;
}

// Copies what is unsent. Returns false when there is no memory for it.
static bool keep(struct conns *conns, struct connection *connection, const struct outgoing *out) {
    uint32_t bytes = out->text_bytes - out->sent;
    struct backlog *backlog = malloc(sizeof *backlog + bytes);
    if (!backlog) {
        count(conns->proc, COUNTER_malloc_fails, 1);
        return false;
    }
    backlog->bytes = bytes;
    backlog->sent = 0;
    backlog->value_first = 0;
    backlog->value_count = out->value_count - out->value_first;
    memcpy(backlog->text, out->text + out->sent, bytes);
    for (uint32_t i = 0; i < backlog->value_count; i++) {
        backlog->values[i] = out->values[out->value_first + i];
        backlog->values[i].buffer_offset -= out->sent;
    }
    connection->backlog = backlog;
    count(conns->proc, COUNTER_response_buf_bytes, bytes);
    return true;
}

// Keeps what the client did not take.
static bool keep_unsent(struct conns *conns, struct connection *connection,
                        const struct outgoing *out) {
    if (!keep(conns, connection, out)) {
        return false;
    }
    conn_move(connection, conn_is_watching(connection) ? CONN_WATCHING_SENDING
                          : conn_is_parked(connection) ? CONN_PARKED_SENDING
                                                       : CONN_SENDING);
    conn_readers_note(conns, connection);
    if (UNLIKELY(conn_is_watching(connection))) {
        conn_want(conns, connection, TRANSPORT_IN | TRANSPORT_OUT);
    } else {
        conn_want(conns, connection, TRANSPORT_OUT);
        conn_show(connection, CONNECTION_WRITE);
    }
    return true;
}

static void release_values(struct conns *conns, const struct outgoing *out) {
    for (uint32_t i = out->value_first; i < out->value_count; i++) {
        reply_value_release(conns->store, &out->values[i]);
    }
}

// Sends or keeps; closes the connection when it can do neither. Returns whether all is sent.
static bool send_or_keep(struct conns *conns, struct connection *connection, struct outgoing *out) {
    int result = push(conns, connection, out);
    if (LIKELY(result == TRANSPORT_END)) {
        return true;
    }
    if (result == TRANSPORT_BROKEN || !keep_unsent(conns, connection, out)) {
        release_values(conns, out);
        conn_close_as(conns, connection, WATCH_IN_ERROR);
    }
    return false;
}

// The common case first: text, which the client takes at once.
bool conn_send(struct conns *conns, struct connection *connection, const char *bytes,
               uint32_t count_bytes) {
    ssize_t sent = transport_send(&connection->transport, bytes, count_bytes);
    if (LIKELY(sent > 0)) {
        count(conns->proc, COUNTER_bytes_written, (uint64_t)sent);
        if (LIKELY(sent == count_bytes)) {
            return true;
        }
    } else if (sent == TRANSPORT_BROKEN) {
        conn_close_as(conns, connection, WATCH_IN_ERROR);
        return false;
    }
    struct outgoing out = {.text = bytes, .text_bytes = count_bytes};
    out.sent = sent > 0 ? (uint32_t)sent : 0;
    return send_or_keep(conns, connection, &out);
}

bool conn_hold_back(struct conns *conns, struct connection *connection) {
    struct reply *reply = &conns->reply;
    struct outgoing out = {.text = reply->start,
                           .text_bytes = (uint32_t)(reply->at - reply->start),
                           .values = reply->values,
                           .value_count = reply->value_count};
    reply_clear(reply);
    if (!keep(conns, connection, &out)) {
        release_values(conns, &out);
        conn_close_as(conns, connection, WATCH_IN_ERROR);
        return false;
    }
    conn_readers_note(conns, connection);
    return true;
}

bool conn_flush(struct conns *conns, struct connection *connection) {
    struct reply *reply = &conns->reply;
    struct outgoing out = {.text = reply->start,
                           .text_bytes = (uint32_t)(reply->at - reply->start),
                           .values = reply->values,
                           .value_count = reply->value_count};
    reply_clear(reply);
    if (LIKELY(out.value_count == 0)) {
        return out.text_bytes == 0 || conn_send(conns, connection, out.text, out.text_bytes);
    }
    return send_or_keep(conns, connection, &out);
}

void conns_send_deferred(struct conns *conns) {
    for (uint32_t i = 0; i < conns->deferred_count; i++) {
        struct deferred *deferred = &conns->deferred[i];
        if (UNLIKELY(!conn_send(conns, deferred->connection, deferred->text, deferred->bytes))) {
            conn_begin_ahead(conns, deferred->connection);
        } else if (UNLIKELY(deferred->connection->transport.holds_input)) {
            conn_read_again(conns, deferred->connection);    // It had to read before it could send.
        }
    }
    conns->deferred_count = 0;
    conns->reply.at = conns->reply.start = conns->reply_base;
}

bool conn_backlog_append(struct conns *conns, struct connection *connection, const char *bytes,
                         uint32_t count_bytes) {
    struct backlog *backlog =
        realloc(connection->backlog, sizeof *backlog + connection->backlog->bytes + count_bytes);
    if (!backlog) {
        count(conns->proc, COUNTER_malloc_fails, 1);
        return false;
    }
    memcpy(backlog->text + backlog->bytes, bytes, count_bytes);
    backlog->bytes += count_bytes;
    connection->backlog = backlog;
    count(conns->proc, COUNTER_response_buf_bytes, count_bytes);
    return true;
}

int conn_backlog_send(struct conns *conns, struct connection *connection) {
    struct backlog *backlog = connection->backlog;
    struct outgoing out = {.text = backlog->text,
                           .text_bytes = backlog->bytes,
                           .sent = backlog->sent,
                           .values = backlog->values,
                           .value_first = backlog->value_first,
                           .value_count = backlog->value_count};
    uint64_t before = conns->proc->counters[COUNTER_bytes_written];
    int result = push(conns, connection, &out);
    backlog->sent = out.sent;
    backlog->value_first = out.value_first;
    if (result == TRANSPORT_END) {
        conn_backlog_drop(conns, connection);
    } else if (result == TRANSPORT_LATER) {
        if (conns->proc->counters[COUNTER_bytes_written] != before) {
            conn_readers_note(conns, connection);
        }
        conn_ask(conns, connection, connection->wants);
    }
    return result;
}

uint32_t conn_backlog_bytes(const struct connection *connection) {
    return connection->backlog ? connection->backlog->bytes : 0;
}
