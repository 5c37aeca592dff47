// A connection and what all connections of a worker share, for the engine that drives them.
#pragma once

#include "base/log.h"
#include "conn/connection.h"
#include "conn/transport_inline.h"
#include "conn/transport_tls_inline.h"
#include "proto/reply_inline.h"
#include "proto/session_inline.h"

// Connections whose input is received before any of it is looked at, so that their memory latencies
// overlap.
#define STAGES 16
#define REPLY_VALUES 64

struct backlog;

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
    uint8_t state;            // enum conn_state; README.md says which flag goes with which state.
    uint8_t shown;            // enum connection_state, as its record has it.
    bool is_datagram;         // A request by UDP, which is no connection to count or to show.
    bool has_missed_input;    // An event came while it was on flash or on a bucket.
    bool is_streaming;        // Parked: answered in part, or by another process; more when that is
                              // sent, or done.
    bool is_staged;           // Its input lies in a stage, not yet looked at.
    bool is_in_again;         // In conns->again: the transport may hold more than was received.
    bool is_in_values;        // In the list through value_next.
    bool is_in_readers;       // In the list through its backlog.
    bool is_in_ready;         // In conns->handshakes.ready.
    bool has_more;            // The transport may hold more than was received.
    bool has_ended;       // The client said its last: no other event tells of the end of its input.
    bool reads_little;    // Large values came last: the next may begin with one too.
    bool admin_is_pipelined;
    uint8_t closes_as;    // enum watch_reason, for watchers; known before it is closed.
    uint32_t wants;       // enum transport_event bits that it wants to be told of ...
    uint32_t asked;       // ... and what its transport made of them, which the host was asked for.
    struct transport transport;
    struct connection_record *record;
    uint32_t last_command_seconds;
    uint32_t value_seconds;    // When a byte of its half-sent value came last, or its handshake
                               // began.
    uint32_t admin_bytes;
    uint64_t ticket;    // Of the administrative command it waits for.
    char *admin_line;
    struct kept_input kept;
    struct backlog *backlog;
    struct session session;
    struct flash_waiter waiter;
    struct connection *value_next, *value_previous;    // In conns->values or conns->handshakes.
    struct connection *queue_next;                     // In the queue of its state.
    struct connection *again_next;
};

// Who waits for events for the connections.
struct conn_host {
    // To be told of `connection->asked` from here on. Asking again, also for the same, brings an
    // event for what is there already.
    void (*ask)(struct conns *conns, struct connection *connection);
    // The connection is closed but for its transport, which is closed when this returns. The host
    // keeps its memory until the end of the turn.
    void (*closed)(struct conns *conns, struct connection *connection);
    // Its handshake is done, and this is whom it talks to; borrowed. NULL for nothing to be done.
    void (*admitted)(struct conns *conns, struct connection *connection,
                     const struct tls_peer *peer);
    // Between two connections: those who watch, here or elsewhere, are to look now. NULL where
    // nobody can.
    void (*watch)(struct conns *conns);
    // A clock of nanoseconds: how long something takes, whatever the cache's own clock says.
    uint64_t (*read_ns)(struct conns *conns);
};

struct conn_queue {
    struct connection *first, *last;
};

// Connections with a large value or a record half in, the one that has been silent longest first.
struct value_list {
    struct connection *first, *last;
    uint64_t refusals_seen;    // What the worker had refused at the last look.
    uint32_t dropped;          // Not yet told of.
    uint32_t logged_seconds;
};

// Connections whose backlog holds values, the one that has taken nothing for longest first.
struct reader_list {
    struct connection *first, *last;
    struct connection *cursor;    // Where the next look begins; NULL for the first.
    uint32_t closed;              // Not yet told of.
    uint32_t logged_seconds;
};

// Connections whose answer is held back, of those with the same delay the first one first.
#define DELAY_STEPS 5
struct delay_list {
    struct connection *first, *last;
};

// While so many wait for their turn no further ones are begun: others who come wait with the
// kernel, where they cost no memory of ours.
#define HANDSHAKES_READY_MAX 64
// Connections in CONN_HANDSHAKE.
struct handshake_list {
    struct connection *first, *last;          // All of them, the one that began first in front.
    struct conn_queue ready;                  // Those with something to be done ...
    uint32_t ready_count;                     // ... and how many there are.
    uint32_t logged_seconds[TLS_FAILURES];    // When each kind of failure was told last ...
    uint32_t untold[TLS_FAILURES];            // ... and how many of it were not.
};

// A finished reply that leaves when the whole group of connections has been served.
struct deferred {
    struct connection *connection;
    char *text;
    uint32_t bytes;
};

// A connection whose input waits in a stage.
struct staged {
    struct connection *connection;
    size_t bytes;
    uint64_t hash;    // Of the first command's key, when it was easy to see; 0 otherwise.
};

// What the operator was told last.
struct notices {
    uint64_t protocol_logged;
    uint32_t logged_seconds;
    uint64_t logins_logged;
    uint32_t logins_logged_seconds;
    struct client_address login_address;    // Of the last failed login.
};

struct conns {
    const struct conn_host *host;
    struct store *store;
    struct proc *proc;
    struct arena *arena;
    struct proto *proto;
    struct flash_reader *reader;    // NULL without a flash tier.
    struct log *log;                // NULL without memory for one.
    uint32_t worker;
    uint32_t workers;
    uint64_t input_bytes;    // Kept input of all connections.
    uint64_t tickets;
    struct value_list values;
    struct reader_list readers;
    struct delay_list delays[DELAY_STEPS];    // 1, 2, 4, 8 and 16 seconds.
    struct handshake_list handshakes;
    struct notices notices;
    struct tls_io *tls_io;         // NULL before conns_use_tls().
    struct conn_queue requests;    // Wait to be fetched by who answers them.
    struct conn_queue streams;     // Parked; the last part of their answer was sent.
    struct conn_queue busy;        // On buckets that other processes hold.
    struct connection *again;      // To be served again without waiting for an event.
    struct kept_input lent;        // Of the connection that is being served from it.
    char *input;                   // STAGES pieces of STAGE_BYTES.
    char *tail;                    // One more, for what comes behind a large value.
    char *reply_base;    // The reply buffer; reply.start is where this connection's reply begins.
    uint32_t staged_count;
    uint32_t deferred_count;
    bool is_deferring;
    struct staged staged[STAGES];
    struct deferred deferred[STAGES];
    struct reply reply;
    struct reply_value reply_values[REPLY_VALUES];
};

static inline bool conn_is_open(const struct connection *connection) {
    return connection->state != CONN_CLOSED;
}
static inline bool conn_is_parked(const struct connection *connection) {
    return connection->state == CONN_PARKED || connection->state == CONN_PARKED_SENDING;
}
static inline bool conn_is_watching(const struct connection *connection) {
    return connection->state == CONN_WATCHING || connection->state == CONN_WATCHING_SENDING;
}
// The command under way waits for something that is not the client's to bring.
static inline bool conn_is_waiting(const struct connection *connection) {
    return connection->state == CONN_ON_FLASH || connection->state == CONN_ON_BUCKET;
}

// Somebody is to be served though no event tells of it.
static inline bool conns_have_more(const struct conns *conns) {
    return conns->again || conns->handshakes.ready.first;
}

static inline bool conns_may_encrypt(const struct conns *conns) {
    return conns->handshakes.ready_count < HANDSHAKES_READY_MAX;
}

// Makes what connections share, in zeroed memory. Borrows everything it is given. `reader` and
// `log` are the caller's to set. Returns PYMC_NO_MEMORY or PYMC_OK; either way conns_close() frees.
int conns_open(struct conns *conns, struct store *store, const char *version,
               const struct conn_host *host);
// All connections are closed by then.
void conns_close(struct conns *conns);

// Makes what encrypted connections share; again does nothing. Returns false without memory.
MUST_CHECK bool conns_use_tls(struct conns *conns);

// Begins a conversation, in zeroed memory but for its transport, which is open. `log_id` is what
// the log calls it.
void conn_open(struct conns *conns, struct connection *connection, struct connection_record *record,
               int log_id);
void conn_close(struct conns *conns, struct connection *connection);
// Closes it as soon as it has got the replies that wait, one that watches at once. Returns false
// when that cannot be said to it yet, since a command of its is under way.
bool conn_finish(struct conns *conns, struct connection *connection);
// The same for another reason than that the conversation is over.
void conn_close_as(struct conns *conns, struct connection *connection, enum watch_reason reason);
// Its events are edges: what is told here once is not told again.
void conn_event(struct conns *conns, struct connection *connection, uint32_t events);
// What conn_event() made ready to be served is served by this at the latest.
void conns_serve_staged(struct conns *conns);
// Serves those that did not wait for an event. To be called once a turn, before events are told.
void conns_serve_again(struct conns *conns);
// Goes on with handshakes, up to a bound of steps and of time: those who are established come
// first. To be called once a turn, behind the events.
void conns_serve_handshakes(struct conns *conns);
// Goes on with the connections of these waiters, whose reads from flash are done.
void conns_serve_read(struct conns *conns, struct flash_waiter *told);
// Tries those again who met a busy bucket.
void conns_serve_busy(struct conns *conns);
// Once a second: closes who is silent in the middle of a value, frees what slow readers hold of
// what others lack, tells the operator.
void conns_tick(struct conns *conns);
// Whether it has said nothing for so long though nothing keeps it from it.
bool conn_is_idle(const struct conns *conns, const struct connection *connection,
                  uint64_t timeout_seconds);

// The next administrative command that waits for conn_answer(); false when there is none.
bool conns_next_request(struct conns *conns, struct conn_request *request_out);
// Sends bytes of the answer, or keeps them; copies. The connection is parked, and may close.
// `kind`: enum conn_answer_kind. Returns false when it closed.
bool conn_answer(struct conns *conns, struct connection *connection, const char *bytes,
                 uint32_t byte_count, int kind);
// The connection, which is CONN_PARKED, is answered OK and gets lines from here on. What it has
// sent behind its command is thrown away. Returns false when it closed.
bool conn_watch(struct conns *conns, struct connection *connection);
// Sends lines to a connection that watches, or keeps them; copies. Returns false when it closed.
bool conn_watch_send(struct conns *conns, struct connection *connection, const char *lines,
                     uint32_t byte_count);
// How much it has been sent that it has not taken; what it took last counts until it has all.
uint32_t conn_backlog_bytes(const struct connection *connection);
// The next connection whose last part of an answer was sent; NULL when there is none.
struct connection *conns_next_stream(struct conns *conns);
// Somebody else answers: the connection is named as a stream when conn_lent_is_done() says so.
void conn_lend(struct connection *connection);
void conn_lent_is_done(struct conns *conns, struct connection *connection);

void conn_queue_push(struct conn_queue *queue, struct connection *connection);
struct connection *conn_queue_pop(struct conn_queue *queue);
void conn_queue_remove(struct conn_queue *queue, struct connection *connection);
