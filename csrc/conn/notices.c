// What the operator is told about clients, each kind at most once a minute.
#include <stdio.h>

#include "conn/conn_internal.h"

#define TOLD_EVERY_SECONDS 60

bool conn_notice_is_due(const struct conns *conns, uint32_t told_seconds) {
    return !told_seconds || conns->proc->now_seconds - told_seconds >= TOLD_EVERY_SECONDS;
}

void conn_notices_tell(struct conns *conns) {
    struct notices *notices = &conns->notices;
    uint32_t now = conns->proc->now_seconds;
    uint64_t refused = conns->proc->counters[COUNTER_binary_refused];
    if (refused == notices->binary_told || !conn_notice_is_due(conns, notices->told_seconds)) {
        return;
    }
    char text[160];
    int bytes = snprintf(text, sizeof text,
                         "worker %u: closed %llu connections of clients that speak the binary "
                         "protocol, which is not "
                         "there",
                         conns->worker, (unsigned long long)(refused - notices->binary_told));
    log_line(conns->log, text, (uint32_t)bytes);
    notices->binary_told = refused;
    notices->told_seconds = now;
}
