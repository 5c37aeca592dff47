// Clients in memory: connections without sockets, for tests, fuzzers and whatever embeds a session.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/connection.h"
#include "flash/flash_reader.h"
#include "store/store.h"

struct memory_loop;
struct tls_context;
struct memory_client;

// What serves the clients, in place of an engine. Borrows the store, and a reader of its flash
// tier, which may be NULL. Returns PYMC_OK or PYMC_NO_MEMORY.
int memory_loop_open(struct store *store, struct flash_reader *reader,
                     struct memory_loop **loop_out);
// Closes all connections and frees all clients.
void memory_loop_close(struct memory_loop *loop);
// Tells connections once of what changed, as an epoll set with edges does, and serves them. Returns
// whether there was anything to do.
bool memory_loop_turn(struct memory_loop *loop);
// Each time that connections look at the clock so much has passed; none at first.
void memory_loop_set_pace(struct memory_loop *loop, uint64_t nanoseconds);
// As engine_set_auth().
int memory_loop_set_auth(struct memory_loop *loop, const char *lines, uint32_t byte_count);
// To be called once a second of the process's clock.
void memory_loop_tick(struct memory_loop *loop);
// As engine_next_request(), engine_reply() and engine_next_stream(). A stream that was closed is
// not named.
bool memory_loop_next_request(struct memory_loop *loop, struct conn_request *request_out);
bool memory_loop_answer(struct memory_loop *loop, uint64_t connection, const char *bytes,
                        uint32_t byte_count, int kind);
// As engine_begin_watch() and what it sends later.
bool memory_loop_watch(struct memory_loop *loop, uint64_t connection);
bool memory_client_watch_send(struct memory_client *client, const char *lines, uint32_t byte_count);
bool memory_loop_next_stream(struct memory_loop *loop, uint64_t *connection_out);

// A client that takes all that is sent to it. Lives as long as the loop. It speaks TLS if there is
// a context (held), and `door` says by which of its doors it comes (enum tls_door). Returns PYMC_OK
// or PYMC_NO_MEMORY.
int memory_client_open(struct memory_loop *loop, struct tls_context *context, int door,
                       struct memory_client **client_out);
// It says these bytes; copies. Returns PYMC_OK or PYMC_NO_MEMORY.
int memory_client_say(struct memory_client *client, const char *bytes, size_t byte_count);
// It will say no more, and still listens.
void memory_client_end(struct memory_client *client);
// It is gone, as after a reset.
void memory_client_break(struct memory_client *client);
// From here on it takes so many bytes; the others have to wait.
void memory_client_take(struct memory_client *client, uint64_t byte_count);
// What it says arrives in records of so many bytes, of which one is received at a time and only the
// first is told of, as an encrypting transport does it. 0, as at first: all at once.
void memory_client_use_records(struct memory_client *client, uint32_t record_bytes);
// Nothing is received from it before the transport was told that it can send.
void memory_client_send_first(struct memory_client *client);
// Takes what it was sent. Returns how many bytes were put into place.
size_t memory_client_receive(struct memory_client *client, char *place, size_t place_bytes);
// Another process answers its administrative command; or has done so.
void memory_client_lend(struct memory_client *client);
void memory_client_lent_is_done(struct memory_client *client);

// What there is to see of a client's connection.
struct memory_view {
    int state;    // enum conn_state
    int shown;    // enum connection_state
    bool wants_input;
    bool wants_room;
    bool has_met_end;          // Its connection was shut down ...
    bool is_closed;            // ... and closed.
    uint64_t sends;            // How often it was sent something.
    uint64_t waiting_bytes;    // It said them, and they were not received.
    uint64_t kept_bytes;       // They were received, and are kept for the session.
    const char *identity;      // Whom its certificate names, "" at first; borrowed from the client.
};
void memory_client_view(const struct memory_client *client, struct memory_view *view_out);
