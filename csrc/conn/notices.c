// What the operator is told about clients, each kind at most once a minute.
#include <stdio.h>

#include "conn/conn_internal.h"

#define LOG_INTERVAL_SECONDS 60

bool conn_notice_is_due(const struct conns *conns, uint32_t logged_seconds) {
    return !logged_seconds || conns->proc->now_seconds - logged_seconds >= LOG_INTERVAL_SECONDS;
}

void conn_notices_log(struct conns *conns) {
    struct notices *notices = &conns->notices;
    uint32_t now = conns->proc->now_seconds;
    uint64_t refused = conns->proc->counters[COUNTER_protocol_refused];
    if (refused == notices->protocol_logged
        || !conn_notice_is_due(conns, notices->logged_seconds)) {
        return;
    }
    char text[160];
    int bytes = snprintf(text, sizeof text,
                         "worker %u: closed %llu connections of clients that speak a protocol "
                         "that is not open to them",
                         conns->worker, (unsigned long long)(refused - notices->protocol_logged));
    log_line(conns->log, text, (uint32_t)bytes);
    notices->protocol_logged = refused;
    notices->logged_seconds = now;
}
