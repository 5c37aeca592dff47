// Connections that watch: lines go out, and what comes in is thrown away.
#include <stdlib.h>

#include "conn/conn_internal.h"

// So often one of them is received from before others get their turn.
#define DISCARDS_MAX 16

bool conn_watch(struct conns *conns, struct connection *connection) {
    PYMC_DEBUG_CHECK(connection->state == CONN_PARKED);
    free(connection->admin_line);
    connection->admin_line = NULL;
    connection->is_streaming = false;
    conn_kept_drop(conns, connection);
    conn_move(connection, CONN_WATCHING);
    conn_show(connection, CONNECTION_WATCH);
    // Asked anew: what it has said already is looked at too, and so is its end.
    conn_ask(conns, connection, TRANSPORT_IN);
    conn_read_again(conns, connection);
    return conn_watch_send(conns, connection, "OK\r\n", 4);
}

bool conn_watch_send(struct conns *conns, struct connection *connection, const char *lines,
                     uint32_t byte_count) {
    if (connection->state == CONN_WATCHING) {
        conn_send(conns, connection, lines, byte_count);
    } else if (!conn_backlog_append(conns, connection, lines, byte_count)) {
        conn_close_as(conns, connection, WATCH_IN_ERROR);
    }
    return conn_is_open(connection);
}

void conn_watch_input(struct conns *conns, struct connection *connection) {
    for (uint32_t i = 0; i < DISCARDS_MAX; i++) {
        ssize_t bytes = transport_receive(&connection->transport, conns->tail, STAGE_BYTES);
        if (bytes == TRANSPORT_LATER) {
            conn_want(conns, connection, connection->wants);
            if (UNLIKELY(connection->transport.holds_input)) {
                conn_read_again(conns, connection);
            }
            return;
        }
        if (bytes <= 0) {
            conn_close_as(conns, connection,
                          bytes == TRANSPORT_END ? WATCH_NORMAL : WATCH_IN_ERROR);
            return;
        }
        count(conns->proc, COUNTER_bytes_read, (uint64_t)bytes);
    }
    conn_read_again(conns, connection);
}
