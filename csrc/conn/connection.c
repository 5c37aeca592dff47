// A connection's beginning and end, what it wants and shows, and what it waits for.
#include <stdio.h>
#include <stdlib.h>

#include "conn/conn_internal.h"

void conn_ask(struct conns *conns, struct connection *connection, uint32_t wants) {
    connection->wants = wants;
    connection->asked = transport_wanted(&connection->transport, wants);
    conns->host->ask(conns, connection);
}

void conn_want(struct conns *conns, struct connection *connection, uint32_t wants) {
    if (conn_is_open(connection)
        && (connection->wants != wants
            || connection->asked != transport_wanted(&connection->transport, wants))) {
        conn_ask(conns, connection, wants);
    }
}

void conn_show(struct connection *connection, enum connection_state shown) {
    connection->shown = (uint8_t)shown;
    SHARED_STORE(connection->record->state, (uint8_t)shown);
}

static void log_event(struct conns *conns, const struct connection *connection, const char *what) {
    if (live_get(conns->arena, LIVE_verbosity) > 1) {
        char text[80];
        int bytes = snprintf(text, sizeof text, "<%d %s", connection->session.log_id, what);
        log_line(conns->log, text, (uint32_t)bytes);
    }
}

static __attribute__((noinline)) void note_event(struct conns *conns,
                                                 const struct connection *connection,
                                                 enum watch_kind kind, const char *identity) {
    const struct connection_record *record = connection->record;
    struct watch_event event = {.kind = kind,
                                .status = connection->closes_as,
                                .family = record->family,
                                .port = record->port,
                                .connection = record->id,
                                .address = record->address,
                                .text = identity,
                                .text_bytes = (uint32_t)strlen(identity)};
    watch_note(&conns->store->watch, WATCH_CONNEVENTS, &event);
}

void conn_note_new(struct conns *conns, const struct connection *connection, const char *identity) {
    if (watch_wants(&conns->store->watch, WATCH_CONNEVENTS)) {
        note_event(conns, connection, WATCH_CONN_NEW, identity);
    }
}

// Tells watchers that the connection is no more.
static void note_closed(struct conns *conns, struct connection *connection) {
    if (watch_wants(&conns->store->watch, WATCH_CONNEVENTS)) {
        const SSL *ssl = transport_tls_ssl(&connection->transport);
        note_event(conns, connection, WATCH_CONN_CLOSE, ssl ? tls_identity(ssl) : "");
    }
}

void conn_open(struct conns *conns, struct connection *connection, struct connection_record *record,
               int log_id) {
    connection->record = record;
    connection->shown = CONNECTION_READ;
    session_init(&connection->session, conns->proto, log_id);
    session_set_peer(&connection->session, record->id, record->family, record->port,
                     record->address, connection->is_datagram);
    connection->last_command_seconds = conns->proc->now_seconds;
    record->last_command_seconds = conns->proc->now_seconds;
    connection->closes_as = WATCH_NORMAL;
    connection->wants = TRANSPORT_IN;
    connection->asked = transport_wanted(&connection->transport, connection->wants);
    if (UNLIKELY(connection->is_datagram)) {
        return;
    }
    count(conns->proc, COUNTER_total_connections, 1);
    count(conns->proc, COUNTER_curr_connections, 1);
    log_event(conns, connection, "new auto-negotiating client connection");
    if (UNLIKELY(connection->transport.ops->greet)) {
        conn_handshake_begin(conns, connection);    // It is told of when its identity is known.
    } else {
        conn_note_new(conns, connection, "");
    }
}

void conn_backlog_drop(struct conns *conns, struct connection *connection) {
    struct backlog *backlog = connection->backlog;
    if (backlog) {
        for (uint32_t i = backlog->value_first; i < backlog->value_count; i++) {
            reply_value_release(conns->store, &backlog->values[i]);
        }
        backlog->value_first = backlog->value_count;
        conn_readers_note(conns, connection);
        count(conns->proc, COUNTER_response_buf_bytes, (uint64_t)-(int64_t)backlog->bytes);
        free(backlog);
        connection->backlog = NULL;
    }
}

// What it waited for is not waited for any more.
static void leave_waits(struct conns *conns, struct connection *connection) {
    for (struct connection **link = &conns->again; connection->is_in_again && *link;
         link = &(*link)->again_next) {
        if (*link == connection) {
            *link = connection->again_next;
            break;
        }
    }
    conn_queue_remove(&conns->requests, connection);
    conn_queue_remove(&conns->streams, connection);
    switch (connection->state) {
    case CONN_ON_BUCKET: conn_queue_remove(&conns->busy, connection); break;
    case CONN_ON_FLASH: flash_reader_unwait(conns->reader, &connection->waiter); break;
    case CONN_HANDSHAKE: conn_handshake_leave(conns, connection); break;
    case CONN_DELAYED: conn_delay_end(conns, connection); break;
    default: break;
    }
}

void conn_close(struct conns *conns, struct connection *connection) {
    if (!conn_is_open(connection)) {
        return;
    }
    if (LIKELY(!connection->is_datagram)) {
        log_event(conns, connection, "connection closed.");
        count(conns->proc, COUNTER_curr_connections, (uint64_t)-1);
        note_closed(conns, connection);
    }
    leave_waits(conns, connection);
    conn_move(connection, CONN_CLOSED);
    conn_backlog_drop(conns, connection);
    conn_kept_drop(conns, connection);
    session_end(&connection->session);
    conn_values_note(conns, connection);
    free(connection->admin_line);
    connection->admin_line = NULL;
    conns->host->closed(conns, connection);
    transport_close(&connection->transport);
}

bool conn_finish(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_SENDING_AHEAD) {
        conn_move(connection, CONN_SENDING);
        conn_want(conns, connection, TRANSPORT_OUT);
    }
    switch (connection->state) {
    case CONN_SENDING: conn_move(connection, CONN_CLOSING); return true;
    case CONN_READING:
    case CONN_YIELDED:
    case CONN_WATCHING:
    case CONN_WATCHING_SENDING:    // Its replies never end.
    case CONN_HANDSHAKE: conn_close(conns, connection); return true;
    default: return connection->state == CONN_CLOSING || !conn_is_open(connection);
    }
}

void conn_close_as(struct conns *conns, struct connection *connection, enum watch_reason reason) {
    connection->closes_as = (uint8_t)reason;
    conn_close(conns, connection);
}

void conn_read_again(struct conns *conns, struct connection *connection) {
    if (!connection->is_in_again && conn_is_open(connection)) {
        connection->is_in_again = true;
        connection->again_next = conns->again;
        conns->again = connection;
    }
}

void conn_begin_ahead(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_SENDING && session_is_in_get(&connection->session)
        && !conn_kept_has_line_end(&connection->kept)) {
        conn_move(connection, CONN_SENDING_AHEAD);
        conn_want(conns, connection, TRANSPORT_IN | TRANSPORT_OUT);
    }
}

void conn_note_command(struct conns *conns, struct connection *connection) {
    uint32_t now = conns->proc->now_seconds;
    if (connection->last_command_seconds != now) {
        connection->last_command_seconds = now;
        SHARED_STORE(connection->record->last_command_seconds, now);
    }
}

bool conn_is_idle(const struct conns *conns, const struct connection *connection,
                  uint64_t timeout_seconds) {
    return connection->shown == CONNECTION_READ
           && connection->last_command_seconds + timeout_seconds < conns->proc->now_seconds;
}
