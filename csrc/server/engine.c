// The epoll engine: one turn waits for what is ready, and has it served.
#include "server/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/server_internal.h"

// Rounds of engine_turn(): at most a few milliseconds when all of them are full.
#define ROUNDS_MAX 32
#define SAME_MOMENT_NS 10000000
// Who waits for a bucket that another process holds is tried again so often.
#define BUSY_NS 1000000

// The coarse clock is off by a few milliseconds.
void engine_update_clock(struct engine *engine) {
    store_wake(engine->store);
    proc_beat(engine->proc);
    engine->now_ns = read_ns(CLOCK_MONOTONIC_COARSE);
    engine->proc->now_seconds = arena_seconds(engine->arena, engine->now_ns);
    store_turn(engine->store);
    if (UNLIKELY(engine->log_is_stamped && engine->log)) {
        log_stamp(engine->log, read_ns(CLOCK_REALTIME_COARSE));
    }
}

void engine_rest(struct engine *engine) {
    if (!engine->store->is_resting) {
        store_rest(engine->store);
    }
}

static int engine_prepare(struct engine *engine, const struct engine_options *options) {
    engine->peer_fds = calloc(options->workers, sizeof *engine->peer_fds);
    int status = conns_open(&engine->conns, engine->store, options->version, &client_host);
    if (!engine->peer_fds || status != PYMC_OK) {
        return PYMC_NO_MEMORY;
    }
    engine->tls_output_bytes = options->tls_output_bytes;
    proto_disable_commands(engine->conns.proto, options->disabled_commands);
    engine->conns.worker = engine->worker;
    engine->conns.workers = engine->workers;
    char name[32];
    snprintf(name, sizeof name, "worker %u", engine->worker);
    engine->log = log_open(options->log_fd ? options->log_fd : STDERR_FILENO, name);
    engine->log_is_stamped = options->log_is_stamped;
    engine->conns.log = engine->log;
    proto_set_log(engine->conns.proto, engine->log);
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
    engine->epoll_fd = engine->deadline_fd = engine->watch_fd = -1;
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
    engine_update_clock(engine);
    engine_rest(engine);
    *engine_out = engine;
    return PYMC_OK;
}

void engine_close(struct engine *engine) {
    if (!engine) {
        return;
    }
    store_wake(engine->store);
    clients_close(engine);
    engine_flash_close(engine);
    engine_watch_close(engine);
    if (engine->epoll_fd >= 0) {
        close(engine->epoll_fd);
    }
    conns_close(&engine->conns);
    engine_tls_close(engine);
    log_close(engine->log);
    free(engine->datagram_room);
    free(engine->peer_fds);
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
    int status = proto_set_auth(engine->conns.proto, lines, byte_count);
    if (status == PYMC_OK) {
        SHARED_STORE(engine->store->header->live[LIVE_auth_required], lines != NULL);
    }
    return status;
}

int engine_set_sasl(struct engine *engine, const char *lines, uint32_t byte_count) {
    return proto_set_sasl(engine->conns.proto, lines, byte_count);
}

// The process that answered for this client is done, or gone.
static void verdict_arrived(struct engine *engine, struct client *client) {
    if (conn_is_open(&client->connection) && client->verdict_fd >= 0) {
        client_take_back(engine, client);
        conn_lent_is_done(&engine->conns, &client->connection);
    }
}

static void serve_other(struct engine *engine, struct source *source) {
    switch (source->kind) {
    case SOURCE_LISTENER: listener_serve(engine, (struct listener *)source); break;
    case SOURCE_DATAGRAMS: datagrams_serve(engine, (struct listener *)source); break;
    case SOURCE_INBOX: inbox_serve(engine); break;
    case SOURCE_WATCHED: engine->is_called = true; break;
    case SOURCE_WATCH_TIMER: engine_watch_serve(engine); break;
    case SOURCE_VERDICT: {
        struct client *client =
            (struct client *)((char *)source - offsetof(struct client, verdict));
        verdict_arrived(engine, client);
        break;
    }
    default: break;    // What flash has done is collected at the end of each round.
    }
}

// Tries those again who met a busy bucket. While there are any, nobody waits for a bucket in C:
// others are to be served.
static void serve_busy(struct engine *engine) {
    uint64_t now = read_ns(CLOCK_MONOTONIC);
    if (now >= engine->busy_ns) {
        engine->busy_ns = now + BUSY_NS;
        conns_serve_busy(&engine->conns);
    }
}

static void serve_tls(struct engine *engine) {
    if (engine->conns.handshakes.ready.first) {
        conns_serve_handshakes(&engine->conns);
    }
    if (engine->tls_review) {
        engine_tls_review(engine);
    }
}

static void serve(struct engine *engine, int ready) {
    struct conns *conns = &engine->conns;
    conns_serve_again(conns);
    for (int i = 0; i < ready; i++) {
        struct source *source = engine->events[i].data.ptr;
        if (LIKELY(source->kind == SOURCE_CLIENT)) {
            conn_event(conns, &((struct client *)source)->connection, engine->events[i].events);
        } else {
            serve_other(engine, source);
        }
    }
    conns_serve_staged(conns);
    if (UNLIKELY(conns->tls_io)) {
        serve_tls(engine);
    }
    if (UNLIKELY(engine->reader)) {
        engine_flash_serve(engine);
    }
    if (UNLIKELY(conns->busy.first)) {
        serve_busy(engine);
    }
    engine->proc->avoids_waiting = conns->busy.first != NULL;
    clients_free_dead(engine);
}

static uint32_t wants(const struct engine *engine) {
    const struct conns *conns = &engine->conns;
    return (conns->requests.first ? ENGINE_REQUESTS : 0)
           | (conns->streams.first || engine->closed_streams.first ? ENGINE_STREAMS : 0)
           | (engine->is_called ? ENGINE_WATCHED : 0);
}

// Something is to be done that no event tells of. An engine without TLS looks at one word less.
static bool has_more(const struct engine *engine) {
    const struct conns *conns = &engine->conns;
    bool has_tls = UNLIKELY(conns->tls_io != NULL);
    return conns->again || (has_tls && (conns_have_more(conns) || engine->tls_review));
}

// How long the next round may wait for events, in milliseconds: 0 where something is to be done
// anyway. Whatever must not wait for a client's next word belongs here.
static int wait_ms(const struct engine *engine, uint64_t end_ns) {
    if (has_more(engine) || wants(engine) || engine->now_ns >= end_ns) {
        return 0;
    }
    if (UNLIKELY(engine->conns.busy.first)) {
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
    engine_rest(engine);
    int ready = epoll_wait(engine->epoll_fd, engine->events, EVENTS_MAX, milliseconds);
    engine_update_clock(engine);
    if (UNLIKELY(!engine->is_accepting)) {
        listening_resume(engine);
    }
    if (ready <= 0 && !has_more(engine)) {
        if (UNLIKELY(engine->conns.busy.first
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
    engine_rest(engine);
    uint32_t found =
        wants(engine) | (has_more(engine) || engine->conns.busy.first ? ENGINE_AGAIN : 0);
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
    engine_update_clock(engine);
    clients_drop_idle(engine);
    conns_tick(&engine->conns);
    engine_tls_tick(engine);
    if (engine->log) {
        log_flush(engine->log);
    }
    compare_clocks(engine);
    if (engine->reader) {
        engine_flash_serve(engine);
    }
    clients_free_dead(engine);
    engine->lacks_descriptors = false;
    if (!engine->is_accepting) {
        listening_resume(engine);
    }
    engine_rest(engine);
}
