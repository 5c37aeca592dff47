// What the operator is told about clients, each kind at most once a minute.
#include <stdio.h>

#include "server/server_internal.h"

#define TOLD_EVERY_SECONDS 60

bool notice_is_due(const struct engine *engine, uint32_t told_seconds) {
    return !told_seconds || engine->proc->now_seconds - told_seconds >= TOLD_EVERY_SECONDS;
}

void notices_tell(struct engine *engine) {
    struct notices *notices = &engine->notices;
    uint32_t now = engine->proc->now_seconds;
    uint64_t refused = engine->proc->counters[COUNTER_binary_refused];
    if (refused == notices->binary_told || !notice_is_due(engine, notices->told_seconds)) {
        return;
    }
    char text[160];
    int bytes = snprintf(text, sizeof text,
                         "worker %u: closed %llu connections of clients that speak the binary "
                         "protocol, which is not "
                         "there",
                         engine->worker, (unsigned long long)(refused - notices->binary_told));
    log_line(engine->log, text, (uint32_t)bytes);
    notices->binary_told = refused;
    notices->told_seconds = now;
}
