// What the connections of a worker share: buffers, queues, and who wants to be answered.
#include <stdlib.h>

#include "conn/conn_internal.h"

int conns_open(struct conns *conns, struct store *store, const char *version,
               const struct conn_host *host) {
    conns->host = host;
    conns->store = store;
    conns->proc = store->proc;
    conns->arena = store->arena;
    conns->workers = 1;
    conns->handshakes.turn_ns = HANDSHAKES_TURN_NS;
    conns->input = malloc((size_t)(STAGES + 1) * STAGE_BYTES);
    conns->tail = conns->input ? conns->input + (size_t)STAGES * STAGE_BYTES : NULL;
    conns->reply_base = conns->reply.start = malloc(REPLY_BYTES);
    if (!conns->input || !conns->reply_base
        || proto_open(store, version, &conns->proto) != PYMC_OK) {
        return PYMC_NO_MEMORY;
    }
    conns->reply.end = conns->reply_base + REPLY_BYTES;
    conns->reply.values = conns->reply_values;
    conns->reply.values_room = REPLY_VALUES;
    reply_clear(&conns->reply);
    return PYMC_OK;
}

bool conns_use_tls(struct conns *conns) {
    if (!conns->tls_io) {
        conns->tls_io = tls_io_open();
    }
    return conns->tls_io != NULL;
}

void conns_close(struct conns *conns) {
    tls_io_close(conns->tls_io);
    proto_close(conns->proto);
    free(conns->input);
    free(conns->reply_base);
}

void conns_tick(struct conns *conns) {
    conn_values_drop_silent(conns);
    conn_delays_look(conns);
    conn_readers_free_memory(conns);
    conn_notices_log(conns);
    if (conns->tls_io) {
        conn_handshakes_drop_late(conns);
        tls_io_tick(conns->tls_io);
    }
}

bool conns_next_request(struct conns *conns, struct conn_request *request_out) {
    const struct connection *connection = conn_queue_pop(&conns->requests);
    if (!connection) {
        return false;
    }
    *request_out = (struct conn_request){.connection = connection->ticket,
                                         .line = connection->admin_line,
                                         .line_bytes = connection->admin_bytes,
                                         .is_pipelined = connection->admin_is_pipelined};
    uint32_t opaque;
    request_out->is_binary = session_admin_is_binary(&connection->session, &opaque);
    memcpy(request_out->opaque, &opaque, sizeof opaque);
    return true;
}

struct connection *conns_next_stream(struct conns *conns) {
    return conn_queue_pop(&conns->streams);
}
