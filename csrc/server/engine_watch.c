// Clients that watch: a timer looks at the rings for them, more often the more there is to see.
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "server/server_internal.h"

#define PAUSE_NS_MIN 1000000
#define PAUSE_NS_MAX 64000000
// Lines are made in pieces of this size; of one watcher no more than so many before clients get
// their turn.
#define PIECE_BYTES 32768
#define PIECES_PER_TURN 8

// A client that watches.
struct watcher {
    struct watcher *next;
    struct client *client;
    struct watch_reader *reader;
    bool was_slow;    // It has not taken all lines since they were made last.
};

static void set_timer(const struct engine *engine, uint64_t pause_ns) {
    struct itimerspec when = {.it_value.tv_nsec = (long)pause_ns};
    timerfd_settime(engine->watch_fd, 0, &when, NULL);
}

static bool open_timer(struct engine *engine) {
    if (engine->watch_fd >= 0) {
        return true;
    }
    engine->watch_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    engine->watch_timer.kind = SOURCE_WATCH_TIMER;
    if (engine->watch_fd >= 0
        && source_watch(engine, engine->watch_fd, &engine->watch_timer, EPOLLIN)) {
        return true;
    }
    engine_watch_close(engine);
    return false;
}

void engine_watch_close(struct engine *engine) {
    if (engine->watch_fd >= 0) {
        close(engine->watch_fd);
    }
    engine->watch_fd = -1;
    free(engine->watch_lines);
    engine->watch_lines = NULL;
}

int engine_watch_begin(struct engine *engine, struct client *client, uint32_t classes) {
    struct watcher *watcher = calloc(1, sizeof *watcher);
    engine->watch_lines = engine->watch_lines ? engine->watch_lines : malloc(PIECE_BYTES);
    if (!watcher || !engine->watch_lines || !open_timer(engine)) {
        free(watcher);
        return PYMC_NO_MEMORY;
    }
    int status = watch_reader_open(engine->proc, classes, &watcher->reader);
    if (status != PYMC_OK) {
        free(watcher);
        return status;
    }
    watch_turn(&engine->store->watch);
    watcher->client = client;
    watcher->next = engine->watchers;
    engine->watchers = watcher;
    SHARED_STORE(engine->root->watches[engine->worker], SERVER_WATCHES);
    engine->watch_pause_ns = PAUSE_NS_MIN;
    set_timer(engine, engine->watch_pause_ns);
    conn_watch(&engine->conns, &client->connection);
    return PYMC_OK;
}

void engine_watch_forget(struct engine *engine, const struct client *client) {
    for (struct watcher **at = &engine->watchers; *at; at = &(*at)->next) {
        struct watcher *watcher = *at;
        if (watcher->client == client) {
            *at = watcher->next;
            watch_reader_close(watcher->reader);
            free(watcher);
            break;
        }
    }
    if (!engine->watchers) {
        SHARED_STORE(engine->root->watches[engine->worker], SERVER_WATCHES_NOT);
    }
}

// Makes and sends lines for one of them, which may close by it. Returns whether there were any.
static bool serve_watcher(struct engine *engine, struct watcher *watcher) {
    uint64_t room = (uint64_t)live_get(engine->arena, LIVE_watcher_logbuf_bytes);
    room = room > WATCH_LINE_BYTES_MAX ? room : WATCH_LINE_BYTES_MAX;
    struct connection *connection = &watcher->client->connection;
    for (uint32_t piece = 0; piece < PIECES_PER_TURN; piece++) {
        uint32_t unsent = conn_backlog_bytes(connection);
        if (unsent + WATCH_LINE_BYTES_MAX > room) {
            watcher->was_slow = true;
            return piece > 0;
        }
        uint32_t fits = room - unsent < PIECE_BYTES ? (uint32_t)(room - unsent) : PIECE_BYTES;
        uint32_t bytes =
            watch_reader_lines(watcher->reader, engine->watch_lines, fits, watcher->was_slow);
        watcher->was_slow = false;
        if (bytes == 0) {
            return piece > 0;
        }
        if (!conn_watch_send(&engine->conns, connection, engine->watch_lines, bytes)) {
            return true;
        }
    }
    return true;
}

// Returns whether any of them had lines.
static bool serve_watchers(struct engine *engine) {
    bool had_lines = false;
    struct watcher *next;
    for (struct watcher *at = engine->watchers; at; at = next) {
        next = at->next;
        had_lines |= serve_watcher(engine, at);
    }
    return had_lines;
}

void engine_watch_call(struct engine *engine) {
    serve_watchers(engine);
    struct server_root *root = engine->root;
    for (uint32_t worker = 0; worker < engine->workers; worker++) {
        uint32_t expected = SERVER_WATCHES;
        // What a full inbox loses is seen by the timer.
        if (worker != engine->worker && SHARED_LOAD(root->watches[worker]) == SERVER_WATCHES
            && SHARED_CAS(root->watches[worker], &expected, SERVER_WATCH_CALLED, ACQ_REL)) {
            inbox_call(engine->peer_fds[worker]);
        }
    }
}

bool engine_watch_called(struct engine *engine) {
    // Called again from here on: what is noted while this looks may come too late for it.
    uint32_t expected = SERVER_WATCH_CALLED;
    (void)SHARED_CAS(engine->root->watches[engine->worker], &expected, SERVER_WATCHES, ACQ_REL);
    return serve_watchers(engine);
}

void engine_watch_serve(struct engine *engine) {
    uint64_t expirations;
    (void)!read(engine->watch_fd, &expirations, sizeof expirations);
    bool had_lines = engine_watch_called(engine);
    uint64_t pause_ns = had_lines ? PAUSE_NS_MIN : engine->watch_pause_ns * 2;
    engine->watch_pause_ns = pause_ns < PAUSE_NS_MAX ? pause_ns : PAUSE_NS_MAX;
    if (engine->watchers) {
        set_timer(engine, engine->watch_pause_ns);
    }
}
