// Clients: connections over sockets, their events, and their end.
#include <stdlib.h>
#include <unistd.h>

#include "server/server_internal.h"

// What is wanted of a socket, as epoll has it.
static uint32_t epoll_events(uint32_t asked) {
    _Static_assert((uint32_t)TRANSPORT_IN == (uint32_t)EPOLLIN
                       && (uint32_t)TRANSPORT_OUT == (uint32_t)EPOLLOUT
                       && (uint32_t)TRANSPORT_ERROR == (uint32_t)EPOLLERR
                       && (uint32_t)TRANSPORT_HANG_UP == (uint32_t)EPOLLHUP
                       && (uint32_t)TRANSPORT_ENDED == (uint32_t)EPOLLRDHUP,
                   "transports and epoll number events alike");
    return asked | (asked & TRANSPORT_IN ? EPOLLRDHUP : 0) | EPOLLET;
}

static struct engine *engine_of(struct conns *conns) {
    return (struct engine *)conns;
}

void record_fill(struct connection_record *record, uint32_t id, const struct listener *listener,
                 const union peer_address *peer) {
    record->id = id;
    record->family = 1;
    record->port = 0;
    record->is_encrypted = listener && listener->options.tls != ENGINE_TLS_NONE;
    memset(record->address, 0, sizeof record->address);
    static const struct listener unknown;
    const struct listener *at = listener ? listener : &unknown;
    record->listen_port = at->port;
    memcpy(record->listen_address, at->address, sizeof record->listen_address);
    if (peer->any.sa_family == AF_INET) {
        record->family = 4;
        record->port = ntohs(peer->v4.sin_port);
        memcpy(record->address, &peer->v4.sin_addr, 4);
    } else if (peer->any.sa_family == AF_INET6) {
        record->family = 6;
        record->port = ntohs(peer->v6.sin6_port);
        memcpy(record->address, &peer->v6.sin6_addr, 16);
    }
}

void client_begin(struct engine *engine, struct client *client) {
    client->source.kind = SOURCE_CLIENT;
    client->verdict_fd = -1;
    client->next = engine->clients;
    if (engine->clients) {
        engine->clients->previous = client;
    }
    engine->clients = client;
}

// A client that could not be taken in.
static void give_up(struct engine *engine, struct client *client, int fd) {
    count(engine->proc, COUNTER_malloc_fails, 1);
    free(client);
    close(fd);
}

void client_open(struct engine *engine, int fd, const struct listener *listener,
                 const union peer_address *peer, bool is_shared) {
    // Not calloc(), which goes round the allocator's short lists.
    struct client *client = malloc(sizeof *client);
    uint32_t id = client ? server_record_take(engine) : UINT32_MAX;
    if (id == UINT32_MAX) {
        give_up(engine, client, fd);
        server_load_change(engine, -1);
        return;
    }
    memset(client, 0, sizeof *client);
    if (!client_transport_open(engine, client, fd, listener)) {
        give_up(engine, client, fd);
        server_record_give(engine, id);
        return;
    }
    client->is_shared = is_shared;
    client_begin(engine, client);
    struct connection *connection = &client->connection;
    record_fill(record_at(engine, id), id, listener, peer);
    conn_open(&engine->conns, connection, record_at(engine, id), fd);
    if (UNLIKELY(engine->datagram_room)) {
        struct client_address seen = session_address(&connection->session);
        addresses_note_seen(engine->store, &seen);
    }
    if (listener) {
        session_set_protocol(&connection->session, listener->options.protocol);
    }
    if (!source_watch(engine, fd, &client->source, epoll_events(connection->asked))) {
        conn_close_as(&engine->conns, connection, WATCH_IN_ERROR);
    }
}

void client_take_back(struct engine *engine, struct client *client) {
    if (UNLIKELY(client->verdict_fd >= 0)) {
        epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, client->verdict_fd, NULL);
        client->verdict_fd = -1;
    }
}

static void client_ask(struct conns *conns, struct connection *connection) {
    if (UNLIKELY(connection->is_datagram)) {
        return;    // Nothing more comes, and it is never waited for that something is taken.
    }
    struct client *client = client_of(connection);
    struct epoll_event event = {.events = epoll_events(connection->asked),
                                .data.ptr = &client->source};
    epoll_ctl(engine_of(conns)->epoll_fd, EPOLL_CTL_MOD, connection->transport.fd, &event);
}

static void client_closed(struct conns *conns, struct connection *connection) {
    struct engine *engine = engine_of(conns);
    struct client *client = client_of(connection);
    client_take_back(engine, client);
    if (client->is_shared) {
        // Who handed it over may not have closed its own copy yet: then close() alone would leave
        // it watched.
        epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, connection->transport.fd, NULL);
    }
    *(client->previous ? &client->previous->next : &engine->clients) = client->next;
    if (client->next) {
        client->next->previous = client->previous;
    }
    engine_tls_forget(engine, client);
    if (UNLIKELY(engine->watchers)) {
        engine_watch_forget(engine, client);
    }
    if (LIKELY(!connection->is_datagram)) {
        server_record_give(engine, connection->record->id);
    }
    engine->lacks_descriptors = false;
    // One that was answered in part lives until its end has been told.
    conn_queue_push(connection->is_streaming ? &engine->closed_streams : &engine->dead, connection);
}

static void client_admitted(struct conns *conns, struct connection *connection,
                            const struct tls_peer *peer) {
    server_identity_note(engine_of(conns), connection->record->id, peer->identity);
    engine_tls_compare(engine_of(conns), client_of(connection));
}

static void client_watch(struct conns *conns) {
    engine_watch_call(engine_of(conns));
}

static uint64_t client_read_ns(struct conns *conns) {
    (void)conns;
    return read_ns(CLOCK_MONOTONIC);
}

const struct conn_host client_host = {.ask = client_ask,
                                      .closed = client_closed,
                                      .admitted = client_admitted,
                                      .watch = client_watch,
                                      .read_ns = client_read_ns};

static void free_all(struct conn_queue *queue) {
    for (struct connection *at; (at = conn_queue_pop(queue));) {
        free(client_of(at));
    }
}

void clients_free_dead(struct engine *engine) {
    free_all(&engine->dead);
}

void clients_close(struct engine *engine) {
    while (engine->clients) {
        conn_close_as(&engine->conns, &engine->clients->connection, WATCH_SHUTDOWN);
    }
    free_all(&engine->dead);
    free_all(&engine->closed_streams);
}

void clients_drop_idle(struct engine *engine) {
    uint64_t timeout = (uint64_t)live_get(engine->arena, LIVE_idle_timeout_seconds);
    struct client *client = timeout ? engine->clients : NULL;
    while (client) {
        struct client *next = client->next;
        const struct connection *connection = &client->connection;
        if (connection->record->family != 1 && !connection->is_datagram
            && conn_is_idle(&engine->conns, connection, timeout)) {
            count(engine->proc, COUNTER_idle_kicks, 1);
            conn_close_as(&engine->conns, &client->connection, WATCH_IDLE_TIMEOUT);
        }
        client = next;
    }
}
