// The epoll engine: one turn serves what is ready; listeners, hand-over of connections, answers
// from Python.
#define _GNU_SOURCE
#include "server/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/server_internal.h"

// Rounds of engine_turn(): at most a few milliseconds when all of them are full.
#define ROUNDS_MAX 32
#define SAME_MOMENT_NS 10000000
// Who waits for a bucket that another process holds is tried again so often.
#define BUSY_NS 1000000
#define TOO_MANY "ERROR Too many open connections\r\n"

static uint64_t read_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool source_watch(struct engine *engine, int fd, struct source *source, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

// Back at work, after a wait or after Python: once a round. The coarse clock is off by a few
// milliseconds.
static void update_clock(struct engine *engine) {
    store_wake(engine->store);
    proc_beat(engine->proc);
    engine->now_ns = read_ns(CLOCK_MONOTONIC_COARSE);
    engine->proc->now_seconds = arena_seconds(engine->arena, engine->now_ns);
    store_turn(engine->store);
    if (UNLIKELY(engine->log_is_stamped && engine->log)) {
        log_stamp(engine->log, read_ns(CLOCK_REALTIME_COARSE));
    }
}

// Python has its turn, or the worker waits: what it set aside is there for others.
static void rest(struct engine *engine) {
    if (!engine->store->is_resting) {
        store_rest(engine->store);
    }
}

static int engine_prepare(struct engine *engine, const struct engine_options *options) {
    engine->peer_fds = calloc(options->workers, sizeof *engine->peer_fds);
    engine->input = malloc((size_t)(STAGES + 1) * STAGE_BYTES);
    engine->tail = engine->input ? engine->input + (size_t)STAGES * STAGE_BYTES : NULL;
    engine->reply_base = engine->reply.start = malloc(REPLY_BYTES);
    if (!engine->peer_fds || !engine->input || !engine->reply_base
        || proto_open(engine->store, options->version, &engine->proto) != PYMC_OK) {
        return PYMC_NO_MEMORY;
    }
    char name[32];
    snprintf(name, sizeof name, "worker %u", engine->worker);
    engine->log = log_open(options->log_fd ? options->log_fd : STDERR_FILENO, name);
    engine->log_is_stamped = options->log_is_stamped;
    proto_set_log(engine->proto, engine->log);
    engine->reply.end = engine->reply_base + REPLY_BYTES;
    engine->reply.values = engine->reply_values;
    engine->reply.values_room = REPLY_VALUES;
    reply_clear(&engine->reply);
    for (uint32_t i = 0; i < options->workers; i++) {
        engine->peer_fds[i] = options->peer_fds ? options->peer_fds[i] : -1;
    }
    engine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (engine->epoll_fd < 0) {
        return PYMC_OS_ERROR;
    }
    engine->watched.kind = SOURCE_WATCHED;
    engine->inbox.kind = SOURCE_INBOX;
    if (engine->inbox_fd >= 0 && !source_watch(engine, engine->inbox_fd, &engine->inbox, EPOLLIN)) {
        return PYMC_OS_ERROR;
    }
    return engine_flash_open(engine, options);
}

int engine_open(struct store *store, const struct engine_options *options,
                struct engine **engine_out) {
    if (options->workers == 0 || options->workers > ENGINE_WORKERS_MAX
        || options->worker >= options->workers) {
        return PYMC_INVALID;
    }
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        return PYMC_NO_MEMORY;
    }
    engine->store = store;
    engine->proc = store->proc;
    engine->arena = store->arena;
    engine->root =
        (struct server_root *)(store->arena->base + store->header->roots[ARENA_ROOT_SERVER]);
    engine->epoll_fd = engine->deadline_fd = -1;
    engine->inbox_fd = options->inbox_fd;
    engine->worker = options->worker;
    engine->workers = options->workers;
    engine->is_accepting = true;
    int status = engine_prepare(engine, options);
    if (status != PYMC_OK) {
        engine_close(engine);
        return status;
    }
    server_worker_begin(engine);
    update_clock(engine);
    rest(engine);
    *engine_out = engine;
    return PYMC_OK;
}

void engine_close(struct engine *engine) {
    if (!engine) {
        return;
    }
    store_wake(engine->store);
    while (engine->connections) {
        connection_close(engine, engine->connections);
    }
    connections_free_dead(engine);
    for (struct connection *told; (told = queue_pop(&engine->closed_streams));) {
        free(told);
    }
    engine_flash_close(engine);
    if (engine->epoll_fd >= 0) {
        close(engine->epoll_fd);
    }
    proto_close(engine->proto);
    log_close(engine->log);
    free(engine->peer_fds);
    free(engine->input);
    free(engine->reply_base);
    free(engine);
}

int engine_fd(const struct engine *engine) {
    return engine->epoll_fd;
}

int engine_watch(struct engine *engine, int fd) {
    return source_watch(engine, fd, &engine->watched, EPOLLIN) ? PYMC_OK : PYMC_OS_ERROR;
}

int engine_flash_kind(const struct engine *engine) {
    return engine->reader ? flash_reader_kind(engine->reader) : -1;
}

void engine_flash_state(const struct engine *engine, struct flash_reader_state *out) {
    *out = (struct flash_reader_state){0};
    if (engine->reader) {
        flash_reader_read_state(engine->reader, out);
    }
}

int engine_set_auth(struct engine *engine, const char *lines, uint32_t byte_count) {
    int status = proto_set_auth(engine->proto, lines, byte_count);
    if (status == PYMC_OK) {
        SHARED_STORE(engine->store->header->live[LIVE_auth_required], lines != NULL);
    }
    return status;
}

int engine_listen(struct engine *engine, int fd, int kind) {
    if (engine->listener_count == ENGINE_LISTENERS_MAX) {
        return PYMC_NO_MEMORY;
    }
    struct listener *listener = &engine->listeners[engine->listener_count];
    *listener =
        (struct listener){.source.kind = SOURCE_LISTENER, .listener_kind = (uint8_t)kind, .fd = fd};
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
    uint32_t events = kind == ENGINE_UNIX ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
    if (!source_watch(engine, fd, &listener->source, events)) {
        return PYMC_OS_ERROR;
    }
    engine->listener_count++;
    return PYMC_OK;
}

static void pause_listening(struct engine *engine) {
    if (engine->is_accepting) {
        engine->is_accepting = false;
        engine->refused_since_ns = read_ns(CLOCK_MONOTONIC);
        count(engine->proc, COUNTER_listen_disabled_num, 1);
        for (uint32_t i = 0; i < engine->listener_count; i++) {
            epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, engine->listeners[i].fd, NULL);
        }
    }
}

static void resume_listening(struct engine *engine) {
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
        source_watch(engine, listener->fd, &listener->source,
                     listener->listener_kind == ENGINE_UNIX ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
    }
}

void engine_stop_listening(struct engine *engine) {
    if (engine->is_accepting) {
        for (uint32_t i = 0; i < engine->listener_count; i++) {
            epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, engine->listeners[i].fd, NULL);
        }
    }
    engine->is_accepting = false;
    engine->has_stopped = true;
}

// What goes with a handed-over descriptor.
struct hand_over {
    uint32_t worker;    // Where it was counted in: the receiver, unless somebody passed it on.
    uint32_t epoch;     // Of that worker at that time; 0 when it was not counted at all.
    uint32_t listener;
    union peer_address peer;
};

static bool send_connection(int inbox_fd, int fd, struct hand_over note) {
    struct iovec iov = {&note, sizeof note};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return inbox_fd >= 0
           && sendmsg(inbox_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof note;
}

bool engine_give_connection(int inbox_fd, int fd, uint32_t listener) {
    struct hand_over note = {.listener = listener};
    socklen_t size = sizeof note.peer;
    // A client that has gone already has no name, and its new worker will notice.
    (void)getpeername(fd, &note.peer.any, &size);
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && send_connection(inbox_fd, fd, note);
}

static void take_over(struct engine *engine) {
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct hand_over note;
        struct iovec iov = {&note, sizeof note};
        union {
            struct cmsghdr header;
            char room[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        ssize_t received = recvmsg(engine->inbox_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (received < 0) {
            return;
        }
        if (received != (ssize_t)sizeof note || note.worker >= engine->workers) {
            continue;
        }
        if (note.worker != engine->worker || note.epoch != engine->epoch) {
            // It was counted for another worker, for a life of this one that is over, or not at
            // all.
            server_place_here(engine, note.worker, note.epoch);
        }
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (!header || header->cmsg_type != SCM_RIGHTS) {
            // The descriptor did not fit into this process's table; its peer sees the end.
            server_load_change(engine, -1);
            continue;
        }
        int fd;
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        connection_open(engine, fd,
                        note.listener < engine->listener_count ? &engine->listeners[note.listener]
                                                               : NULL,
                        &note.peer, true);
    }
}

static void refuse(struct engine *engine, int fd) {
    // The client reads the reason before it sees the end.
    if (send(fd, TOO_MANY, sizeof TOO_MANY - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        count(engine->proc, COUNTER_bytes_written, sizeof TOO_MANY - 1);
    }
    close(fd);
    count(engine->proc, COUNTER_rejected_connections, 1);
}

// How many to accept before looking at anything else: one, and twice as many whenever the last ones
// were not all, so that neither a burst nor a single client makes the kernel be asked in vain.
static uint32_t accepts_now(struct engine *engine, struct listener *listener) {
    bool is_burst = listener->last_round + 1 == engine->rounds;
    listener->last_round = engine->rounds;
    if (!is_burst || listener->accepts == 0) {
        listener->accepts = 1;
    } else if (listener->accepts < ACCEPTS_PER_TURN) {
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
        refuse(engine, fd);
    } else if (worker == engine->worker) {
        connection_open(engine, fd, listener, peer, false);
    } else if (send_connection(engine->peer_fds[worker], fd, note)) {
        count(engine->proc, COUNTER_connections_handed, 1);
        close(fd);
    } else {
        // Its inbox is full: better an uneven share than a lost client.
        server_place_here(engine, worker, note.epoch);
        connection_open(engine, fd, listener, peer, false);
    }
}

static void accept_some(struct engine *engine, struct listener *listener) {
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

// A connection whose input waits in a stage.
struct staged {
    struct connection *connection;
    size_t bytes;
    uint64_t hash;    // Of the first command's key, when it was easy to see; 0 otherwise.
};

// The hash of the key of a plain get or set at the start of the input, its bucket on the way to the
// cache.
static uint64_t peek_key(const struct engine *engine, const char *in, size_t bytes) {
    if (bytes < 8 || bytes > 2048 || in[3] != ' '
        || (memcmp(in, "get", 3) != 0 && memcmp(in, "set", 3) != 0)) {
        return 0;
    }
    size_t end = 4;
    while (end < bytes && (unsigned char)in[end] > ' ') {
        end++;
    }
    uint64_t hash = link_hash(engine->store, in + 4, end - 4);
    link_prefetch_bucket(engine->store, hash);
    return hash;
}

static void converse_staged(struct engine *engine, struct staged *staged, uint32_t count_staged) {
    for (uint32_t i = 0; count_staged > 1 && i < count_staged; i++) {
        if (staged[i].hash) {
            link_prefetch_items(engine->store, staged[i].hash);
        }
    }
    engine->is_deferring = count_staged > 1;
    for (uint32_t i = 0; i < count_staged; i++) {
        staged[i].connection->is_staged = false;
        if (LIKELY(!staged[i].connection->is_dead)) {
            connection_converse(engine, staged[i].connection,
                                engine->input + (size_t)i * STAGE_BYTES, staged[i].bytes);
        }
    }
    engine->is_deferring = false;
    connections_send_deferred(engine);
}

// The process that answered for this connection is done, or gone.
static void hear(struct engine *engine, struct connection *connection) {
    if (!connection->is_dead && connection->told_fd >= 0) {
        connection_take_back(engine, connection);
        queue_push(&engine->streams, connection);
    }
}

static void serve_other(struct engine *engine, const struct epoll_event *event) {
    struct source *source = event->data.ptr;
    if (source->kind == SOURCE_LISTENER) {
        accept_some(engine, (struct listener *)source);
    } else if (source->kind == SOURCE_INBOX) {
        take_over(engine);
    } else if (source->kind == SOURCE_WATCHED) {
        engine->is_called = true;
    } else if (source->kind == SOURCE_TOLD) {
        hear(engine, (struct connection *)((char *)source - offsetof(struct connection, told)));
    } else if (source->kind == SOURCE_FLASH) {
        return;    // What is done is collected at the end of each round.
    } else if (event->events & EPOLLOUT) {
        connection_writable(engine, (struct connection *)source);
    } else if (event->events & (EPOLLHUP | EPOLLERR)) {
        connection_close(engine, (struct connection *)source);
    }
}

// Receives for one connection into the next stage; converses when all stages are full.
static uint32_t stage(struct engine *engine, struct connection *connection, struct staged *staged,
                      uint32_t count_staged) {
    if (UNLIKELY(connection->is_staged)) {
        // What it sent first comes first.
        converse_staged(engine, staged, count_staged);
        count_staged = 0;
    }
    if (UNLIKELY(connection->is_dead)) {
        return count_staged;
    }
    if (UNLIKELY(connection->has_work)) {
        connection_go_on(engine, connection);
        return count_staged;
    }
    char *place = engine->input + (size_t)count_staged * STAGE_BYTES;
    size_t bytes = connection_receive(engine, connection, place);
    if (bytes == 0) {
        return count_staged;
    }
    connection->is_staged = true;
    staged[count_staged++] = (struct staged){connection, bytes, peek_key(engine, place, bytes)};
    if (count_staged == STAGES) {
        converse_staged(engine, staged, count_staged);
        return 0;
    }
    return count_staged;
}

// Tries those again who met a busy bucket. While there are any, nobody waits for a bucket in C:
// others are to be served.
static void serve_busy(struct engine *engine) {
    uint64_t now = read_ns(CLOCK_MONOTONIC);
    if (now < engine->busy_ns) {
        return;
    }
    engine->busy_ns = now + BUSY_NS;
    // Those that have to wait on are queued again, behind the others.
    uint32_t waiting = 0;
    for (const struct connection *at = engine->busy.first; at; at = at->queue_next) {
        waiting++;
    }
    for (struct connection *at; waiting > 0 && (at = queue_pop(&engine->busy)); waiting--) {
        connection_resume(engine, at);
    }
}

static void serve(struct engine *engine, int ready) {
    struct staged staged[STAGES];
    uint32_t count_staged = 0;
    struct connection *again = engine->again;
    engine->again = NULL;
    while (again) {
        struct connection *next = again->again_next;
        again->is_in_again = false;
        count_staged = stage(engine, again, staged, count_staged);
        again = next;
    }
    for (int i = 0; i < ready; i++) {
        struct source *source = engine->events[i].data.ptr;
        uint32_t events = engine->events[i].events;
        if (LIKELY(source->kind == SOURCE_CONNECTION && (events & EPOLLIN))) {
            struct connection *connection = (struct connection *)source;
            connection->has_ended |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
            if (UNLIKELY((connection->is_on_flash || connection->is_busy)
                         && (events & (EPOLLHUP | EPOLLERR)))) {
                connection_close(engine, connection);
                continue;
            }
            count_staged = stage(engine, connection, staged, count_staged);
        } else if (source->kind != SOURCE_CONNECTION || !((struct connection *)source)->is_dead) {
            serve_other(engine, &engine->events[i]);
        }
    }
    converse_staged(engine, staged, count_staged);
    if (UNLIKELY(engine->reader)) {
        engine_flash_serve(engine);
    }
    if (UNLIKELY(engine->busy.first)) {
        serve_busy(engine);
    }
    engine->proc->is_hasty = engine->busy.first != NULL;
    connections_free_dead(engine);
}

static uint32_t wants(const struct engine *engine) {
    return (engine->requests.first ? ENGINE_REQUESTS : 0)
           | (engine->streams.first || engine->closed_streams.first ? ENGINE_STREAMS : 0)
           | (engine->is_called ? ENGINE_WATCHED : 0);
}

// How long the next round may wait for events, in milliseconds: 0 where something is to be done
// anyway. Whatever must not wait for a client's next word belongs here.
static int wait_ms(const struct engine *engine, uint64_t end_ns) {
    if (engine->again || wants(engine) || engine->now_ns >= end_ns) {
        return 0;
    }
    if (UNLIKELY(engine->busy.first)) {
        return (BUSY_NS + 999999) / 1000000;
    }
    if (UNLIKELY(engine->reader)) {
        uint64_t due_ns = engine_flash_due_ns(engine);
        due_ns = due_ns > engine->now_ns ? due_ns : engine->now_ns;
        end_ns = due_ns < end_ns ? due_ns : end_ns;
    }
    return (int)((end_ns - engine->now_ns + 999999) / 1000000);
}

enum round { ROUND_SERVED, ROUND_EMPTY, ROUND_INTERRUPTED };

// Waits so long at most for something to be ready, and serves it. A signal interrupts it.
static enum round serve_round(struct engine *engine, int milliseconds) {
    engine->rounds++;
    rest(engine);
    int ready = epoll_wait(engine->epoll_fd, engine->events, EVENTS_MAX, milliseconds);
    update_clock(engine);
    if (UNLIKELY(!engine->is_accepting)) {
        resume_listening(engine);
    }
    if (ready <= 0 && !engine->again) {
        if (UNLIKELY(engine->busy.first
                     || (engine->reader && engine_flash_due_ns(engine) <= engine->now_ns))) {
            serve(engine, 0);
        }
        return ready < 0 ? ROUND_INTERRUPTED : ROUND_EMPTY;
    }
    count(engine->proc, COUNTER_wakeups, 1);
    serve(engine, ready > 0 ? ready : 0);
    return ROUND_SERVED;
}

// Python has its turn. Returns what it is wanted for; of busy buckets no descriptor tells.
static uint32_t leave(struct engine *engine) {
    if (UNLIKELY(engine->reader)) {
        engine_flash_set_timer(engine);
    }
    rest(engine);
    uint32_t found = wants(engine) | (engine->again || engine->busy.first ? ENGINE_AGAIN : 0);
    engine->is_called = false;
    return found;
}

uint32_t engine_turn(struct engine *engine) {
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        if (serve_round(engine, 0) != ROUND_SERVED) {
            return leave(engine);
        }
    }
    return leave(engine) | ENGINE_AGAIN;
}

// When the wait for clients is over if none says anything.
static uint64_t quiet_until_ns(const struct engine *engine, uint64_t quiet_ns, uint64_t end_ns) {
    return engine->now_ns + quiet_ns < end_ns ? engine->now_ns + quiet_ns : end_ns;
}

uint32_t engine_stay(struct engine *engine, uint32_t quiet_milliseconds, uint32_t milliseconds) {
    engine->now_ns = read_ns(CLOCK_MONOTONIC_COARSE);
    uint64_t end_ns = engine->now_ns + milliseconds * UINT64_C(1000000);
    uint64_t quiet_ns = quiet_milliseconds * UINT64_C(1000000);
    uint64_t until_ns = quiet_until_ns(engine, quiet_ns, end_ns);
    enum round last;
    do {
        // Also while Python is wanted all the time, clients get what is ready.
        last = serve_round(engine, wait_ms(engine, until_ns));
        if (last == ROUND_SERVED) {
            until_ns = quiet_until_ns(engine, quiet_ns, end_ns);
        }
    } while (last != ROUND_INTERRUPTED && !wants(engine) && engine->now_ns < until_ns);
    return leave(engine);
}

// Not when the process stood still in between: that would look as if the wall clock had been set.
static void compare_clocks(struct engine *engine) {
    uint64_t before_ns = read_ns(CLOCK_MONOTONIC);
    uint64_t wall_ns = read_ns(CLOCK_REALTIME);
    if (read_ns(CLOCK_MONOTONIC) - before_ns < SAME_MOMENT_NS) {
        arena_clock_set_wall(engine->arena, before_ns, wall_ns);
    }
}

void engine_tick(struct engine *engine) {
    update_clock(engine);
    uint32_t now = engine->proc->now_seconds;
    uint64_t timeout = (uint64_t)live_get(engine->arena, LIVE_idle_timeout_seconds);
    struct connection *connection = timeout ? engine->connections : NULL;
    while (connection) {
        struct connection *next = connection->next;
        bool is_idle = connection->state == CONNECTION_READ
                       && record_at(engine, connection->record)->family != 1;
        if (is_idle && connection->last_command_seconds + timeout < now) {
            count(engine->proc, COUNTER_idle_kicks, 1);
            connection_close(engine, connection);
        }
        connection = next;
    }
    values_drop_silent(engine);
    readers_relieve(engine);
    notices_tell(engine);
    if (engine->log) {
        log_flush(engine->log);
    }
    compare_clocks(engine);
    if (engine->reader) {
        engine_flash_serve(engine);
    }
    connections_free_dead(engine);
    engine->lacks_descriptors = false;
    if (!engine->is_accepting) {
        resume_listening(engine);
    }
    rest(engine);
}

bool engine_next_request(struct engine *engine, struct engine_request *request_out) {
    struct connection *connection = queue_pop(&engine->requests);
    if (!connection) {
        return false;
    }
    *request_out = (struct engine_request){connection->ticket, connection->admin_line,
                                           connection->admin_bytes, connection->admin_is_pipelined};
    return true;
}

static struct connection *find_ticket(struct engine *engine, uint64_t ticket) {
    for (struct connection *at = engine->connections; at; at = at->next) {
        if (at->is_parked && at->ticket == ticket) {
            return at;
        }
    }
    return NULL;
}

static bool reply_to(struct engine *engine, uint64_t ticket, const char *bytes, uint32_t byte_count,
                     int kind) {
    update_clock(engine);    // The command may have moved it.
    struct connection *connection = find_ticket(engine, ticket);
    if (connection) {
        connection_take_back(engine, connection);
    }
    if (!connection || !connection_send(engine, connection, bytes, byte_count)) {
        connections_free_dead(engine);
        return false;
    }
    if (kind == ENGINE_REPLY_MORE) {
        connection->is_streaming = true;
        if (!connection->backlog) {
            queue_remove(&engine->streams, connection);    // Two parts in a row are named once.
            queue_push(&engine->streams, connection);
        }
        return true;
    }
    connection->is_parked = connection->is_streaming = false;
    free(connection->admin_line);
    connection->admin_line = NULL;
    session_resume(&connection->session);
    if (kind == ENGINE_REPLY_CLOSE) {
        if (connection->backlog) {
            connection->is_closing = true;
        } else {
            connection_close(engine, connection);
        }
    } else {
        connection_continue(engine, connection);
    }
    if (engine->reader) {
        flash_reader_submit(engine->reader);
    }
    connections_free_dead(engine);
    return true;
}

bool engine_reply(struct engine *engine, uint64_t ticket, const char *bytes, uint32_t byte_count,
                  int kind) {
    bool is_known = reply_to(engine, ticket, bytes, byte_count, kind);
    rest(engine);
    return is_known;
}

int engine_lend(struct engine *engine, uint64_t ticket, int told_fd) {
    struct connection *connection = find_ticket(engine, ticket);
    if (!connection || connection->backlog || connection->told_fd >= 0) {
        return -1;
    }
    connection->told.kind = SOURCE_TOLD;
    if (!source_watch(engine, told_fd, &connection->told, EPOLLIN)) {
        return -1;
    }
    connection->told_fd = told_fd;
    connection->is_shared = true;
    connection->is_streaming = true;
    return connection->fd;
}

bool engine_next_stream(struct engine *engine, uint64_t *connection_out, bool *more_out) {
    struct connection *closed = queue_pop(&engine->closed_streams);
    if (closed) {
        *connection_out = closed->ticket;
        *more_out = false;
        free(closed);
        return true;
    }
    struct connection *connection = queue_pop(&engine->streams);
    if (!connection) {
        return false;
    }
    *connection_out = connection->ticket;
    *more_out = true;
    return true;
}
