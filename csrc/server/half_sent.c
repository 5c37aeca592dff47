// Values that stop half way: whose client has been silent for too long, holding item memory, is
// closed.
#include <stdio.h>

#include "server/server_internal.h"

// While stores are refused, this part of the time is enough.
#define SHORT_MEMORY_PART 10

static void take_out(struct value_list *values, struct connection *connection) {
    struct connection *next = connection->value_next;
    struct connection *previous = connection->value_previous;
    *(previous ? &previous->value_next : &values->first) = next;
    *(next ? &next->value_previous : &values->last) = previous;
    connection->value_next = connection->value_previous = NULL;
    connection->is_in_values = false;
}

static void put_last(struct value_list *values, struct connection *connection) {
    connection->value_previous = values->last;
    *(values->last ? &values->last->value_next : &values->first) = connection;
    values->last = connection;
    connection->is_in_values = true;
}

void values_note(struct engine *engine, struct connection *connection) {
    bool has_value = !connection->is_dead && session_is_reading_value(&connection->session);
    if (LIKELY(!has_value && !connection->is_in_values)) {
        return;
    }
    if (connection->is_in_values) {
        take_out(&engine->values, connection);
    }
    if (has_value) {
        connection->value_seconds = engine->proc->now_seconds;
        put_last(&engine->values, connection);
    }
}

static void tell(struct engine *engine, uint32_t seconds) {
    struct value_list *values = &engine->values;
    uint32_t now = engine->proc->now_seconds;
    if (values->dropped == 0 || !notice_is_due(engine, values->told_seconds)) {
        return;
    }
    char text[128];
    int bytes =
        snprintf(text, sizeof text,
                 "worker %u: closed %u clients that were silent for %u s in the middle of a "
                 "value",
                 engine->worker, values->dropped, seconds);
    log_line(engine->log, text, (uint32_t)bytes);
    values->dropped = 0;
    values->told_seconds = now;
}

void values_drop_silent(struct engine *engine) {
    struct value_list *values = &engine->values;
    uint64_t refusals = engine->proc->counters[COUNTER_store_no_memory];
    bool is_short = refusals != values->refusals_seen;
    values->refusals_seen = refusals;
    uint64_t seconds = (uint64_t)live_get(engine->arena, LIVE_value_timeout_seconds);
    if (seconds == 0) {
        return;
    }
    seconds = is_short ? (seconds + SHORT_MEMORY_PART - 1) / SHORT_MEMORY_PART : seconds;
    uint32_t now = engine->proc->now_seconds;
    while (values->first && values->first->value_seconds + seconds <= now) {
        struct connection *connection = values->first;
        if (connection->backlog || connection->is_on_flash || connection->is_busy
            || connection->is_parked) {
            values_note(engine, connection);    // It is this server that does not listen now.
            continue;
        }
        count(engine->proc, COUNTER_value_timeouts, 1);
        values->dropped++;
        connection_close(engine, connection);
    }
    tell(engine, (uint32_t)seconds);
}
