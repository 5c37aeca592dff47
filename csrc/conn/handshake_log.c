// What the operator is told of handshakes that came to nothing: one line of a kind in a while, with
// the address of one of the clients and how many others there were.
#include <arpa/inet.h>
#include <stdio.h>

#include "conn/conn_internal.h"

static const char *const told[HANDSHAKE_NOTICES] = {
    [TLS_FAILURE_GONE] = "TLS handshake: the client left",
    [TLS_FAILURE_NOT_TLS] = "TLS handshake: the client does not speak TLS",
    [TLS_FAILURE_NOT_SHARED] = "TLS handshake: client and server have nothing in common",
    [TLS_FAILURE_CERTIFICATE] = "TLS handshake: the client's certificate is missing or not good",
    [TLS_FAILURE_REFUSED] = "TLS handshake: the client refused",
    [TLS_FAILURE_OTHER] = "TLS handshake failed",
    [HANDSHAKE_LATE] = "TLS handshake: the client took too long",
    [HANDSHAKE_DENIED] = "TLS: the client is not among those allowed",
};

static void write_address(const struct connection_record *record, char *place, size_t room) {
    char host[INET6_ADDRSTRLEN] = "";
    if (record->family == 1) {
        snprintf(place, room, "a unix socket");
    } else if (inet_ntop(record->family == 4 ? AF_INET : AF_INET6, record->address, host,
                         sizeof host)) {
        snprintf(place, room, record->family == 4 ? "%s:%u" : "[%s]:%u", host, record->port);
    } else {
        snprintf(place, room, "an unknown address");
    }
}

void conn_handshake_log(struct conns *conns, const struct connection *connection, int kind,
                        const char *reason) {
    struct handshake_list *handshakes = &conns->handshakes;
    if (!conn_notice_is_due(conns, handshakes->logged_seconds[kind])) {
        handshakes->untold[kind]++;
        return;
    }
    char address[INET6_ADDRSTRLEN + 16];
    write_address(connection->record, address, sizeof address);
    char others[64] = "";
    if (handshakes->untold[kind]) {
        snprintf(others, sizeof others, "; %u more like it since the last such line",
                 handshakes->untold[kind]);
    }
    char text[512];
    int bytes = snprintf(text, sizeof text, "worker %u: %s%s%s (%s%s)", conns->worker, told[kind],
                         *reason ? ": " : "", reason, address, others);
    log_line(conns->log, text, (uint32_t)bytes < sizeof text ? (uint32_t)bytes : sizeof text - 1);
    handshakes->untold[kind] = 0;
    handshakes->logged_seconds[kind] = conns->proc->now_seconds ? conns->proc->now_seconds : 1;
}
