// One connection: receiving, feeding its session, sending, keeping what a slow reader has not taken
// yet.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server/server_internal.h"

// Enough for all values of a reply and the text around each.
#define IOV_MAX_HERE (2 * REPLY_VALUES + 1)
// How much one connection may send, and how often fill the reply buffer, before others get their
// turn.
#define SEND_BYTES_MAX (4u << 20)
#define REPLIES_MAX 8
// Large values, pipelined, are received one after the other in one turn of a connection up to so
// many bytes.
#define RECEIVE_BYTES_MAX (4u << 20)

// What push() says.
enum { PUSH_BROKEN = -1, PUSH_LATER, PUSH_DONE };

void queue_push(struct connection_queue *queue, struct connection *connection) {
    connection->queue_next = NULL;
    if (queue->last) {
        queue->last->queue_next = connection;
    } else {
        queue->first = connection;
    }
    queue->last = connection;
}

struct connection *queue_pop(struct connection_queue *queue) {
    struct connection *connection = queue->first;
    if (connection) {
        queue->first = connection->queue_next;
        if (!queue->first) {
            queue->last = NULL;
        }
        connection->queue_next = NULL;
    }
    return connection;
}

void queue_remove(struct connection_queue *queue, struct connection *connection) {
    struct connection *before = NULL;
    for (struct connection *at = queue->first; at; before = at, at = at->queue_next) {
        if (at == connection) {
            *(before ? &before->queue_next : &queue->first) = at->queue_next;
            if (queue->last == at) {
                queue->last = before;
            }
            return;
        }
    }
}

void connection_ask(struct engine *engine, struct connection *connection, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.ptr = connection};
    epoll_ctl(engine->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    connection->interest = interest;
}

void connection_want(struct engine *engine, struct connection *connection, uint32_t interest) {
    if (connection->interest != interest && !connection->is_dead) {
        connection_ask(engine, connection, interest);
    }
}

static void note_state(struct engine *engine, struct connection *connection,
                       enum connection_state state) {
    connection->state = (uint8_t)state;
    SHARED_STORE(record_at(engine, connection->record)->state, (uint8_t)state);
}

// Shows what the session waits for.
static void note_waiting(struct engine *engine, struct connection *connection) {
    enum connection_state state = session_is_awaiting_value(&connection->session) ? CONNECTION_NREAD
                                  : session_is_swallowing(&connection->session) ? CONNECTION_SWALLOW
                                                                                : CONNECTION_READ;
    if (UNLIKELY(connection->state != state)) {
        note_state(engine, connection, state);
    }
}

static void fill_record(struct connection_record *record, uint32_t id,
                        const struct listener *listener, const union peer_address *peer) {
    record->id = id;
    record->family = 1;
    record->port = 0;
    memset(record->address, 0, sizeof record->address);
    static const struct listener unknown;
    const struct listener *at = listener ? listener : &unknown;
    record->listen_port = at->port;
    memcpy(record->listen_address, at->address, sizeof record->listen_address);
    if (peer->any.sa_family == AF_INET) {
        record->family = 4;
        record->port = ntohs(peer->v4.sin_port);
        memcpy(record->address, &peer->v4.sin_addr, 4);
    } else if (peer->any.sa_family == AF_INET6) {
        record->family = 6;
        record->port = ntohs(peer->v6.sin6_port);
        memcpy(record->address, &peer->v6.sin6_addr, 16);
    }
}

static void show(struct engine *engine, int fd, const char *what) {
    char text[80];
    int bytes = snprintf(text, sizeof text, "<%d %s", fd, what);
    log_line(engine->log, text, (uint32_t)bytes);
}

void connection_open(struct engine *engine, int fd, const struct listener *listener,
                     const union peer_address *peer, bool is_shared) {
    // Not calloc(), which goes round the allocator's short lists.
    struct connection *connection = malloc(sizeof *connection);
    uint32_t record = connection ? server_record_take(engine) : UINT32_MAX;
    if (record == UINT32_MAX) {
        count(engine->proc, COUNTER_malloc_fails, 1);
        free(connection);
        close(fd);
        server_load_change(engine, -1);
        return;
    }
    memset(connection, 0, sizeof *connection);
    connection->is_shared = is_shared;
    connection->source.kind = SOURCE_CONNECTION;
    connection->fd = fd;
    connection->told_fd = -1;
    connection->record = record;
    connection->state = CONNECTION_READ;
    session_init(&connection->session, engine->proto, fd);
    connection->last_command_seconds = engine->proc->now_seconds;
    connection->interest = READ_INTEREST;
    fill_record(record_at(engine, record), record, listener, peer);
    record_at(engine, record)->last_command_seconds = engine->proc->now_seconds;
    connection->next = engine->connections;
    if (engine->connections) {
        engine->connections->previous = connection;
    }
    engine->connections = connection;
    count(engine->proc, COUNTER_total_connections, 1);
    count(engine->proc, COUNTER_curr_connections, 1);
    if (live_get(engine->arena, LIVE_verbosity) > 1) {
        show(engine, fd, "new auto-negotiating client connection");
    }
    struct epoll_event event = {.events = connection->interest, .data.ptr = connection};
    if (epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        connection_close(engine, connection);
    }
}

static void drop_backlog(struct engine *engine, struct connection *connection) {
    struct backlog *backlog = connection->backlog;
    if (backlog) {
        for (uint32_t i = backlog->value_first; i < backlog->value_count; i++) {
            reply_value_release(engine->store, &backlog->values[i]);
        }
        count(engine->proc, COUNTER_response_buf_bytes, (uint64_t)-(int64_t)backlog->bytes);
        free(backlog);
        connection->backlog = NULL;
        readers_note(engine, connection);
    }
}

// Interest stays what it is here too.
static void wait_on_bucket(struct engine *engine, struct connection *connection) {
    connection->is_busy = true;
    queue_push(&engine->busy, connection);
    note_state(engine, connection, CONNECTION_IO_QUEUE);
}

static void leave_flash(struct engine *engine, struct connection *connection) {
    if (connection->is_on_flash) {
        flash_reader_unwait(engine->reader, &connection->waiter);
        connection->is_on_flash = false;
    }
}

// Interest stays what it is: an event that comes meanwhile is remembered.
static void wait_on_flash(struct engine *engine, struct connection *connection) {
    connection->is_on_flash = true;
    session_wait(&connection->session, &connection->waiter);
    note_state(engine, connection, CONNECTION_IO_QUEUE);
}

void connection_take_back(struct engine *engine, struct connection *connection) {
    if (UNLIKELY(connection->told_fd >= 0)) {
        epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, connection->told_fd, NULL);
        connection->told_fd = -1;
    }
}

void connection_close(struct engine *engine, struct connection *connection) {
    if (connection->is_dead) {
        return;
    }
    if (live_get(engine->arena, LIVE_verbosity) > 1) {
        show(engine, connection->fd, "connection closed.");
    }
    connection->is_dead = true;
    for (struct connection **link = &engine->again; connection->is_in_again && *link;
         link = &(*link)->again_next) {
        if (*link == connection) {
            *link = connection->again_next;
            break;
        }
    }
    queue_remove(&engine->requests, connection);
    queue_remove(&engine->streams, connection);
    if (connection->is_busy) {
        queue_remove(&engine->busy, connection);
    }
    connection_take_back(engine, connection);
    drop_backlog(engine, connection);
    input_drop(engine, connection);
    if (UNLIKELY(engine->reader)) {
        leave_flash(engine, connection);
    }
    session_end(&connection->session);
    values_note(engine, connection);
    free(connection->admin_line);
    connection->admin_line = NULL;
    if (connection->is_shared) {
        // Who handed it over may not have closed its own copy yet: then close() alone would leave
        // it watched.
        epoll_ctl(engine->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    }
    close(connection->fd);
    *(connection->previous ? &connection->previous->next : &engine->connections) = connection->next;
    if (connection->next) {
        connection->next->previous = connection->previous;
    }
    server_record_give(engine, connection->record);
    count(engine->proc, COUNTER_curr_connections, (uint64_t)-1);
    engine->lacks_descriptors = false;
    if (connection->is_streaming) {
        queue_push(&engine->closed_streams, connection);    // Lives until its end has been told.
        return;
    }
    connection->queue_next = engine->dead;
    engine->dead = connection;
}

void connections_free_dead(struct engine *engine) {
    while (engine->dead) {
        struct connection *connection = engine->dead;
        engine->dead = connection->queue_next;
        free(connection);
    }
}

// Describes the unsent part from (text offset, values) in at most IOV_MAX_HERE pieces.
static int describe(struct engine *engine, char *text, uint32_t text_bytes, uint32_t sent,
                    const struct reply_value *values, uint32_t value_first, uint32_t value_count,
                    struct iovec *iov) {
    int pieces = 0;
    uint32_t at = sent;
    for (uint32_t i = value_first; i < value_count && pieces < IOV_MAX_HERE; i++) {
        const struct reply_value *value = &values[i];
        if (value->buffer_offset > at) {
            iov[pieces++] = (struct iovec){text + at, value->buffer_offset - at};
            at = value->buffer_offset;
        }
        uint32_t offset = value->sent_bytes;
        const char *place;
        uint32_t bytes;
        while (pieces < IOV_MAX_HERE
               && (bytes = reply_value_span(engine->store, value, offset, &place))) {
            iov[pieces++] = (struct iovec){(char *)place, bytes};
            offset += bytes;
        }
        if (offset < value->value_bytes) {
            return pieces;
        }
    }
    if (pieces < IOV_MAX_HERE && at < text_bytes) {
        iov[pieces++] = (struct iovec){text + at, text_bytes - at};
    }
    return pieces;
}

// Counts sent bytes off the text and the values; unpins what is sent.
static void advance(struct engine *engine, uint32_t *sent, struct reply_value *values,
                    uint32_t *value_first, uint32_t value_count, size_t bytes) {
    while (bytes > 0) {
        uint32_t mark =
            *value_first < value_count ? values[*value_first].buffer_offset : UINT32_MAX;
        if (*sent < mark) {
            size_t piece = bytes < mark - *sent ? bytes : mark - *sent;
            *sent += (uint32_t)piece;
            bytes -= piece;
            continue;
        }
        struct reply_value *value = &values[*value_first];
        size_t piece = bytes < value->value_bytes - value->sent_bytes
                           ? bytes
                           : value->value_bytes - value->sent_bytes;
        value->sent_bytes += (uint32_t)piece;
        bytes -= piece;
        if (value->sent_bytes == value->value_bytes) {
            reply_value_release(engine->store, value);
            (*value_first)++;
        }
    }
}

// Sends until all is gone, the socket is full or the connection has had its turn (PUSH_LATER), or
// it is broken.
static int push(struct engine *engine, int fd, char *text, uint32_t text_bytes, uint32_t *sent,
                struct reply_value *values, uint32_t *value_first, uint32_t value_count) {
    size_t gone = 0;
    while (*sent < text_bytes || *value_first < value_count) {
        ssize_t result;
        if (LIKELY(*value_first == value_count)) {
            result = send(fd, text + *sent, text_bytes - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            struct iovec iov[IOV_MAX_HERE];
            int pieces =
                describe(engine, text, text_bytes, *sent, values, *value_first, value_count, iov);
            PYMC_CHECK(pieces > 0);
            struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)pieces};
            result = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        if (result < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? PUSH_LATER
                                                                             : PUSH_BROKEN;
        }
        count(engine->proc, COUNTER_bytes_written, (uint64_t)result);
        advance(engine, sent, values, value_first, value_count, (size_t)result);
        gone += (size_t)result;
        if (UNLIKELY(gone >= SEND_BYTES_MAX)
            && (*sent < text_bytes || *value_first < value_count)) {
            return PUSH_LATER;
        }
    }
    return PUSH_DONE;
}

// Keeps what the socket did not take. Returns false when there is no memory for it.
static bool keep(struct engine *engine, struct connection *connection, const char *text,
                 uint32_t bytes, const struct reply_value *values, uint32_t value_first,
                 uint32_t value_count, uint32_t base) {
    struct backlog *backlog = malloc(sizeof *backlog + bytes);
    if (!backlog) {
        count(engine->proc, COUNTER_malloc_fails, 1);
        return false;
    }
    backlog->bytes = bytes;
    backlog->sent = 0;
    backlog->value_first = 0;
    backlog->value_count = value_count - value_first;
    memcpy(backlog->text, text, bytes);
    for (uint32_t i = value_first; i < value_count; i++) {
        backlog->values[i - value_first] = values[i];
        backlog->values[i - value_first].buffer_offset -= base;
    }
    connection->backlog = backlog;
    count(engine->proc, COUNTER_response_buf_bytes, bytes);
    readers_note(engine, connection);
    connection_want(engine, connection, EPOLLOUT | EPOLLET);
    note_state(engine, connection, CONNECTION_WRITE);
    return true;
}

// Sends the engine's reply buffer. Returns false when the connection cannot go on now (backlog or
// dead).
static bool flush(struct engine *engine, struct connection *connection) {
    struct reply *reply = &engine->reply;
    uint32_t bytes = (uint32_t)(reply->at - reply->start);
    uint32_t sent = 0;
    uint32_t first = 0;
    int result = PUSH_DONE;
    if (LIKELY(bytes > 0)) {
        result = push(engine, connection->fd, reply->start, bytes, &sent, reply->values, &first,
                      reply->value_count);
    }
    if (UNLIKELY(result == PUSH_LATER
                 && !keep(engine, connection, reply->start + sent, bytes - sent, reply->values,
                          first, reply->value_count, sent))) {
        result = PUSH_BROKEN;
    }
    if (UNLIKELY(result == PUSH_BROKEN)) {
        for (uint32_t i = first; i < reply->value_count; i++) {
            reply_value_release(engine->store, &reply->values[i]);
        }
    }
    reply_clear(reply);
    if (UNLIKELY(result == PUSH_BROKEN)) {
        connection_close(engine, connection);
    }
    return result == PUSH_DONE;
}

static void park(struct engine *engine, struct connection *connection, bool is_pipelined) {
    uint32_t bytes;
    const char *line = session_admin_line(&connection->session, &bytes);
    connection->admin_line = malloc(bytes + 1u);
    if (!connection->admin_line) {
        count(engine->proc, COUNTER_malloc_fails, 1);
        connection_close(engine, connection);
        return;
    }
    memcpy(connection->admin_line, line, bytes);
    connection->admin_line[bytes] = '\0';
    connection->admin_bytes = bytes;
    connection->admin_is_pipelined = is_pipelined;
    connection->is_parked = true;
    connection->ticket = ++engine->tickets;
    queue_push(&engine->requests, connection);
    if (!connection->backlog) {
        connection_want(engine, connection, EPOLLET);    // A client may close its side and still
                                                         // wait for the answer.
    }
    note_state(engine, connection, CONNECTION_PARKED);
}

void connections_send_deferred(struct engine *engine) {
    for (uint32_t i = 0; i < engine->deferred_count; i++) {
        struct deferred *deferred = &engine->deferred[i];
        struct connection *connection = deferred->connection;
        uint32_t sent = 0;
        uint32_t none = 0;
        int result =
            push(engine, connection->fd, deferred->text, deferred->bytes, &sent, NULL, &none, 0);
        if (UNLIKELY(result == PUSH_BROKEN
                     || (result == PUSH_LATER
                         && !keep(engine, connection, deferred->text + sent, deferred->bytes - sent,
                                  NULL, 0, 0, 0)))) {
            connection_close(engine, connection);
        } else if (UNLIKELY(result == PUSH_LATER)) {
            input_begin_ahead(engine, connection);
        }
    }
    engine->deferred_count = 0;
    engine->reply.at = engine->reply.start = engine->reply_base;
}

void connection_read_again(struct engine *engine, struct connection *connection) {
    if (!connection->is_in_again && !connection->is_dead) {
        connection->is_in_again = true;
        connection->again_next = engine->again;
        engine->again = connection;
    }
}

// The session stopped with the reply on its way: what becomes of the connection and of the rest of
// its input.
static void after_flush(struct engine *engine, struct connection *connection, int stop,
                        bool is_free, bool is_pipelined, const char *rest, size_t bytes) {
    if (stop == SESSION_CLOSE) {
        if (is_free) {
            connection_close(engine, connection);
        }
        connection->is_closing = true;
        return;
    }
    if (stop == SESSION_PARKED) {
        park(engine, connection, is_pipelined);
    }
    if (connection->is_dead) {
        return;
    }
    if (UNLIKELY(!is_free)) {
        session_drop_reads(&connection->session);    // A slow reader keeps no memory of the reader.
    } else if (UNLIKELY(stop == SESSION_ON_FLASH)) {
        wait_on_flash(engine, connection);
    } else if (UNLIKELY(stop == SESSION_BUSY)) {
        wait_on_bucket(engine, connection);
    }
    input_keep(engine, connection, rest, bytes);
    if (UNLIKELY(!is_free)) {
        input_begin_ahead(engine, connection);
    }
    if ((stop == SESSION_REPLY_FULL || stop == SESSION_YIELD) && is_free) {
        // It reads as fast as it is answered: others get their turn in between.
        count(engine->proc, COUNTER_conn_yields, 1);
        connection->has_work = true;
        connection_read_again(engine, connection);
    } else if (stop == SESSION_NEEDS_INPUT && is_free && !connection->is_dead) {
        note_waiting(engine, connection);
    }
}

static void converse(struct engine *engine, struct connection *connection, const char *in,
                     size_t bytes) {
    size_t at = 0;
    if (UNLIKELY(engine->reply.at - engine->reply_base > REPLY_BYTES / 4
                 || engine->deferred_count == STAGES)) {
        connections_send_deferred(engine);
    }
    engine->reply.start = engine->reply.at;
    int64_t requests_max = live_get(engine->arena, LIVE_requests_per_event);
    session_set_turn(&connection->session,
                     UNLIKELY(requests_max)
                         ? engine->proc->counters[COUNTER_requests] + (uint64_t)requests_max
                         : 0);
    for (uint32_t replies = 1;; replies++) {
        size_t consumed;
        int stop =
            session_feed(&connection->session, in + at, bytes - at, &engine->reply, &consumed);
        at += consumed;
        bool had_reply = engine->reply.at > engine->reply.start;
        if (LIKELY(stop == SESSION_NEEDS_INPUT && engine->is_deferring
                   && engine->reply.value_count == 0)) {
            if (had_reply) {
                engine->deferred[engine->deferred_count++] =
                    (struct deferred){connection, engine->reply.start,
                                      (uint32_t)(engine->reply.at - engine->reply.start)};
            }
            note_waiting(engine, connection);
            input_keep(engine, connection, in + at, bytes - at);
            return;
        }
        bool is_free = (UNLIKELY(session_is_unfinished(&connection->session)) && !had_reply)
                       || flush(engine, connection);
        if (connection->is_dead) {
            return;
        }
        if (stop != SESSION_REPLY_FULL || !is_free || replies == REPLIES_MAX) {
            after_flush(engine, connection, stop, is_free, had_reply || at < bytes, in + at,
                        bytes - at);
            return;
        }
    }
}

// The socket may hold more, of large values among other things.
static void receive_values(struct engine *engine, struct connection *connection) {
    uint64_t before = engine->proc->counters[COUNTER_bytes_read];
    while (input_has_value(connection)
           && engine->proc->counters[COUNTER_bytes_read] - before < RECEIVE_BYTES_MAX) {
        // What it was answered before the value may be deferred, and has to leave before what comes
        // behind it.
        connections_send_deferred(engine);
        if (!input_has_value(connection)) {
            break;
        }
        size_t behind = input_receive_value(engine, connection, engine->tail);
        if (behind == 0) {
            break;
        }
        converse(engine, connection, engine->tail, behind);
    }
}

void connection_converse(struct engine *engine, struct connection *connection, const char *in,
                         size_t bytes) {
    converse(engine, connection, in, bytes);
    if (UNLIKELY(connection->has_more)) {
        connection->reads_little = session_is_filling_value(&connection->session);
        receive_values(engine, connection);
        session_set_arrived(&connection->session, 0);
    }
    values_note(engine, connection);
    if (UNLIKELY(connection->has_more)) {
        connection->has_more = false;
        count(engine->proc, COUNTER_conn_yields, !connection->has_ended);
        connection_read_again(engine, connection);
    }
}

void connection_continue(struct engine *engine, struct connection *connection) {
    if (connection->is_dead || connection->backlog || connection->is_parked
        || connection->is_on_flash || connection->is_busy) {
        return;
    }
    connection->has_work = false;
    connection_want(engine, connection, READ_INTEREST);
    note_waiting(engine, connection);
    connection->reads_ahead = false;
    if (connection->kept.bytes || UNLIKELY(session_is_unfinished(&connection->session))) {
        input_lend(engine, connection);
        connection_converse(engine, connection, engine->lent.base + engine->lent.at,
                            engine->lent.bytes);
        input_take_back(engine);
    }
}

void connection_go_on(struct engine *engine, struct connection *connection) {
    connection_continue(engine, connection);
    connection_read_again(engine, connection);    // What came meanwhile has had its event.
}

void connection_resume(struct engine *engine, struct connection *connection) {
    if (connection->is_dead) {
        return;
    }
    bool was_on_flash = connection->is_on_flash;
    connection->is_on_flash = connection->is_busy = false;
    input_note_command(engine, connection);
    connection_continue(engine, connection);
    if (UNLIKELY(connection->is_on_flash)) {
        return;    // If it lacks memory again, it has kept its place among those who do.
    }
    if (was_on_flash) {
        flash_reader_unwait(engine->reader, &connection->waiter);
    }
    if (UNLIKELY(connection->is_busy)) {
        return;
    }
    if (UNLIKELY(connection->has_missed_input)) {
        connection->has_missed_input = false;
        connection_read_again(engine, connection);
    }
}

void connection_writable(struct engine *engine, struct connection *connection) {
    struct backlog *backlog = connection->backlog;
    if (!backlog) {
        return;
    }
    uint64_t before = engine->proc->counters[COUNTER_bytes_written];
    int result = push(engine, connection->fd, backlog->text, backlog->bytes, &backlog->sent,
                      backlog->values, &backlog->value_first, backlog->value_count);
    if (result == PUSH_BROKEN) {
        connection_close(engine, connection);
        return;
    }
    if (result == PUSH_LATER) {
        if (engine->proc->counters[COUNTER_bytes_written] != before) {
            readers_note(engine, connection);
        }
        connection_ask(engine, connection, connection->interest);
        return;
    }
    drop_backlog(engine, connection);
    if (connection->is_closing) {
        connection_close(engine, connection);
        return;
    }
    if (connection->is_parked) {
        connection_want(engine, connection, EPOLLET);
        if (connection->is_streaming) {
            queue_push(&engine->streams, connection);
        }
        return;
    }
    connection_continue(engine, connection);
}

bool connection_send(struct engine *engine, struct connection *connection, const char *bytes,
                     uint32_t count_bytes) {
    uint32_t sent = 0;
    uint32_t none = 0;
    int result = PUSH_DONE;
    if (connection->backlog) {
        // What was said before the command is still on its way: the answer queues behind it.
        struct backlog *backlog = realloc(
            connection->backlog, sizeof *backlog + connection->backlog->bytes + count_bytes);
        if (!backlog) {
            count(engine->proc, COUNTER_malloc_fails, 1);
            connection_close(engine, connection);
            return false;
        }
        memcpy(backlog->text + backlog->bytes, bytes, count_bytes);
        backlog->bytes += count_bytes;
        connection->backlog = backlog;
        count(engine->proc, COUNTER_response_buf_bytes, count_bytes);
        return true;
    }
    if (count_bytes) {
        result = push(engine, connection->fd, (char *)bytes, count_bytes, &sent, NULL, &none, 0);
    }
    if (result == PUSH_BROKEN
        || (result == PUSH_LATER
            && !keep(engine, connection, bytes + sent, count_bytes - sent, NULL, 0, 0, 0))) {
        connection_close(engine, connection);
        return false;
    }
    return true;
}
