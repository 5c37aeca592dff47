// Listeners: accepting, the pause while too many clients are there, and the worker for a new one.
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/server_internal.h"

// What an encrypted client needs from the start takes as long as some commands.
#define ACCEPTS_ENCRYPTED_PER_TURN 8
#define TOO_MANY "ERROR Too many open connections\r\n"

static uint32_t events_of(const struct listener *listener) {
    return listener->options.kind == ENGINE_UNIX ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
}

int engine_listen(struct engine *engine, int fd, const struct engine_listener_options *options) {
    if (engine->listener_count == ENGINE_LISTENERS_MAX) {
        return PYMC_NO_MEMORY;
    }
    struct listener *listener = &engine->listeners[engine->listener_count];
    *listener = (struct listener){.source.kind = SOURCE_LISTENER, .options = *options, .fd = fd};
    if (options->kind == ENGINE_UDP) {
        listener->source.kind = SOURCE_DATAGRAMS;
        if (!datagrams_open(engine)) {
            return PYMC_NO_MEMORY;
        }
    }
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } own = {0};
    socklen_t size = sizeof own;
    if (getsockname(fd, &own.any, &size) == 0 && own.any.sa_family == AF_INET) {
        listener->port = ntohs(own.v4.sin_port);
        memcpy(listener->address, &own.v4.sin_addr, 4);
    } else if (own.any.sa_family == AF_INET6) {
        listener->port = ntohs(own.v6.sin6_port);
        memcpy(listener->address, &own.v6.sin6_addr, 16);
    }
    if (!source_watch(engine, fd, &listener->source, events_of(listener))) {
        return PYMC_OS_ERROR;
    }
    engine->listener_count++;
    return PYMC_OK;
}

// Too many connections do not concern datagrams, the end of the server does.
static void watch_none(struct engine *engine, bool is_end) {
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        const struct listener *listener = &engine->listeners[i];
        if (is_end || listener->options.kind != ENGINE_UDP) {
            epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
        }
    }
}

static void pause_listening(struct engine *engine) {
    if (engine->is_accepting) {
        engine->is_accepting = false;
        engine->refused_since_ns = read_ns(CLOCK_MONOTONIC);
        count(engine->proc, COUNTER_listen_disabled_num, 1);
        watch_none(engine, false);
    }
}

void listening_resume(struct engine *engine) {
    if (engine->is_accepting || engine->has_stopped || engine->lacks_descriptors
        || server_connections_total(engine)
               >= (uint64_t)live_get(engine->arena, LIVE_connections_max)) {
        return;
    }
    engine->is_accepting = true;
    count(engine->proc, COUNTER_time_in_listen_disabled_us,
          (read_ns(CLOCK_MONOTONIC) - engine->refused_since_ns) / 1000);
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        struct listener *listener = &engine->listeners[i];
        if (listener->options.kind == ENGINE_UDP) {
            continue;
        }
        source_watch(engine, listener->fd, &listener->source, events_of(listener));
    }
}

void engine_stop_listening(struct engine *engine) {
    if (!engine->has_stopped) {
        watch_none(engine, true);    // While it pauses, datagrams come all the same.
    }
    engine->is_accepting = false;
    engine->has_stopped = true;
}

// Tells watchers of errors.
static void note_refused(struct engine *engine, const struct listener *listener,
                         const union peer_address *peer) {
    struct connection_record record;
    record_fill(&record, WATCH_NO_CONNECTION, listener, peer);
    static const char what[] = "connect " TOO_MANY;
    struct watch_event event = {.kind = WATCH_ERROR,
                                .connection = WATCH_NO_CONNECTION,
                                .family = record.family,
                                .port = record.port,
                                .address = record.address,
                                .text = what,
                                .text_bytes = sizeof what - sizeof "\r\n"};
    watch_note(&engine->store->watch, WATCH_ERRORS, &event);
}

static void refuse(struct engine *engine, int fd, const struct listener *listener,
                   const union peer_address *peer) {
    struct transport transport;
    transport_open_socket(&transport, fd);
    // The client reads the reason before it sees the end. One that speaks TLS only sees the end: a
    // handshake is what a full server has least to spare for.
    if (listener->options.tls == ENGINE_TLS_NONE
        && transport_send(&transport, TOO_MANY, sizeof TOO_MANY - 1) > 0) {
        count(engine->proc, COUNTER_bytes_written, sizeof TOO_MANY - 1);
    }
    transport_close(&transport);
    count(engine->proc, COUNTER_rejected_connections, 1);
    if (watch_wants(&engine->store->watch, WATCH_ERRORS)) {
        note_refused(engine, listener, peer);
    }
}

// How many to accept before looking at anything else: one, and twice as many whenever the last ones
// were not all, so that neither a burst nor a single client makes the kernel be asked in vain.
static uint32_t accepts_now(struct engine *engine, struct listener *listener) {
    bool was_ready_last_round = listener->last_round + 1 == engine->rounds;
    bool is_encrypted = listener->options.tls != ENGINE_TLS_NONE;
    uint32_t most = is_encrypted ? ACCEPTS_ENCRYPTED_PER_TURN : ACCEPTS_PER_TURN;
    listener->last_round = engine->rounds;
    if (!was_ready_last_round || listener->accepts == 0) {
        listener->accepts = 1;
    } else if (listener->accepts < most) {
        listener->accepts *= 2;
    }
    return listener->accepts;
}

// Puts an accepted client where it belongs.
static void place(struct engine *engine, int fd, struct listener *listener,
                  const union peer_address *peer) {
    struct hand_over note = {.listener = (uint32_t)(listener - engine->listeners), .peer = *peer};
    uint32_t worker = note.worker = server_place(engine, &note.epoch);
    if (worker == UINT32_MAX) {
        refuse(engine, fd, listener, peer);
    } else if (worker == engine->worker) {
        client_open(engine, fd, listener, peer, false);
    } else if (inbox_send(engine->peer_fds[worker], fd, &note)) {
        count(engine->proc, COUNTER_connections_handed, 1);
        close(fd);
    } else {
        // Its inbox is full: better an uneven share than a lost client.
        server_place_here(engine, worker, note.epoch);
        client_open(engine, fd, listener, peer, false);
    }
}

void listener_serve(struct engine *engine, struct listener *listener) {
    if (UNLIKELY(listener->options.tls != ENGINE_TLS_NONE && !conns_may_encrypt(&engine->conns))) {
        return;    // It tells again in the next round.
    }
    uint32_t most = accepts_now(engine, listener);
    for (uint32_t i = 0; i < most && engine->is_accepting; i++) {
        if (!live_get(engine->arena, LIVE_maxconns_fast)
            && server_connections_total(engine)
                   >= (uint64_t)live_get(engine->arena, LIVE_connections_max)) {
            pause_listening(engine);
            return;
        }
        union peer_address peer = {0};
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                engine->lacks_descriptors = true;    // Trying again at once would only spin.
                pause_listening(engine);
            }
            listener->accepts = 0;
            return;
        }
        place(engine, fd, listener, &peer);
    }
}
