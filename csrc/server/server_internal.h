// The engine's handle, its clients, and what workers share about connections.
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "conn/connection_inline.h"
#include "server/engine.h"

#define EVENTS_MAX 256
#define ACCEPTS_PER_TURN 64
#define FLASH_DEPTH_DEFAULT 64
#define FLASH_THREADS_DEFAULT 4
#define FLASH_MEMORY_BYTES_DEFAULT (32u << 20)

// In the arena: who has how many connections, and a record of each.
struct server_root {
    CACHE_ALIGNED uint64_t lock;    // LOCK_LEAF; guards loads, epochs and the free list of records.
    uint32_t workers;
    uint32_t records_max;
    uint32_t records_free;    // List through `id`, + 1.
    uint32_t records_begun;
    uint64_t records_offset;
    uint64_t identities_offset;    // SERVER_IDENTITY_BYTES for each record; written before its
                                   // has_identity is set.
    uint32_t watches[ENGINE_WORKERS_MAX];    // Whether a worker has watchers, enum server_watch.
    uint32_t loads[ENGINE_WORKERS_MAX];
    uint32_t epochs[ENGINE_WORKERS_MAX];    // Which life of the worker a handed-over connection was
                                            // counted for.
};

// A worker is called at most once until it has looked, so that calls do not fill its inbox.
enum server_watch { SERVER_WATCHES_NOT, SERVER_WATCHES, SERVER_WATCH_CALLED };

enum source_kind {
    SOURCE_CLIENT,
    SOURCE_LISTENER,
    SOURCE_DATAGRAMS,
    SOURCE_INBOX,
    SOURCE_FLASH,
    SOURCE_VERDICT,
    SOURCE_WATCHED,
    SOURCE_WATCH_TIMER
};

// First member of everything that epoll points to.
struct source {
    uint8_t kind;
};

struct datagram_room;

struct listener {
    struct source source;
    struct engine_listener_options options;
    int fd;
    uint32_t accepts;       // How many were to be accepted at the last event.
    uint32_t last_round;    // When that was.
    uint16_t port;
    uint8_t address[16];
};

// Whom accept() names. Clients of unix sockets have no name that matters, so theirs may be cut.
union peer_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

// What goes with a handed-over descriptor.
struct hand_over {
    uint32_t worker;    // Where it was counted in: the receiver, unless somebody passed it on.
    uint32_t epoch;     // Of that worker at that time; 0 when it was not counted at all.
    uint32_t listener;
    union peer_address peer;
};

// A connection of this engine, with what it has to do with its descriptors.
struct client {
    struct source source;
    bool is_shared;    // Another process was given it or gave it, and may still have it open.
    struct source verdict;    // What epoll points to for verdict_fd.
    int verdict_fd;           // Readable when the process that answers is done; -1 for none.
    struct client *next, *previous;    // All clients of the engine.
    struct connection connection;
};

struct watcher;

struct engine {
    struct conns conns;    // First: what is told of connections finds its engine by it.
    struct store *store;
    struct proc *proc;
    struct arena *arena;
    struct server_root *root;
    struct flash_reader *reader;    // NULL without a flash tier.
    struct source flash;
    struct source deadline;    // Also SOURCE_FLASH: a timer for reads that are not answered.
    int deadline_fd;
    uint64_t deadline_ns;    // What it was set to last.
    int epoll_fd;
    int inbox_fd;
    int *peer_fds;
    uint32_t worker;
    uint32_t workers;
    uint32_t epoch;
    uint32_t rounds;    // Waits for events so far.
    uint64_t now_ns;    // When the last wait ended, by the coarse monotonic clock.
    bool is_called;     // A descriptor of engine_watch() is readable.
    struct source watched;
    struct source inbox;
    struct listener listeners[ENGINE_LISTENERS_MAX];
    uint32_t listener_count;
    bool is_accepting;
    bool has_stopped;
    struct datagram_room *datagram_room;    // NULL without a UDP listener.
    uint32_t datagrams_waiting;             // Requests that are not answered yet.
    size_t datagram_answer_bytes;           // Room for their answers.
    bool lacks_descriptors;    // accept() failed for want of them; a close or a tick may help.
    uint64_t refused_since_ns;
    struct client *clients;
    uint32_t tls_output_bytes;
    struct tls_context *tls;      // For new connections; NULL for none.
    bool tls_is_behind;           // Some of those looked at are still to be closed.
    struct client *tls_review;    // The next whose certificate has to be good under it as well.
    struct log *log;              // NULL without memory for one.
    bool log_is_stamped;
    struct watcher *watchers;    // Clients that watch.
    struct source watch_timer;
    int watch_fd;    // The timer that looks for lines for them; -1 before the first.
    uint64_t watch_pause_ns;
    char *watch_lines;                   // Room in which lines are made.
    uint64_t busy_ns;                    // When those who wait for buckets are tried again.
    struct conn_queue dead;              // Closed; freed at the end of the turn.
    struct conn_queue closed_streams;    // Closed while answered in part: engine_next_stream()
                                         // frees them.
    struct epoll_event events[EVENTS_MAX];
};

static inline struct connection_record *record_at(const struct engine *engine, uint32_t id) {
    return (struct connection_record *)(engine->arena->base + engine->root->records_offset) + id;
}

static inline bool source_watch(struct engine *engine, int fd, struct source *source,
                                uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static inline uint64_t read_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Counts a new connection in and says which worker shall have it; UINT32_MAX when there are too
// many. Locks: LOCK_LEAF.
uint32_t server_place(struct engine *engine, uint32_t *epoch_out);
void server_load_change(struct engine *engine, int32_t by);
// A connection that was counted in for `worker` in its life `epoch` stays here after all.
void server_place_here(struct engine *engine, uint32_t worker, uint32_t epoch);
// Takes a record; UINT32_MAX when all are in use.
uint32_t server_record_take(struct engine *engine);
// Gives the record of a connection of this worker back and counts it out.
void server_record_give(struct engine *engine, uint32_t id);
// Shows whom the connection with this record talks to, until the record is given back.
void server_identity_note(struct engine *engine, uint32_t id, const char *identity);
// Begins a new life of this worker: nothing of the last one counts any more.
void server_worker_begin(struct engine *engine);
uint32_t server_connections_total(const struct engine *engine);

static inline struct client *client_of(struct connection *connection) {
    return (struct client *)((char *)connection - offsetof(struct client, connection));
}

// Gives a client the transport that its listener's options ask for; NULL: a plain one. Owns: the
// transport has the descriptor. Returns false without memory, with the descriptor left to the
// caller.
bool client_transport_open(struct engine *engine, struct client *client, int fd,
                           const struct listener *listener);
// Takes over an accepted socket; closes it when there is no memory. `is_shared`: other processes
// may have it too.
void client_open(struct engine *engine, int fd, const struct listener *listener,
                 const union peer_address *peer, bool is_shared);
// The answer comes from this process again.
void client_take_back(struct engine *engine, struct client *client);
// As engine_begin_watch(), of a client that is CONN_PARKED.
int engine_watch_begin(struct engine *engine, struct client *client, uint32_t classes);
// A client that may watch is closed.
void engine_watch_forget(struct engine *engine, const struct client *client);
// Much was noted here: all workers with watchers are to look, this one at once.
void engine_watch_call(struct engine *engine);
// Another worker has called: looks for lines, and sends them. Returns whether there were any.
bool engine_watch_called(struct engine *engine);
// The timer's time has come: looks for lines, and sends them.
void engine_watch_serve(struct engine *engine);
void engine_watch_close(struct engine *engine);
void clients_free_dead(struct engine *engine);
void clients_close(struct engine *engine);
// Closes those who have said nothing for longer than the operator allows.
void clients_drop_idle(struct engine *engine);
extern const struct conn_host client_host;

// Describes a connection in its record.
void record_fill(struct connection_record *record, uint32_t id, const struct listener *listener,
                 const union peer_address *peer);
// Puts a zeroed client among the engine's.
void client_begin(struct engine *engine, struct client *client);

// Makes the room that datagrams are received into; false without memory.
bool datagrams_open(struct engine *engine);
// Receives datagrams, up to a bound, and begins their conversations.
void datagrams_serve(struct engine *engine, struct listener *listener);
// Looks at some clients whether they are still admitted.
void engine_tls_review(struct engine *engine);
// Closes a client of an older context whose certificate is no longer good; else it gets the rights
// that it has now.
void engine_tls_compare(struct engine *engine, struct client *client);
// Once a second: looks again at those that could not be closed.
void engine_tls_tick(struct engine *engine);
// The client goes: it is not looked at any more.
void engine_tls_forget(struct engine *engine, const struct client *client);
void engine_tls_close(struct engine *engine);

// Accepts from a listener, and puts what it got where it belongs.
void listener_serve(struct engine *engine, struct listener *listener);
// Hands a connection to the worker with this inbox; the descriptor stays the caller's. Returns
// false when the inbox is full.
bool inbox_send(int inbox_fd, int fd, const struct hand_over *note);
// What is no note, but tells a worker that its watchers are to look.
#define INBOX_CALL 'w'
// Tells the worker with this inbox that its watchers are to look; lost when that is full.
void inbox_call(int inbox_fd);
// Takes connections that others accepted.
void inbox_serve(struct engine *engine);
// Listens again after a pause, if what it paused for is over.
void listening_resume(struct engine *engine);
// Time moves on and the process's clock with it: after a wait, or after Python.
void engine_update_clock(struct engine *engine);
// Python has its turn, or the worker waits: what it set aside is there for others.
void engine_rest(struct engine *engine);

// Nothing to be done without a flash tier.
MUST_CHECK int engine_flash_open(struct engine *engine, const struct engine_options *options);
void engine_flash_close(struct engine *engine);
// Collects reads that are done, goes on with who waited for them, and hands over what was begun in
// this round.
void engine_flash_serve(struct engine *engine);
// When a read has to be given up, if its device does not answer. UINT64_MAX: never.
uint64_t engine_flash_due_ns(const struct engine *engine);
// Lets the engine's descriptor become readable when the first read has met its deadline. Costs
// nothing while the timer goes off before that: then it is set anew.
void engine_flash_set_timer(struct engine *engine);
