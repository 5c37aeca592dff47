// What the files of this room share: kept input, backlogs, and the moves of the state machine.
#pragma once

#include "conn/connection_inline.h"

#define STAGE_BYTES 32768
#define REPLY_BYTES (65536 + REPLY_ROOM_BYTES)

// What could not be sent at once.
struct backlog {
    struct reply_value values[REPLY_VALUES];
    uint32_t value_count;
    uint32_t value_first;
    uint32_t bytes;
    uint32_t sent;
    uint32_t due_seconds;    // In CONN_DELAYED: when it may be sent ...
    uint32_t delay_step;     // ... in which of the lists it waits for that ...
    struct connection *delayed_next, *delayed_previous;    // ... and its neighbours there.
    uint32_t progress_seconds;    // When something of it was taken last, or it was made.
    struct connection *reader_next, *reader_previous;    // In conns->readers.
    char text[];
};

// Takes the connection to another state; in debug builds the table must have the way.
static inline void conn_move(struct connection *connection, enum conn_state next) {
    PYMC_DEBUG_CHECK(conn_may_move(connection->state, next));
    connection->state = (uint8_t)next;
}
// In debug builds: its flags fit its state.
void conn_check(const struct connection *connection);

// Puts the connection at the end of the list of half-sent values, or out of it, as its session or
// its transport has one or not. To be called whenever it may have said something; once it is closed
// it is in no list.
void conn_values_note(struct conns *conns, struct connection *connection);
// Closes connections that have been silent for too long in the middle of one. Call once a second.
void conn_values_drop_silent(struct conns *conns);
// Tells watchers that the connection is there; identity: "" for none.
void conn_note_new(struct conns *conns, const struct connection *connection, const char *identity);
// Its transport has to agree with the client first.
void conn_handshake_begin(struct conns *conns, struct connection *connection);
// Something came for its handshake.
void conn_handshake_ready(struct conns *conns, struct connection *connection);
// It is over: done, failed, or closed.
void conn_handshake_leave(struct conns *conns, struct connection *connection);
// Closes those whose handshake takes too long. Call once a second.
void conn_handshakes_drop_late(struct conns *conns);
// Tells of a handshake that came to nothing, once in a while for each kind of failure.
void conn_handshake_log(struct conns *conns, const struct connection *connection,
                        enum tls_failure failure);
// Puts the connection at the end of the list of slow readers, or out of it, as its backlog holds
// values or not. To be called when it got a backlog, took something of it, or lost it.
void conn_readers_note(struct conns *conns, struct connection *connection);
// While pins, memory that readers keep from being freed, or memory for copies is short: copies
// values out for those who have been slow for a while, and closes those who have taken nothing for
// too long. Call once a second.
void conn_readers_free_memory(struct conns *conns);
// Whether a notice of a kind that was last told in that second, 0 for never, may be told again.
bool conn_notice_is_due(const struct conns *conns, uint32_t logged_seconds);
// Tells what there is to tell. Call once a second.
void conn_notices_log(struct conns *conns);

// Has the host told of these events. Telling it again, also the same, brings an event for what is
// there already.
void conn_ask(struct conns *conns, struct connection *connection, uint32_t wants);
// The same if it does not tell of them already.
void conn_want(struct conns *conns, struct connection *connection, uint32_t wants);
// Has the connection read from again without waiting for an event.
void conn_read_again(struct conns *conns, struct connection *connection);
// Replies wait: the rest of a get's line is received all the same, if the session is within one.
void conn_begin_ahead(struct conns *conns, struct connection *connection);
// A command came, or goes on: it is not idle.
void conn_note_command(struct conns *conns, struct connection *connection);
// What its record shows.
void conn_show(struct connection *connection, enum connection_state shown);

// Keeps these bytes, which may lie in conns->lent, in place of what was kept. Returns false when
// that would be too much, or there is no memory; then all is as before.
bool conn_kept_put(struct conns *conns, struct connection *connection, const char *rest,
                   size_t bytes);
void conn_kept_drop(struct conns *conns, struct connection *connection);
// The session borrows from kept input while it is fed with it, and it may be replaced: it is let go
// to conns->lent first. What is left of it afterwards, and was not kept again, is freed by
// conn_kept_take_back().
void conn_kept_lend(struct conns *conns, struct connection *connection);
void conn_kept_take_back(struct conns *conns);
// Makes room behind the kept input. Returns false at the bound, or when there is no memory.
bool conn_kept_make_room(struct conns *conns, struct connection *connection);
// Whether the kept input holds a line's end. Each byte is looked at once.
bool conn_kept_has_line_end(struct kept_input *kept);

// Keeps input that the session has not consumed, in place of what was kept; closes the connection
// when it cannot be.
void conn_input_keep(struct conns *conns, struct connection *connection, const char *rest,
                     size_t bytes);
// Whether a large value is on its way of which more can be received now.
bool conn_input_has_value(const struct connection *connection);
// Receives a large value straight into its item, and what follows it into `behind`, a stage.
// Returns how many bytes lie there for the session; has_more says whether to come again.
size_t conn_input_receive_value(struct conns *conns, struct connection *connection, char *behind);
// Receives into the stage behind kept input. Returns how many bytes lie there for conn_serve(),
// 0 for none.
size_t conn_receive(struct conns *conns, struct connection *connection, char *stage);

// Throws away what a client that watches says, and notices its end.
void conn_watch_input(struct conns *conns, struct connection *connection);
// Receives the rest of a get's line while replies wait.
void conn_read_ahead(struct conns *conns, struct connection *connection);

// Feeds received input to the session, sends the reply, keeps what is unfinished.
void conn_serve(struct conns *conns, struct connection *connection, const char *in, size_t bytes);
// Goes on with kept input, after a reply was sent or an answer came.
void conn_continue(struct conns *conns, struct connection *connection);
// Goes on with a connection whose read from flash is done, or whose busy bucket may be free.
void conn_resume(struct conns *conns, struct connection *connection);
// Sends of the backlog what the client takes, and goes on when that is all of it.
void conn_writable(struct conns *conns, struct connection *connection);

// Sends the shared reply buffer. Returns false when the connection cannot go on now: it is closed,
// or in CONN_SENDING.
bool conn_flush(struct conns *conns, struct connection *connection);
// Sends text, or keeps it; closes the connection when it can do neither. Returns false unless all
// is sent.
bool conn_send(struct conns *conns, struct connection *connection, const char *bytes,
               uint32_t count_bytes);
// Makes a backlog of the shared reply buffer and sends nothing. Returns false when it closed the
// connection for want of memory.
bool conn_hold_back(struct conns *conns, struct connection *connection);
// The connection, whose backlog it is, waits so many seconds before it sends.
void conn_delay(struct conns *conns, struct connection *connection, uint32_t seconds);
// It does not wait any more, or never did.
void conn_delay_end(struct conns *conns, struct connection *connection);
// Sends what was held back for long enough. Call once a second.
void conn_delays_look(struct conns *conns);
// Puts text behind a backlog. Returns false without memory.
bool conn_backlog_append(struct conns *conns, struct connection *connection, const char *bytes,
                         uint32_t count_bytes);
// Sends of the backlog what the client takes. Returns TRANSPORT_END when that is all, and the
// backlog is gone; TRANSPORT_LATER, with events asked for; or TRANSPORT_BROKEN.
int conn_backlog_send(struct conns *conns, struct connection *connection);
void conn_backlog_drop(struct conns *conns, struct connection *connection);
// Sends the replies of a group, one after the other, so that clients wake to more than one.
void conns_send_deferred(struct conns *conns);
