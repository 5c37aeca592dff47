// Answers to failed logins are held back for longer each time: whoever tries passwords has to wait,
// and nobody waits for him. Times are whole seconds, looked at once a second, so that none of this
// keeps a worker awake.
#include "conn/conn_internal.h"

void conn_delays_look(struct conns *conns) {
    uint32_t now = conns->proc->now_seconds;
    for (uint32_t step = 0; step < DELAY_STEPS; step++) {
        struct connection *first;
        while ((first = conns->delays[step].first) && first->backlog->due_seconds <= now) {
            conn_delay_end(conns, first);
            conn_move(first, CONN_SENDING);
            conn_want(conns, first, TRANSPORT_OUT);
            conn_writable(conns, first);
        }
    }
}
