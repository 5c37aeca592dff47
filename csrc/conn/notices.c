// What the operator is told about clients, each kind at most once a minute.
#include <arpa/inet.h>
#include <stdio.h>

#include "conn/conn_internal.h"

#define LOG_INTERVAL_SECONDS 60

bool conn_notice_is_due(const struct conns *conns, uint32_t logged_seconds) {
    return !logged_seconds || conns->proc->now_seconds - logged_seconds >= LOG_INTERVAL_SECONDS;
}

// An address as text.
static const char *shown(const struct client_address *address, char *text, uint32_t text_bytes) {
    int family = address->family == 4 ? AF_INET : AF_INET6;
    bool is_unix = address->family != 4 && address->family != 6;
    return is_unix || !inet_ntop(family, address->bytes, text, text_bytes) ? "a unix socket" : text;
}

static void log_logins(struct conns *conns) {
    struct notices *notices = &conns->notices;
    uint64_t failed = conns->proc->counters[COUNTER_auth_errors] - notices->logins_logged;
    if (failed == 0 || !conn_notice_is_due(conns, notices->logins_logged_seconds)) {
        return;
    }
    char address[INET6_ADDRSTRLEN];
    char text[160];
    int bytes = snprintf(text, sizeof text, "worker %u: %llu failed logins, the last one from %s",
                         conns->worker, (unsigned long long)failed,
                         shown(&notices->login_address, address, sizeof address));
    log_line(conns->log, text, (uint32_t)bytes);
    notices->logins_logged += failed;
    notices->logins_logged_seconds = conns->proc->now_seconds;
}

void conn_notices_log(struct conns *conns) {
    struct notices *notices = &conns->notices;
    log_logins(conns);
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
