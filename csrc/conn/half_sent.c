// Values and TLS records that stop half way: whose client has been silent for too long, holding
// item memory or buffers, is closed.
#include <stdio.h>

#include "conn/conn_internal.h"

// While stores are refused, this part of the time is enough.
#define SHORT_MEMORY_PART 10

static void tell(struct conns *conns, uint32_t seconds) {
    struct value_list *values = &conns->values;
    uint32_t now = conns->proc->now_seconds;
    if (values->dropped == 0 || !conn_notice_is_due(conns, values->logged_seconds)) {
        return;
    }
    char text[160];
    int bytes =
        snprintf(text, sizeof text,
                 "worker %u: closed %u clients that were silent for %u s in the middle of a "
                 "value or record",
                 conns->worker, values->dropped, seconds);
    log_line(conns->log, text, (uint32_t)bytes);
    values->dropped = 0;
    values->logged_seconds = now;
}

void conn_values_drop_silent(struct conns *conns) {
    struct value_list *values = &conns->values;
    uint64_t refusals = conns->proc->counters[COUNTER_store_no_memory];
    bool is_short = refusals != values->refusals_seen;
    values->refusals_seen = refusals;
    uint64_t seconds = (uint64_t)live_get(conns->arena, LIVE_value_timeout_seconds);
    if (seconds == 0) {
        return;
    }
    seconds = is_short ? (seconds + SHORT_MEMORY_PART - 1) / SHORT_MEMORY_PART : seconds;
    uint32_t now = conns->proc->now_seconds;
    while (values->first && values->first->value_seconds + seconds <= now) {
        struct connection *connection = values->first;
        if (connection->state != CONN_READING && connection->state != CONN_YIELDED) {
            conn_values_note(conns, connection);    // It is this server that does not listen now.
            continue;
        }
        count(conns->proc, COUNTER_value_timeouts, 1);
        values->dropped++;
        conn_close_as(conns, connection, WATCH_IDLE_TIMEOUT);
    }
    tell(conns, (uint32_t)seconds);
}
