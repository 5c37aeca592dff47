// The lists that connections are in: queues, half-sent values, slow readers, handshakes, held back
// answers.
#include "conn/conn_internal.h"

void conn_queue_push(struct conn_queue *queue, struct connection *connection) {
    connection->queue_next = NULL;
    if (queue->last) {
        queue->last->queue_next = connection;
    } else {
        queue->first = connection;
    }
    queue->last = connection;
}

struct connection *conn_queue_pop(struct conn_queue *queue) {
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

void conn_queue_remove(struct conn_queue *queue, struct connection *connection) {
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

static void take_out_value(struct value_list *values, struct connection *connection) {
    struct connection *next = connection->value_next;
    struct connection *previous = connection->value_previous;
    *(previous ? &previous->value_next : &values->first) = next;
    *(next ? &next->value_previous : &values->last) = previous;
    connection->value_next = connection->value_previous = NULL;
    connection->is_in_values = false;
}

static void put_last_value(struct value_list *values, struct connection *connection) {
    connection->value_previous = values->last;
    *(values->last ? &values->last->value_next : &values->first) = connection;
    values->last = connection;
    connection->is_in_values = true;
}

void conn_values_note(struct conns *conns, struct connection *connection) {
    bool has_value =
        conn_is_open(connection)
        && (session_is_reading_value(&connection->session) || connection->transport.holds_part);
    if (LIKELY(!has_value && !connection->is_in_values)) {
        return;
    }
    if (connection->is_in_values) {
        take_out_value(&conns->values, connection);
    }
    if (has_value) {
        connection->value_seconds = conns->proc->now_seconds;
        put_last_value(&conns->values, connection);
    }
}

static void take_out_reader(struct reader_list *readers, struct connection *connection) {
    const struct backlog *backlog = connection->backlog;
    struct connection *next = backlog->reader_next;
    struct connection *previous = backlog->reader_previous;
    *(previous ? &previous->backlog->reader_next : &readers->first) = next;
    *(next ? &next->backlog->reader_previous : &readers->last) = previous;
    if (readers->cursor == connection) {
        readers->cursor = next;
    }
    connection->is_in_readers = false;
}

void conn_readers_note(struct conns *conns, struct connection *connection) {
    struct reader_list *readers = &conns->readers;
    struct backlog *backlog = connection->backlog;
    if (connection->is_in_readers) {
        take_out_reader(readers, connection);
    }
    if (backlog && backlog->value_first < backlog->value_count) {
        backlog->progress_seconds = conns->proc->now_seconds;
        backlog->reader_next = NULL;
        backlog->reader_previous = readers->last;
        *(readers->last ? &readers->last->backlog->reader_next : &readers->first) = connection;
        readers->last = connection;
        connection->is_in_readers = true;
    }
}

// There is a list for each length of the delay, so that the first one in it is always due first.
void conn_delay(struct conns *conns, struct connection *connection, uint32_t seconds) {
    struct backlog *backlog = connection->backlog;
    uint32_t step = 0;
    while (step + 1 < DELAY_STEPS && 1u << step < seconds) {
        step++;
    }
    struct delay_list *list = &conns->delays[step];
    backlog->delay_step = step;
    backlog->due_seconds = conns->proc->now_seconds + (1u << step);
    backlog->delayed_next = NULL;
    backlog->delayed_previous = list->last;
    *(list->last ? &list->last->backlog->delayed_next : &list->first) = connection;
    list->last = connection;
    conn_move(connection, CONN_DELAYED);
    count(conns->proc, COUNTER_logins_delayed, 1);
}

void conn_delay_end(struct conns *conns, struct connection *connection) {
    if (connection->state != CONN_DELAYED) {
        return;
    }
    const struct backlog *backlog = connection->backlog;
    struct delay_list *list = &conns->delays[backlog->delay_step];
    struct connection *next = backlog->delayed_next;
    struct connection *previous = backlog->delayed_previous;
    *(previous ? &previous->backlog->delayed_next : &list->first) = next;
    *(next ? &next->backlog->delayed_previous : &list->last) = previous;
    count(conns->proc, COUNTER_logins_delayed, (uint64_t)-1);
}

void conn_handshake_begin(struct conns *conns, struct connection *connection) {
    struct handshake_list *handshakes = &conns->handshakes;
    connection->state = CONN_HANDSHAKE;
    connection->value_seconds = conns->proc->now_seconds;
    connection->value_previous = handshakes->last;
    *(handshakes->last ? &handshakes->last->value_next : &handshakes->first) = connection;
    handshakes->last = connection;
}

void conn_handshake_leave(struct conns *conns, struct connection *connection) {
    struct handshake_list *handshakes = &conns->handshakes;
    struct connection *next = connection->value_next;
    struct connection *previous = connection->value_previous;
    *(previous ? &previous->value_next : &handshakes->first) = next;
    *(next ? &next->value_previous : &handshakes->last) = previous;
    connection->value_next = connection->value_previous = NULL;
    if (connection->is_in_ready) {
        conn_queue_remove(&handshakes->ready, connection);
        handshakes->ready_count--;
        connection->is_in_ready = false;
    }
}
