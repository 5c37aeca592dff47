// Connections, the engine's handle, and what workers share about connections.
#pragma once

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "proto/reply_inline.h"
#include "proto/session_inline.h"
#include "server/engine.h"

// Connections whose input is received before any of it is looked at, so that their memory latencies
// overlap.
#define STAGES 16
#define STAGE_BYTES 32768
#define READ_INTEREST (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define REPLY_BYTES (65536 + REPLY_ROOM_BYTES)
#define REPLY_VALUES 64
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
    uint32_t loads[ENGINE_WORKERS_MAX];
    uint32_t epochs[ENGINE_WORKERS_MAX];    // Which life of the worker a handed-over connection was
                                            // counted for.
};

enum source_kind {
    SOURCE_CONNECTION,
    SOURCE_LISTENER,
    SOURCE_INBOX,
    SOURCE_FLASH,
    SOURCE_TOLD,
    SOURCE_WATCHED
};

// First member of everything that epoll points to.
struct source {
    uint8_t kind;
};

struct listener {
    struct source source;
    uint8_t listener_kind;
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

// What could not be sent at once.
struct backlog {
    struct reply_value values[REPLY_VALUES];
    uint32_t value_count;
    uint32_t value_first;
    uint32_t bytes;
    uint32_t sent;
    char text[];
};

// Input that waits: unfinished, or not yet looked at.
struct kept_input {
    char *base;
    uint32_t at;    // Where it begins.
    uint32_t bytes;
    uint32_t room;        // Of the buffer, from its base.
    uint32_t scanned;     // From `at` to here there is no line's end but the one noted below.
    uint32_t line_end;    // Behind a line's end; 0 when none is known.
};

// One that never reads costs at most STAGE_BYTES of input, a backlog of REPLY_BYTES and
// REPLY_VALUES pins, and one part of an administrative answer: nothing more is read from it until
// that is sent. Only the rest of a get's line is: up to 32 MiB of it, and no more than 64 MiB in
// all clients of a worker.
struct connection {
    struct source source;
    bool is_closing;          // Close when the backlog is sent.
    bool is_dead;             // Closed; freed at the end of the turn.
    bool is_parked;           // Waits for engine_reply().
    bool is_on_flash;         // Its session waits for a read; then it has no backlog.
    bool is_busy;             // Its session waits for a bucket, in engine->busy; no backlog either.
    bool has_missed_input;    // An event came meanwhile.
    bool is_streaming;        // Answered in part, or by another process; more when that is sent, or
                              // done.
    bool is_staged;           // Its input lies in a stage, not yet looked at.
    bool is_in_again;         // In the engine's again list: the socket may hold more than was read.
    bool has_work;            // Its kept input holds commands; it only let others go first.
    bool is_in_values;        // In the list through value_next.
    bool is_in_readers;       // In the list through reader_next.
    bool is_shared;       // Another process was given it or gave it, and may still have it open.
    bool has_more;        // The socket may hold more than was received.
    bool reads_little;    // Large values came last: the next may begin with one too.
    bool reads_ahead;     // It has a backlog, and the rest of its get's line is kept as it comes.
    bool has_ended;       // The client said its last: there is no other event for the end of its
                          // input.
    uint8_t state;        // As its record shows it.
    int fd;
    uint32_t record;
    uint32_t interest;    // Epoll events asked for.
    uint32_t last_command_seconds;
    uint32_t value_seconds;       // When a byte of its half-sent value came last.
    uint32_t progress_seconds;    // When it took something of its backlog last, or got it.
    uint64_t ticket;              // Of the administrative command it waits for.
    struct kept_input kept;
    char *admin_line;
    uint32_t admin_bytes;
    bool admin_is_pipelined;
    struct backlog *backlog;
    struct source told;    // What epoll points to for told_fd.
    int told_fd;           // Readable when the process that answers is done; -1 for none.
    struct session session;
    struct flash_waiter waiter;
    struct connection *next, *previous;                // All connections of the engine.
    struct connection *value_next, *value_previous;    // In the engine's list of half-sent values.
    struct connection *reader_next, *reader_previous;    // In the engine's list of slow readers.
    struct connection *queue_next;    // In the request, stream, busy or dead queue.
    struct connection *again_next;
};

// Connections with a large value half in, the one that has been silent longest first.
struct value_list {
    struct connection *first, *last;
    uint64_t refusals_seen;    // What the worker had refused at the last look.
    uint32_t dropped;          // Not yet told of.
    uint32_t told_seconds;
};

// Connections whose backlog holds values, the one that has taken nothing for longest first.
struct reader_list {
    struct connection *first, *last;
    struct connection *cursor;    // Where the next look begins; NULL for the first.
    uint32_t closed;              // Not yet told of.
    uint32_t told_seconds;
};

// A finished reply that leaves when the whole group of connections has been served.
struct deferred {
    struct connection *connection;
    char *text;
    uint32_t bytes;
};

// What the operator was told last.
struct notices {
    uint64_t binary_told;
    uint32_t told_seconds;
};

struct connection_queue {
    struct connection *first, *last;
};

struct engine {
    struct store *store;
    struct proc *proc;
    struct arena *arena;
    struct server_root *root;
    struct proto *proto;
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
    bool lacks_descriptors;    // accept() failed for want of them; a close or a tick may help.
    uint64_t input_bytes;      // Kept input of all connections.
    uint64_t refused_since_ns;
    uint64_t tickets;
    struct connection *connections;
    struct value_list values;
    struct reader_list readers;
    struct log *log;    // NULL without memory for one.
    bool log_is_stamped;
    struct notices notices;
    struct connection_queue requests;    // Wait to be fetched by Python.
    struct connection_queue streams;
    struct connection_queue busy;    // Wait for buckets that other processes hold ...
    uint64_t busy_ns;                // ... and are tried again at this time.
    struct connection *dead;
    struct connection *again;                  // To be read again without waiting for an event.
    struct connection_queue closed_streams;    // Closed while answered in part:
                                               // engine_next_stream() frees them.
    struct kept_input lent;                    // Of the connection that is being served from it.
    char *input;                               // STAGES pieces of STAGE_BYTES.
    char *tail;                                // One more, for what comes behind a large value.
    char *reply_base;    // The reply buffer; reply.start is where this connection's reply begins.
    struct deferred deferred[STAGES];
    uint32_t deferred_count;
    bool is_deferring;
    struct reply reply;
    struct reply_value reply_values[REPLY_VALUES];
    struct epoll_event events[EVENTS_MAX];
};

static inline struct connection_record *record_at(const struct engine *engine, uint32_t id) {
    return (struct connection_record *)(engine->arena->base + engine->root->records_offset) + id;
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
// Begins a new life of this worker: nothing of the last one counts any more.
void server_worker_begin(struct engine *engine);
uint32_t server_connections_total(const struct engine *engine);

// The connection's answer comes from this process again.
void connection_take_back(struct engine *engine, struct connection *connection);
// Takes over an accepted socket; closes it when there is no memory. `is_shared`: other processes
// may have it too.
void connection_open(struct engine *engine, int fd, const struct listener *listener,
                     const union peer_address *peer, bool is_shared);
void connection_close(struct engine *engine, struct connection *connection);
// Puts the connection at the end of the list of half-sent values, or out of it, as its session has
// one or not. To be called whenever it may have said something; once it is closed it is in no list.
void values_note(struct engine *engine, struct connection *connection);
// Closes connections that have been silent for too long in the middle of a value. Call once a
// second.
void values_drop_silent(struct engine *engine);
// Puts the connection at the end of the list of slow readers, or out of it, as its backlog holds
// values or not. To be called when it got a backlog, took something of it, or lost it.
void readers_note(struct engine *engine, struct connection *connection);
// While pins, memory that readers keep from being freed, or memory for copies is short: copies
// values out for those who have been slow for a while, and closes those who have taken nothing for
// too long. Call once a second.
void readers_relieve(struct engine *engine);
// Whether a notice of a kind that was last told in that second, 0 for never, may be told again.
bool notice_is_due(const struct engine *engine, uint32_t told_seconds);
// Tells what there is to tell. Call once a second.
void notices_tell(struct engine *engine);
// Asks for these epoll events. Asking again, also for the same, brings an event for what is there
// already.
void connection_ask(struct engine *engine, struct connection *connection, uint32_t interest);
// The same if it does not ask for them already.
void connection_want(struct engine *engine, struct connection *connection, uint32_t interest);
// Has the connection read from again without waiting for an event.
void connection_read_again(struct engine *engine, struct connection *connection);
// Keeps input that the session has not consumed, in place of what was kept; closes the connection
// when it cannot be.
void input_keep(struct engine *engine, struct connection *connection, const char *rest,
                size_t bytes);
void input_drop(struct engine *engine, struct connection *connection);
// The session borrows from kept input while it is fed with it, and it may be replaced: it is let go
// to engine->lent first. What is left of it afterwards, and was not kept again, is freed by
// input_take_back().
void input_lend(struct engine *engine, struct connection *connection);
void input_take_back(struct engine *engine);
// Whether a large value is on its way of which more can be received now.
bool input_has_value(const struct connection *connection);
// Receives a large value straight into its item, and what follows it into `behind`, a stage.
// Returns how many bytes lie there for the session; has_more says whether to come again.
size_t input_receive_value(struct engine *engine, struct connection *connection, char *behind);
// Replies wait: the rest of a get's line is received all the same, if the session is within one.
void input_begin_ahead(struct engine *engine, struct connection *connection);
void input_note_command(struct engine *engine, struct connection *connection);
// Receives into the stage behind kept input. Returns how many bytes lie there for
// connection_converse(), 0 for none.
size_t connection_receive(struct engine *engine, struct connection *connection, char *stage);
// Feeds received input to the session, sends the reply, keeps what is unfinished.
void connection_converse(struct engine *engine, struct connection *connection, const char *in,
                         size_t bytes);
void connection_writable(struct engine *engine, struct connection *connection);
// Sends the replies of a group, one after the other, so that clients wake to more than one.
void connections_send_deferred(struct engine *engine);
// Goes on with kept input, after a reply was sent or an answer came.
void connection_continue(struct engine *engine, struct connection *connection);
// The same after others had their turn.
void connection_go_on(struct engine *engine, struct connection *connection);
// Goes on with a connection whose read from flash is done, or whose busy bucket may be free.
void connection_resume(struct engine *engine, struct connection *connection);
// Sends bytes of an administrative answer, or keeps them. Returns false when the connection died.
bool connection_send(struct engine *engine, struct connection *connection, const char *bytes,
                     uint32_t count);
void connections_free_dead(struct engine *engine);

bool source_watch(struct engine *engine, int fd, struct source *source, uint32_t events);

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

void queue_push(struct connection_queue *queue, struct connection *connection);
struct connection *queue_pop(struct connection_queue *queue);
void queue_remove(struct connection_queue *queue, struct connection *connection);
