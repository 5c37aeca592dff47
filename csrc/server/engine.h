// The event engine of one worker: its connections, from socket to socket without Python.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conn/connection.h"
#include "proto/addresses.h"
#include "proto/prefix.h"
#include "proto/session.h"
#include "store/store.h"

struct engine;
struct tls_context;

#define ENGINE_WORKERS_MAX 250
#define ENGINE_LISTENERS_MAX 64

struct engine_options {
    uint32_t worker;    // This worker's number, 0 to workers - 1; also its process slot.
    uint32_t workers;
    int inbox_fd;    // Datagram socket on which other workers hand over connections. Borrowed.
    const int *peer_fds;    // Sending end of each worker's inbox, `workers` of them; copied, fds
                            // borrowed.
    const char *disabled_commands;    // Words that nobody may use, with blanks between them; NULL
                                      // for none. Words that are no commands mean nothing.
    const char *version;              // For the `version` command; NULL means "1.6.38". Copied.
    // How to read from flash, if the store has a flash tier; 0 = default.
    int flash_kind;    // enum flash_reader_kind
    uint32_t flash_depth;
    uint32_t flash_threads;
    uint64_t flash_memory_bytes;
    int log_fd;             // Where lines for the operator go, see log_open(); 0 is standard error.
                            // Borrowed.
    bool log_is_stamped;    // They carry time and worker.
    uint32_t tls_output_bytes;    // So much is encrypted for one call of the system; 0 = default.
};

// Reserves what engines share (connection records, load counts). Call once on a fresh arena, before
// the first fork. `connections_max` is the most that `-c` may say during the server's life.
int server_create(struct arena *arena, uint32_t workers, uint32_t connections_max);
uint64_t server_reserve_bytes(uint32_t workers, uint32_t connections_max);

// Opens the engine. Returns PYMC_OS_ERROR or PYMC_NO_MEMORY. Borrows the store for its whole life.
int engine_open(struct store *store, const struct engine_options *options,
                struct engine **engine_out);

// Closes all connections and frees the engine; NULL is allowed.
void engine_close(struct engine *engine);

// How this engine reads from flash: enum flash_reader_kind, never FLASH_READER_AUTO; -1 without a
// flash tier.
int engine_flash_kind(const struct engine *engine);
// What its reader has to do now; zeros without a flash tier.
void engine_flash_state(const struct engine *engine, struct flash_reader_state *out);

// The descriptor to watch for readability on the worker's loop: the engine's epoll set.
int engine_fd(const struct engine *engine);

// Lets a descriptor that is not the engine's end engine_stay() as long as it is readable. Borrows
// fd.
int engine_watch(struct engine *engine, int fd);

enum engine_listener_kind { ENGINE_TCP, ENGINE_UNIX, ENGINE_UDP };
// Whether the clients of a listener speak TLS, and whether certificates are asked of them.
enum engine_tls {
    ENGINE_TLS_NONE,      // Plain; always so for unix sockets.
    ENGINE_TLS_SERVER,    // As `ssl_verify_mode` says.
    ENGINE_TLS_MUTUAL,    // A good certificate is required.
    ENGINE_TLS_BASIC      // None is asked for.
};

struct engine_listener_options {
    uint8_t kind;        // enum engine_listener_kind
    uint8_t tls;         // enum engine_tls
    uint8_t protocol;    // enum session_protocol
};

// Accepts from a listening, non-blocking socket, or receives from a bound one (UDP). Shared sockets
// (unix) wake one worker at a time. Borrows fd.
int engine_listen(struct engine *engine, int fd, const struct engine_listener_options *options);

// From here on new TLS connections use this context, which is held; those that are there go on with
// theirs, unless the certificate of their client is no longer good: these are closed, a few in each
// turn. Clients of a TLS listener are closed before there is a context. Returns PYMC_OK or
// PYMC_NO_MEMORY.
int engine_set_tls(struct engine *engine, struct tls_context *context);

// Gives a worker a connection that was accepted for another one. `inbox_fd` is the sending end of
// its inbox, `listener` the number of its engine_listen() call, from 0. Returns false when the
// inbox is full. Any process; the descriptor becomes non-blocking and stays the caller's to close;
// the worker counts the connection when it takes it.
bool engine_give_connection(int inbox_fd, int fd, uint32_t listener);

// Stops accepting for good (shutdown); established connections go on.
void engine_stop_listening(struct engine *engine);

// What is wanted from Python, as bits.
enum engine_wants {
    ENGINE_REQUESTS = 1,    // engine_next_request() has something.
    ENGINE_STREAMS = 2,     // engine_next_stream() has something.
    ENGINE_AGAIN = 4,       // More is ready: call engine_turn() again after other work.
    ENGINE_WATCHED = 8      // A descriptor of engine_watch() is readable.
};

// Serves everything that is ready, up to a bound, and does not wait. Returns engine_wants bits.
uint32_t engine_turn(struct engine *engine);

// Serves clients and waits for them, until nothing has come for `quiet_milliseconds`,
// `milliseconds` are over (each give or take some), Python is wanted, or a signal arrives. Returns
// engine_wants bits, 0 when there are none: then whatever comes next makes engine_fd() readable.
// The process rests while it waits.
uint32_t engine_stay(struct engine *engine, uint32_t quiet_milliseconds, uint32_t milliseconds);

// Once a second: idle time-outs, scheduled work, the clock. Call also when nothing happens.
void engine_tick(struct engine *engine);

// The next administrative command that waits for Python's answer; false when there is none.
bool engine_next_request(struct engine *engine, struct conn_request *request_out);

// Sends bytes as (part of) the answer, `kind`: enum conn_answer_kind; copies them. Unknown
// connections (closed since) are ignored: returns false.
bool engine_reply(struct engine *engine, uint64_t connection, const char *bytes,
                  uint32_t byte_count, int kind);

// Another process answers in this one's place. Returns the connection's descriptor, borrowed, to be
// sent there at once, or -1 when the connection is gone, still has to send what was said before, or
// has no descriptor that somebody else could use: it is encrypted, or a datagram.
// engine_next_stream() names the connection when `verdict_fd` becomes readable or ends, or, with
// more_out false, when the connection closes before; what was told is the caller's to read. Borrows
// verdict_fd, until then or until engine_reply(), which takes the answer back.
int engine_lend(struct engine *engine, uint64_t connection, int verdict_fd);

// The connection, whose command waits for an answer, is answered OK and gets the lines of these
// classes (enum watch_class) from here on. Returns PYMC_BUSY when too many watch already,
// PYMC_NO_MEMORY, PYMC_INVALID when it is gone, may not, or has something else to get first; then
// it still waits for its answer.
int engine_begin_watch(struct engine *engine, uint64_t connection, uint32_t classes);

// A connection whose last CONN_ANSWER_MORE part was sent (more_out true), or that closed meanwhile
// (false).
bool engine_next_stream(struct engine *engine, uint64_t *connection_out, bool *more_out);

// User names and passwords for `-Y`; "user:password" lines separated by '\n'. Copies.
int engine_set_auth(struct engine *engine, const char *lines, uint32_t byte_count);
// The same for `-S`.
int engine_set_sasl(struct engine *engine, const char *lines, uint32_t byte_count);

// Copies the records of live connections of the whole server from *next_id on, in the order of
// their ids and at most `most` of them; moves *next_id on and returns how many. Begin with 0; 0
// records are the end.
uint32_t server_connections_read(struct arena *arena, uint32_t *next_id,
                                 struct connection_record *out, uint32_t most);

// Copies whom the connection with a record says it is, by its certificate; cut to fit. Returns its
// bytes, 0 when it has not said so. `id`: as the record has it.
#define SERVER_IDENTITY_BYTES 128
uint32_t server_identity_read(struct arena *arena, uint32_t id, char out[SERVER_IDENTITY_BYTES]);

// Connections that belong to each worker now; counts_out[workers].
void server_loads_read(struct arena *arena, uint32_t *counts_out);
