// Serving connections: what their events mean, and groups of them whose input is received before
// any of it is looked at.
#include <stddef.h>

#include "conn/conn_internal.h"

static void tell_watchers(struct conns *conns) {
    if (UNLIKELY(conns->store->watch.is_ripe)) {
        watch_told(&conns->store->watch);
        if (conns->host->watch) {
            conns->host->watch(conns);
        }
    }
}

void conns_serve_staged(struct conns *conns) {
    uint32_t staged_count = conns->staged_count;
    conns->staged_count = 0;
    for (uint32_t i = 0; staged_count > 1 && i < staged_count; i++) {
        if (conns->staged[i].hash) {
            session_fetch_items(conns->proto, conns->staged[i].hash);
        }
    }
    conns->is_deferring = staged_count > 1;
    for (uint32_t i = 0; i < staged_count; i++) {
        struct connection *connection = conns->staged[i].connection;
        connection->is_staged = false;
        if (LIKELY(conn_is_open(connection))) {
            conn_serve(conns, connection, conns->input + (size_t)i * STAGE_BYTES,
                       conns->staged[i].bytes);
            conn_check(connection);
            tell_watchers(conns);
        }
    }
    conns->is_deferring = false;
    conns_send_deferred(conns);
}

// An event of input for a connection that is not in CONN_READING.
static void receive_meanwhile(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_SENDING_AHEAD) {
        conn_read_ahead(conns, connection);
        conn_writable(conns, connection);    // The event may have told of both.
    } else if (conn_is_watching(connection)) {
        conn_watch_input(conns, connection);
        conn_writable(conns, connection);
    } else if (conn_is_waiting(connection)) {
        connection->has_missed_input = true;
    } else if (connection->state == CONN_HANDSHAKE) {
        conn_handshake_ready(conns, connection);
    }
    // In the other states asking for input again brings the event again.
}

// Receives for one connection into the next stage; serves the group when all stages are full.
static void stage(struct conns *conns, struct connection *connection) {
    if (UNLIKELY(connection->is_staged)) {
        conns_serve_staged(conns);    // What it sent first comes first.
    }
    if (UNLIKELY(connection->state == CONN_YIELDED)) {
        conn_continue(conns, connection);
        conn_read_again(conns, connection);    // What came meanwhile has had its event.
        tell_watchers(conns);
        return;
    }
    if (UNLIKELY(connection->state != CONN_READING)) {
        receive_meanwhile(conns, connection);
        return;
    }
    char *place = conns->input + (size_t)conns->staged_count * STAGE_BYTES;
    size_t bytes = conn_receive(conns, connection, place);
    if (bytes == 0) {
        return;
    }
    connection->is_staged = true;
    conns->staged[conns->staged_count++] =
        (struct staged){connection, bytes, session_peek_key(conns->proto, place, bytes)};
    if (conns->staged_count == STAGES) {
        conns_serve_staged(conns);
    }
}

// An event that only the transport asked for stands for what the connection wants.
static uint32_t meaning_of(const struct connection *connection, uint32_t events) {
    uint32_t moves = TRANSPORT_IN | TRANSPORT_OUT;
    if (LIKELY(connection->asked == connection->wants) || !(events & moves)) {
        return events;
    }
    return (events & ~moves) | connection->wants;
}

void conn_event(struct conns *conns, struct connection *connection, uint32_t events) {
    bool is_detour = connection->asked != connection->wants;
    events = meaning_of(connection, events);
    if (LIKELY(events & TRANSPORT_IN)) {
        connection->has_ended |= (events & (TRANSPORT_ENDED | TRANSPORT_HANG_UP)) != 0;
        bool is_gone = (events & (TRANSPORT_HANG_UP | TRANSPORT_ERROR)) != 0;
        if (UNLIKELY(is_gone && conn_is_waiting(connection))) {
            conn_close_as(conns, connection, WATCH_IN_ERROR);
        } else {
            stage(conns, connection);
        }
    } else if (!conn_is_open(connection)) {
        return;
    } else if (events & TRANSPORT_OUT) {
        conn_writable(conns, connection);
    } else if (events & (TRANSPORT_HANG_UP | TRANSPORT_ERROR)) {
        conn_close_as(conns, connection, WATCH_IN_ERROR);
    }
    if (UNLIKELY(is_detour)) {
        conn_want(conns, connection, connection->wants);    // The transport may have no wish any
                                                            // more.
    }
}

void conns_serve_again(struct conns *conns) {
    struct connection *again = conns->again;
    conns->again = NULL;
    while (again) {
        struct connection *next = again->again_next;
        again->is_in_again = false;
        stage(conns, again);
        again = next;
    }
}

void conns_serve_read(struct conns *conns, struct flash_waiter *told) {
    conns->is_deferring = told->next != NULL;
    while (told) {
        struct flash_waiter *next = told->next;
        struct connection *connection =
            (struct connection *)((char *)told - offsetof(struct connection, waiter));
        conn_resume(conns, connection);
        conn_check(connection);
        if (conns->deferred_count == STAGES) {
            conns_send_deferred(conns);
        }
        told = next;
    }
    conns->is_deferring = false;
    conns_send_deferred(conns);
}

void conns_serve_busy(struct conns *conns) {
    // Those that have to wait on are queued again, behind the others.
    uint32_t waiting = 0;
    for (const struct connection *at = conns->busy.first; at; at = at->queue_next) {
        waiting++;
    }
    for (struct connection *at; waiting > 0 && (at = conn_queue_pop(&conns->busy)); waiting--) {
        conn_resume(conns, at);
        conn_check(at);
    }
}
