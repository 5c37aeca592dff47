// What the log shows of a conversation with -vv.
#include <stdio.h>

#include "proto/session_internal.h"

void session_show(const struct session *session, char sign, const char *text, int bytes) {
    char line[LOG_LINE_BYTES_MAX];
    int shown = snprintf(line, sizeof line, "%c%d %.*s", sign, session->log_id, bytes, text);
    log_line(session->proto->log, line,
             shown < (int)sizeof line ? (uint32_t)shown : (uint32_t)sizeof line - 1);
}
