// One connection's conversation: what its session says, what becomes of the rest of its input, and
// the moves of the state machine that README.md shows.
#include <stdlib.h>

#include "conn/conn_internal.h"

// How often one connection may fill the reply buffer before others get their turn.
#define REPLIES_MAX 8

// Shows what the session waits for.
static void show_waiting(struct connection *connection) {
    enum connection_state shown = session_is_awaiting_value(&connection->session) ? CONNECTION_NREAD
                                  : session_is_swallowing(&connection->session) ? CONNECTION_SWALLOW
                                                                                : CONNECTION_READ;
    if (UNLIKELY(connection->shown != shown)) {
        conn_show(connection, shown);
    }
}

static void park(struct conns *conns, struct connection *connection, bool is_pipelined) {
    uint32_t bytes;
    const char *line = session_admin_line(&connection->session, &bytes);
    connection->admin_line = malloc(bytes + 1u);
    if (!connection->admin_line) {
        count(conns->proc, COUNTER_malloc_fails, 1);
        conn_close(conns, connection);
        return;
    }
    memcpy(connection->admin_line, line, bytes);
    connection->admin_line[bytes] = '\0';
    connection->admin_bytes = bytes;
    connection->admin_is_pipelined = is_pipelined;
    connection->ticket = ++conns->tickets;
    conn_move(connection, connection->backlog ? CONN_PARKED_SENDING : CONN_PARKED);
    conn_queue_push(&conns->requests, connection);
    if (connection->state == CONN_PARKED) {
        conn_want(conns, connection, 0);    // A client may close its side and still wait for the
                                            // answer.
    }
    conn_show(connection, CONNECTION_PARKED);
}

// Wants stay what they are: an event that comes meanwhile is remembered.
static void wait_on(struct conns *conns, struct connection *connection, int stop) {
    if (stop == SESSION_ON_FLASH) {
        conn_move(connection, CONN_ON_FLASH);
        session_wait(&connection->session, &connection->waiter);
    } else {
        conn_move(connection, CONN_ON_BUCKET);
        conn_queue_push(&conns->busy, connection);
    }
    conn_show(connection, CONNECTION_IO_QUEUE);
}

// The session stopped with the reply on its way: what becomes of the connection and of the rest of
// its input. `is_sent`: no part of the reply waits.
static void after_flush(struct conns *conns, struct connection *connection, int stop, bool is_sent,
                        bool is_pipelined, const char *rest, size_t bytes) {
    if (stop == SESSION_CLOSE) {
        connection->closes_as =
            session_has_quit(&connection->session) ? WATCH_NORMAL : WATCH_IN_ERROR;
        if (is_sent) {
            conn_close(conns, connection);
        } else {
            conn_move(connection, CONN_CLOSING);
        }
        return;
    }
    if (stop == SESSION_PARKED) {
        park(conns, connection, is_pipelined);
    }
    if (!conn_is_open(connection)) {
        return;
    }
    if (UNLIKELY(!is_sent)) {
        session_drop_reads(&connection->session);    // A slow reader keeps no memory of the reader.
    } else if (UNLIKELY(stop == SESSION_ON_FLASH || stop == SESSION_BUSY)) {
        wait_on(conns, connection, stop);
    }
    conn_input_keep(conns, connection, rest, bytes);
    if (!conn_is_open(connection)) {
        return;
    }
    if (UNLIKELY(!is_sent)) {
        conn_begin_ahead(conns, connection);
    } else if (stop == SESSION_REPLY_FULL || stop == SESSION_YIELD) {
        // It reads as fast as it is answered: others get their turn in between.
        count(conns->proc, COUNTER_conn_yields, 1);
        conn_move(connection, CONN_YIELDED);
        conn_read_again(conns, connection);
    } else if (stop == SESSION_NEEDS_INPUT) {
        show_waiting(connection);
    }
}

// The reply leaves when the whole group has been served.
static void defer(struct conns *conns, struct connection *connection) {
    if (conns->reply.at > conns->reply.start) {
        conns->deferred[conns->deferred_count++] = (struct deferred){
            connection, conns->reply.start, (uint32_t)(conns->reply.at - conns->reply.start)};
    }
    show_waiting(connection);
}

// A login failed: what was said leaves later, and nothing is read before that.
static void delay(struct conns *conns, struct connection *connection, const char *rest,
                  size_t bytes) {
    conns->notices.login_address = session_address(&connection->session);
    if (!conn_hold_back(conns, connection)) {
        return;
    }
    conn_delay(conns, connection, session_delay_seconds(&connection->session));
    conn_show(connection, CONNECTION_WRITE);
    session_resume(&connection->session);
    conn_want(conns, connection, 0);
    conn_input_keep(conns, connection, rest, bytes);
}

static void serve_input(struct conns *conns, struct connection *connection, const char *in,
                        size_t bytes) {
    size_t at = 0;
    if (UNLIKELY(conns->reply.at - conns->reply_base > REPLY_BYTES / 4
                 || conns->deferred_count == STAGES)) {
        conns_send_deferred(conns);
    }
    conns->reply.start = conns->reply.at;
    int64_t requests_max = live_get(conns->arena, LIVE_requests_per_event);
    uint64_t requests_until = 0;
    if (UNLIKELY(requests_max)) {
        requests_until = conns->proc->counters[COUNTER_requests] + (uint64_t)requests_max;
    } else if (UNLIKELY(conns->store->watch.mask)) {
        requests_until = UINT64_MAX;    // It also ends when those who watch have to look.
    }
    conns->store->watch.is_ripe = false;
    session_set_turn(&connection->session, requests_until);
    for (uint32_t replies = 1;; replies++) {
        size_t consumed;
        int stop =
            session_feed(&connection->session, in + at, bytes - at, &conns->reply, &consumed);
        at += consumed;
        if (LIKELY(stop == SESSION_NEEDS_INPUT && conns->is_deferring
                   && conns->reply.value_count == 0)) {
            defer(conns, connection);
            conn_input_keep(conns, connection, in + at, bytes - at);
            return;
        }
        if (UNLIKELY(stop == SESSION_DELAYED)) {
            delay(conns, connection, in + at, bytes - at);
            return;
        }
        bool had_reply = conns->reply.at > conns->reply.start;
        bool is_sent = (UNLIKELY(session_is_unfinished(&connection->session)) && !had_reply)
                       || conn_flush(conns, connection);
        if (!conn_is_open(connection)) {
            return;
        }
        if (stop != SESSION_REPLY_FULL || !is_sent || replies == REPLIES_MAX) {
            after_flush(conns, connection, stop, is_sent, had_reply, in + at, bytes - at);
            return;
        }
    }
}

// The transport may hold more of a large value that has just begun. What comes behind its end is
// too little to begin another one, so this is done once.
static void receive_value(struct conns *conns, struct connection *connection) {
    // What it was answered before the value may be deferred, and has to leave before what comes
    // behind it.
    conns_send_deferred(conns);
    if (conn_input_has_value(connection)) {
        size_t behind = conn_input_receive_value(conns, connection, conns->tail);
        if (behind > 0) {
            serve_input(conns, connection, conns->tail, behind);
        }
    }
}

void conn_serve(struct conns *conns, struct connection *connection, const char *in, size_t bytes) {
    serve_input(conns, connection, in, bytes);
    if (UNLIKELY(connection->has_more)) {
        connection->reads_little = session_is_filling_value(&connection->session);
        if (conn_input_has_value(connection)) {
            receive_value(conns, connection);
        }
        session_set_arrived(&connection->session, 0);
    }
    conn_values_note(conns, connection);
    if (UNLIKELY(connection->has_more)) {
        connection->has_more = false;
        count(conns->proc, COUNTER_conn_yields, !connection->has_ended);
        conn_read_again(conns, connection);
    }
}

void conn_continue(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_YIELDED) {
        conn_move(connection, CONN_READING);
    }
    if (connection->state != CONN_READING) {
        return;
    }
    conn_want(conns, connection, TRANSPORT_IN);
    if (UNLIKELY(connection->transport.holds_input)) {
        conn_read_again(conns, connection);    // Asking brings no event for that.
    }
    show_waiting(connection);
    if (connection->kept.bytes || UNLIKELY(session_is_unfinished(&connection->session))) {
        conn_kept_lend(conns, connection);
        conn_serve(conns, connection, conns->lent.base + conns->lent.at, conns->lent.bytes);
        conn_kept_take_back(conns);
    }
}

void conn_resume(struct conns *conns, struct connection *connection) {
    if (!conn_is_waiting(connection)) {
        return;    // Closed, or told twice.
    }
    bool was_on_flash = connection->state == CONN_ON_FLASH;
    conn_move(connection, CONN_READING);
    conn_note_command(conns, connection);
    conn_continue(conns, connection);
    if (UNLIKELY(connection->state == CONN_ON_FLASH)) {
        return;    // If it lacks memory again, it has kept its place among those who do.
    }
    if (was_on_flash) {
        flash_reader_unwait(conns->reader, &connection->waiter);
    }
    if (UNLIKELY(connection->has_missed_input) && connection->state != CONN_ON_BUCKET) {
        connection->has_missed_input = false;
        conn_read_again(conns, connection);
    }
}

// An answer, or a part of one, was sent to the end: whoever makes it is told.
static void name_stream(struct conns *conns, struct connection *connection) {
    conn_queue_remove(&conns->streams, connection);    // Two parts in a row are named once.
    conn_queue_push(&conns->streams, connection);
}

bool conn_answer(struct conns *conns, struct connection *connection, const char *bytes,
                 uint32_t byte_count, int kind) {
    PYMC_DEBUG_CHECK(conn_is_parked(connection));
    if (watch_wants(&conns->store->watch, WATCH_ERRORS) && !connection->is_streaming) {
        session_watch_answer(&connection->session, connection->admin_line, connection->admin_bytes,
                             bytes, byte_count);
    }
    if (connection->state == CONN_PARKED_SENDING) {
        // What was said before the command is still on its way: the answer queues behind it.
        if (!conn_backlog_append(conns, connection, bytes, byte_count)) {
            conn_close(conns, connection);
            return false;
        }
    } else if (byte_count) {
        conn_send(conns, connection, bytes, byte_count);
        if (!conn_is_open(connection)) {
            return false;
        }
    }
    bool is_sent = connection->state == CONN_PARKED;
    if (kind == CONN_ANSWER_MORE) {
        connection->is_streaming = true;
        if (is_sent) {
            name_stream(conns, connection);
        }
        return true;
    }
    connection->is_streaming = false;
    free(connection->admin_line);
    connection->admin_line = NULL;
    session_resume(&connection->session);
    if (!is_sent) {
        conn_move(connection, kind == CONN_ANSWER_CLOSE ? CONN_CLOSING : CONN_SENDING);
    } else if (kind == CONN_ANSWER_CLOSE) {
        conn_close(conns, connection);
    } else {
        conn_move(connection, CONN_READING);
        conn_continue(conns, connection);
    }
    return true;
}

void conn_lend(struct connection *connection) {
    PYMC_DEBUG_CHECK(conn_is_parked(connection));
    connection->is_streaming = true;
}

void conn_lent_is_done(struct conns *conns, struct connection *connection) {
    name_stream(conns, connection);
}

// All replies that waited are sent.
static void go_on(struct conns *conns, struct connection *connection) {
    if (connection->state == CONN_CLOSING) {
        conn_close(conns, connection);
    } else if (connection->state == CONN_PARKED_SENDING) {
        conn_move(connection, CONN_PARKED);
        conn_want(conns, connection, 0);
        if (connection->is_streaming) {
            name_stream(conns, connection);
        }
    } else if (connection->state == CONN_WATCHING_SENDING) {
        conn_move(connection, CONN_WATCHING);
        conn_want(conns, connection, TRANSPORT_IN);
    } else {
        conn_move(connection, CONN_READING);
        conn_continue(conns, connection);
    }
}

void conn_writable(struct conns *conns, struct connection *connection) {
    switch (connection->backlog ? conn_backlog_send(conns, connection) : TRANSPORT_LATER) {
    case TRANSPORT_BROKEN: conn_close_as(conns, connection, WATCH_IN_ERROR); break;
    case TRANSPORT_LATER: break;
    default: go_on(conns, connection); break;
    }
}
