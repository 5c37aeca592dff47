// A client's conversation without sockets: bytes in, bytes out; text, meta and binary protocols.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "flash/flash_reader.h"
#include "proto/addresses.h"
#include "store/store.h"

struct proto;
struct session;
struct reply;

// What all conversations of a process share: the store, the version line, the users.
int proto_open(struct store *store, const char *version, struct proto **proto_out);
void proto_close(struct proto *proto);
// "user:password" lines of text clients; NULL for none. Copies. Returns PYMC_NO_MEMORY or PYMC_OK.
int proto_set_auth(struct proto *proto, const char *lines, uint32_t byte_count);
// The same for binary clients (SASL).
int proto_set_sasl(struct proto *proto, const char *lines, uint32_t byte_count);

// What sessions read with that meet flash; NULL (as at first) when there is no flash tier. Borrows
// it.
void proto_set_reader(struct proto *proto, struct flash_reader *reader);

// Where -vv shows commands and replies; NULL (as at first) for nowhere. Borrows it.
void proto_set_log(struct proto *proto, struct log *log);
// Refuses commands to everybody: their words with blanks between them; NULL for none. Words that
// are no commands mean nothing.
void proto_disable_commands(struct proto *proto, const char *words);

int session_create(struct proto *proto, struct session **session_out);
// Drops what is half done; the store forgets a half-made item.
void session_destroy(struct session *session);
// The same for a session that is embedded in its owner (session_inline.h), in zeroed memory.
// Borrows
// the protocol. `log_id` is what its lines are shown with under -vv: the descriptor, as in
// memcached.
void session_init(struct session *session, struct proto *proto, int log_id);
void session_end(struct session *session);
// What watchers are told of the client: its number in `stats conns`, and its address as a
// connection record has it. Borrows the 16 bytes of the address.
void session_set_peer(struct session *session, uint32_t connection, uint8_t family, uint16_t port,
                      const uint8_t *address, bool is_datagram);
// SESSION_CLOSE came since the client asked for it.
bool session_has_quit(const struct session *session);
// Tells watchers of errors, who are there, why the client's handshake came to nothing.
void session_watch_handshake(struct session *session, const char *reason);
// Tells watchers of errors if the answer to this line is one.
void session_watch_answer(struct session *session, const char *line, size_t line_bytes,
                          const char *answer, size_t bytes);

// What a client may do, as bits. Each row of commands.def names what its command takes.
enum session_right {
    SESSION_MAY_READ = 1,
    SESSION_MAY_WRITE = 2,
    SESSION_MAY_ADMIN = 4,
    SESSION_MAY_ALL = 7
};
// What the session's client may do from its next command on; everything at first.
void session_set_rights(struct session *session, uint32_t rights);

// Whether the session may use a command, by its number in commands.h.
bool session_permits(const struct session *session, uint32_t number);
// Counts a command that the session may not use. Returns why.
enum session_refusal {
    SESSION_LACKS_RIGHT,    // Its client may not.
    SESSION_DISABLED        // Nobody may: the operator disabled it.
};
enum session_refusal session_refuse(const struct session *session, uint32_t number);

// Which protocols a session may speak.
enum session_protocol {
    SESSION_NEGOTIATES,    // Its first byte says which.
    SESSION_ASCII,         // Text and meta.
    SESSION_BINARY
};
// Before its first byte; it negotiates unless told otherwise.
void session_set_protocol(struct session *session, int protocol);

// Why session_feed() stopped.
enum session_stop {
    SESSION_NEEDS_INPUT,    // Everything was consumed but for an unfinished line or a small
                            // unfinished value.
    SESSION_REPLY_FULL,     // Send the reply, clear it, then feed the rest.
    SESSION_DELAYED,        // Send the reply after session_delay_seconds(), then session_resume().
    SESSION_PARKED,         // An administrative command waits: session_admin_line(), then
                            // session_resume().
    SESSION_CLOSE,          // Send the reply, then close.
    SESSION_YIELD,    // As many requests as one turn may have: send the reply, let others go, feed
                      // the rest.
    SESSION_ON_FLASH,    // A read from flash is under way: session_wait(), then feed the same
                         // again, even nothing.
    SESSION_BUSY         // Another process holds a bucket: feed the same again a little later, even
                         // nothing.
};

// Consumes commands from in[0..bytes) and appends their answers to the reply. Returns enum
// session_stop; *consumed_out says how many bytes are done with. Input that is not consumed must be
// fed again, with more behind it.
int session_feed(struct session *session, const char *in, size_t bytes, struct reply *reply,
                 size_t *consumed_out);

// For many sessions that are fed in turn, so that their waits for memory overlap: the hash of the
// first key in input that is to be fed, its bucket on the way to the cache. 0 when the key is not
// easy to see.
uint64_t session_peek_key(const struct proto *proto, const char *in, size_t bytes);
// Then, when the buckets of all of them are on their way: the candidates' items follow.
void session_fetch_items(const struct proto *proto, uint64_t hash);

// The session stops with SESSION_YIELD once the process has answered so many requests in all; 0:
// never.
void session_set_turn(struct session *session, uint64_t requests_until);

// Where the client is, as session_set_peer() had it; family 1 for one that has no address.
struct client_address session_address(const struct session *session);
// How long the reply of a session that stopped with SESSION_DELAYED is to be held back.
uint32_t session_delay_seconds(const struct session *session);

// The command that parked the session; borrowed from the input it was fed with.
const char *session_admin_line(const struct session *session, uint32_t *bytes_out);
// Whether it is a binary client's `stat`: then the line is what follows `stats `, and the answer
// must be packets with this number, as it came.
bool session_admin_is_binary(const struct session *session, uint32_t *opaque_out);
void session_resume(struct session *session);

// Lets the waiter be told when a session that stopped with SESSION_ON_FLASH is to be fed again; too
// early does no harm.
void session_wait(struct session *session, struct flash_waiter *waiter);
// True when feeding goes on with something though there may be no input.
bool session_is_unfinished(const struct session *session);
// Gives back what was read from flash ahead: what is still wanted will be read again. To be called
// when a session that stopped with SESSION_REPLY_FULL, SESSION_ON_FLASH or SESSION_BUSY is not fed
// again soon.
void session_drop_reads(struct session *session);
// The same for good: nobody will get the answers.
void session_abort_reads(struct session *session);

// While a large value is coming in: where its next bytes belong, so that a socket can be read
// straight into the item. Returns how many bytes fit there, 0 when the session wants session_feed()
// instead. *is_last_out: they end the value. `ahead_bytes`: for those so far behind the next one,
// place after place, if they have surely come; 0 when there is no room for them (now).
size_t session_direct_place(struct session *session, size_t ahead_bytes, char **place_out,
                            bool *is_last_out);
void session_direct_filled(struct session *session, size_t bytes);

// How many bytes have surely come behind the input that is fed next. It lets a large value begin
// before so much of it is in the input. The caller sets it back to 0 once that is no longer true.
void session_set_arrived(struct session *session, size_t bytes);
size_t session_arrived(const struct session *session);

// What a session is doing, as enum connection_state in conn/connection.h shows it.
bool session_is_reading_value(const struct session *session);
// It is one that still lacks bytes, not only its line end.
bool session_is_filling_value(const struct session *session);
// The same, or some bytes of the value are still waiting in the input.
bool session_is_awaiting_value(const struct session *session);
bool session_is_swallowing(const struct session *session);
// The input ended within the keys of a get.
bool session_is_in_get(const struct session *session);

// A reply buffer of its own, for tests and tools; engines have theirs.
int reply_create(uint32_t buffer_bytes, uint32_t values_max, struct reply **reply_out);
void reply_destroy(struct proto *proto, struct reply *reply);
// Writes the answer to a request whose answer had no room, in the protocol that its first byte
// says; returns how long it is, REPLY_TOO_LARGE_BYTES_MAX at most.
#define REPLY_TOO_LARGE_BYTES_MAX 128
uint32_t reply_put_too_large(char *place, const char *request, uint32_t request_bytes,
                             const char *words);
// Copies the whole reply, values from the arena included, into place and clears it. Returns the
// bytes written, or -1 when place_bytes are too few (then nothing is cleared).
int64_t reply_drain(struct proto *proto, struct reply *reply, char *place, uint64_t place_bytes);
