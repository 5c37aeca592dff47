// Administrative commands: what waits for Python, its answers, and answers by other processes.
#include <stdlib.h>

#include "server/server_internal.h"

bool engine_next_request(struct engine *engine, struct conn_request *request_out) {
    return conns_next_request(&engine->conns, request_out);
}

static struct client *find_ticket(struct engine *engine, uint64_t ticket) {
    for (struct client *at = engine->clients; at; at = at->next) {
        if (conn_is_parked(&at->connection) && at->connection.ticket == ticket) {
            return at;
        }
    }
    return NULL;
}

static bool reply_to(struct engine *engine, uint64_t ticket, const char *bytes, uint32_t byte_count,
                     int kind) {
    struct client *client = find_ticket(engine, ticket);
    if (!client) {
        return false;
    }
    client_take_back(engine, client);
    return conn_answer(&engine->conns, &client->connection, bytes, byte_count, kind);
}

bool engine_reply(struct engine *engine, uint64_t ticket, const char *bytes, uint32_t byte_count,
                  int kind) {
    engine_update_clock(engine);    // The command may have moved it.
    bool is_known = reply_to(engine, ticket, bytes, byte_count, kind);
    if (engine->reader) {
        flash_reader_submit(engine->reader);
    }
    clients_free_dead(engine);
    engine_rest(engine);
    return is_known;
}

int engine_lend(struct engine *engine, uint64_t ticket, int verdict_fd) {
    struct client *client = find_ticket(engine, ticket);
    if (!client || client->connection.state != CONN_PARKED || client->verdict_fd >= 0
        || client->connection.is_datagram || transport_tls_context(&client->connection.transport)) {
        return -1;
    }
    client->verdict.kind = SOURCE_VERDICT;
    if (!source_watch(engine, verdict_fd, &client->verdict, EPOLLIN)) {
        return -1;
    }
    client->verdict_fd = verdict_fd;
    client->is_shared = true;
    conn_lend(&client->connection);
    return client->connection.transport.fd;
}

int engine_begin_watch(struct engine *engine, uint64_t ticket, uint32_t classes) {
    struct client *client = find_ticket(engine, ticket);
    // A reload may have taken the right to it since the line was read; datagrams have no streams.
    if (!client || client->connection.state != CONN_PARKED || client->connection.is_datagram
        || !(client->connection.session.rights & SESSION_MAY_ADMIN)) {
        return PYMC_INVALID;
    }
    client_take_back(engine, client);
    int status = engine_watch_begin(engine, client, classes);
    clients_free_dead(engine);
    return status;
}

bool engine_next_stream(struct engine *engine, uint64_t *connection_out, bool *more_out) {
    struct connection *closed = conn_queue_pop(&engine->closed_streams);
    if (closed) {
        *connection_out = closed->ticket;
        *more_out = false;
        free(client_of(closed));
        return true;
    }
    const struct connection *connection = conns_next_stream(&engine->conns);
    if (!connection) {
        return false;
    }
    *connection_out = connection->ticket;
    *more_out = true;
    return true;
}
