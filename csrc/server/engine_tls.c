// TLS of an engine: the context for new connections, and those who have to go when it changes.
#include "server/engine_rig.h"
#include "server/server_internal.h"

// So many clients are looked at in one turn.
#define REVIEWS_PER_TURN 64

bool client_transport_open(struct engine *engine, struct client *client, int fd,
                           const struct listener *listener) {
    static const enum tls_door doors[] = {[ENGINE_TLS_SERVER] = TLS_DOOR_DEFAULT,
                                          [ENGINE_TLS_MUTUAL] = TLS_DOOR_MUTUAL,
                                          [ENGINE_TLS_BASIC] = TLS_DOOR_BASIC};
    struct transport *transport = &client->connection.transport;
    transport_open_socket(transport, fd);
    if (LIKELY(!listener || listener->options.tls == ENGINE_TLS_NONE)) {
        return true;
    }
    return engine->tls
           && transport_encrypt(transport, engine->conns.tls_io, engine->tls,
                                doors[listener->options.tls]);
}

int engine_set_tls(struct engine *engine, struct tls_context *context) {
    if (!conns_use_tls(&engine->conns)) {
        return PYMC_NO_MEMORY;
    }
    tls_context_serve(context, engine->proc);
    tls_io_set_output(engine->conns.tls_io, engine->tls_output_bytes);
    struct tls_context *former = engine->tls;
    engine->tls = tls_context_hold(context);
    tls_context_release(former);
    engine->tls_review = engine->clients;
    return PYMC_OK;
}

void engine_tls_compare(struct engine *engine, struct client *client) {
    struct connection *connection = &client->connection;
    const struct tls_context *context = transport_tls_context(&connection->transport);
    // Whose handshake is under way is looked at when it is done.
    if (!context || context == engine->tls || connection->state == CONN_HANDSHAKE) {
        return;
    }
    uint8_t rights;
    if (tls_still_admitted(engine->tls, transport_tls_ssl(&connection->transport), &rights)) {
        session_set_rights(&connection->session, rights);
        if (!conn_is_watching(connection) || (rights & SESSION_MAY_ADMIN)) {
            return;
        }
    } else {
        session_set_rights(&connection->session, 0);
    }
    if (conn_finish(&engine->conns, connection)) {
        count(engine->proc, COUNTER_tls_closed_by_reload, 1);
    } else {
        engine->tls_is_behind =
            true;    // A command of its is under way, and still gets its answer.
    }
}

void engine_tls_review(struct engine *engine) {
    for (int i = 0; i < REVIEWS_PER_TURN && engine->tls_review; i++) {
        struct client *client = engine->tls_review;
        engine->tls_review = client->next;
        engine_tls_compare(engine, client);
    }
}

void engine_tls_tick(struct engine *engine) {
    if (engine->tls_is_behind && !engine->tls_review) {
        engine->tls_is_behind = false;
        engine->tls_review = engine->clients;
    }
}

void engine_tls_forget(struct engine *engine, const struct client *client) {
    if (UNLIKELY(engine->tls_review == client)) {
        engine->tls_review = client->next;
    }
}

void engine_tls_close(struct engine *engine) {
    tls_context_release(engine->tls);
}

void engine_pretend_kernel_tls(struct engine *engine) {
    tls_io_pretend_kernel(engine->conns.tls_io);
}
