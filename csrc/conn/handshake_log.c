// What the operator is told of handshakes that came to nothing: one line of a kind in a while, with
// the address of one of the clients and how many others there were.
#include <arpa/inet.h>
#include <stdio.h>

#include "conn/conn_internal.h"

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

void conn_handshake_log(struct conns *conns, const struct connection *connection,
                        enum tls_failure failure) {
    struct handshake_list *handshakes = &conns->handshakes;
    if (!conn_notice_is_due(conns, handshakes->logged_seconds[failure])) {
        handshakes->untold[failure]++;
        return;
    }
    char address[INET6_ADDRSTRLEN + 16];
    write_address(connection->record, address, sizeof address);
    char others[64] = "";
    if (handshakes->untold[failure]) {
        snprintf(others, sizeof others, " (and %u others since the last such line)",
                 handshakes->untold[failure]);
    }
    char reason[TLS_IDENTITY_BYTES + 128];
    tls_explain(transport_tls_ssl(&connection->transport), failure, reason, sizeof reason);
    char text[sizeof reason + 256];
    int bytes = snprintf(text, sizeof text, "worker %u: TLS handshake with %s failed: %s%s",
                         conns->worker, address, reason, others);
    log_line(conns->log, text, (uint32_t)bytes);
    handshakes->untold[failure] = 0;
    handshakes->logged_seconds[failure] = conns->proc->now_seconds ? conns->proc->now_seconds : 1;
}
