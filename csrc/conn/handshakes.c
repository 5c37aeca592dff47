// Connections whose transport has to agree with the client first: some of their steps in each turn,
// behind those who are established, and an end for whoever takes too long.
#include "conn/conn_internal.h"

// Handshakes in one turn: so many steps, and none after so much time. A step may cost as much as
// some hundred commands or as one of them; the dearest with elliptic curves takes a quarter of a
// millisecond, with RSA four times as much.
#define STEPS_MAX 8
#define TURN_NS 250000

void conn_handshake_ready(struct conns *conns, struct connection *connection) {
    if (!connection->is_in_ready) {
        connection->is_in_ready = true;
        conn_queue_push(&conns->handshakes.ready, connection);
        conns->handshakes.ready_count++;
    }
}

static void tell_watchers(struct connection *connection, enum tls_failure failure) {
    char reason[TLS_IDENTITY_BYTES + 128];
    tls_explain(transport_tls_ssl(&connection->transport), failure, reason, sizeof reason);
    session_watch_handshake(&connection->session, reason);
}

static void fail(struct conns *conns, struct connection *connection, enum tls_failure failure) {
    tls_note_failure(transport_tls_context(&connection->transport), failure);
    conn_handshake_log(conns, connection, failure);
    if (watch_wants(&conns->store->watch, WATCH_ERRORS)) {
        tell_watchers(connection, failure);
    }
    conn_close_as(conns, connection, WATCH_IN_ERROR);
}

// Both sides agree. Whoever the client is may be nobody who is allowed here.
static void admit(struct conns *conns, struct connection *connection) {
    struct tls_peer peer;
    bool is_admitted = transport_tls_admit(&connection->transport, &peer);
    conn_handshake_leave(conns, connection);
    conn_move(connection, CONN_READING);
    if (!is_admitted) {
        fail(conns, connection, TLS_FAILED_DENIED);
        return;
    }
    session_set_rights(&connection->session, peer.rights);
    conn_note_new(conns, connection, peer.identity);
    if (conns->host->admitted) {
        conns->host->admitted(conns, connection, &peer);
    }
    conn_want(conns, connection, TRANSPORT_IN);
    conn_read_again(conns, connection);    // What came with the end of it has had its event.
}

static void step(struct conns *conns, struct connection *connection) {
    switch (connection->transport.ops->greet(&connection->transport)) {
    case TRANSPORT_DONE: admit(conns, connection); break;
    case TRANSPORT_LATER:
        if (connection->transport.holds_input) {
            conn_handshake_ready(conns, connection);
        } else {
            conn_want(conns, connection, TRANSPORT_IN);    // Its transport may wish for another.
        }
        break;
    default: fail(conns, connection, transport_tls_failure(&connection->transport)); break;
    }
}

void conns_serve_handshakes(struct conns *conns) {
    struct handshake_list *handshakes = &conns->handshakes;
    uint64_t begin_ns = conns->host->read_ns(conns);
    struct connection *connection;
    for (int steps = 0; steps < STEPS_MAX && (connection = conn_queue_pop(&handshakes->ready));
         steps++) {
        connection->is_in_ready = false;
        handshakes->ready_count--;
        step(conns, connection);
        conn_check(connection);
        if (handshakes->ready.first && conns->host->read_ns(conns) - begin_ns >= TURN_NS) {
            break;    // Each turn has one step at least, and their deadline counts on.
        }
    }
}

void conn_handshakes_drop_late(struct conns *conns) {
    struct handshake_list *handshakes = &conns->handshakes;
    uint64_t seconds = (uint64_t)live_get(conns->arena, LIVE_tls_handshake_timeout_seconds);
    uint32_t now = conns->proc->now_seconds;
    while (handshakes->first && handshakes->first->value_seconds + seconds < now) {
        fail(conns, handshakes->first, TLS_FAILED_LATE);
    }
}
