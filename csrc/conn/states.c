// The table of moves between states: README.md shows it with the events that cause them.
#include "conn/conn_internal.h"

#define TO(state) (1u << (state))

static const uint16_t moves[CONN_STATES] = {
    [CONN_READING] = TO(CONN_YIELDED) | TO(CONN_SENDING) | TO(CONN_DELAYED) | TO(CONN_ON_FLASH)
                     | TO(CONN_ON_BUCKET) | TO(CONN_PARKED) | TO(CONN_CLOSED),
    [CONN_YIELDED] = TO(CONN_READING) | TO(CONN_CLOSED),
    [CONN_SENDING] = TO(CONN_READING) | TO(CONN_SENDING_AHEAD) | TO(CONN_CLOSING)
                     | TO(CONN_PARKED_SENDING) | TO(CONN_CLOSED),
    [CONN_SENDING_AHEAD] = TO(CONN_READING) | TO(CONN_SENDING) | TO(CONN_CLOSED),
    [CONN_CLOSING] = TO(CONN_CLOSED),
    [CONN_DELAYED] = TO(CONN_SENDING) | TO(CONN_CLOSED),
    [CONN_ON_FLASH] = TO(CONN_READING) | TO(CONN_CLOSED),
    [CONN_ON_BUCKET] = TO(CONN_READING) | TO(CONN_CLOSED),
    [CONN_HANDSHAKE] = TO(CONN_READING) | TO(CONN_CLOSED),
    [CONN_PARKED] =
        TO(CONN_READING) | TO(CONN_PARKED_SENDING) | TO(CONN_WATCHING) | TO(CONN_CLOSED),
    [CONN_PARKED_SENDING] = TO(CONN_PARKED) | TO(CONN_SENDING) | TO(CONN_CLOSING) | TO(CONN_CLOSED),
    [CONN_WATCHING] = TO(CONN_WATCHING_SENDING) | TO(CONN_CLOSED),
    [CONN_WATCHING_SENDING] = TO(CONN_WATCHING) | TO(CONN_CLOSED),
};

bool conn_may_move(int from, int to) {
    return from >= 0 && from < CONN_STATES && to >= 0 && to < CONN_STATES && (moves[from] & TO(to));
}

const char *conn_state_name(int state) {
    static const char *const names[CONN_STATES] = {
        [CONN_READING] = "READING",
        [CONN_YIELDED] = "YIELDED",
        [CONN_SENDING] = "SENDING",
        [CONN_SENDING_AHEAD] = "SENDING_AHEAD",
        [CONN_CLOSING] = "CLOSING",
        [CONN_DELAYED] = "DELAYED",
        [CONN_ON_FLASH] = "ON_FLASH",
        [CONN_ON_BUCKET] = "ON_BUCKET",
        [CONN_PARKED] = "PARKED",
        [CONN_PARKED_SENDING] = "PARKED_SENDING",
        [CONN_HANDSHAKE] = "HANDSHAKE",
        [CONN_WATCHING] = "WATCHING",
        [CONN_WATCHING_SENDING] = "WATCHING_SENDING",
        [CONN_CLOSED] = "CLOSED",
    };
    return state >= 0 && state < CONN_STATES ? names[state] : "?";
}

void conn_check(const struct connection *connection) {
    bool is_sending = connection->state == CONN_SENDING || connection->state == CONN_SENDING_AHEAD
                      || connection->state == CONN_CLOSING || connection->state == CONN_DELAYED
                      || connection->state == CONN_PARKED_SENDING
                      || connection->state == CONN_WATCHING_SENDING;
    bool is_open = conn_is_open(connection);
    (void)is_sending;
    (void)is_open;
    PYMC_DEBUG_CHECK(is_sending == (connection->backlog != NULL));
    PYMC_DEBUG_CHECK(conn_is_parked(connection) == (connection->admin_line != NULL));
    PYMC_DEBUG_CHECK(!is_open || !connection->is_streaming || conn_is_parked(connection));
    PYMC_DEBUG_CHECK(!is_open || !connection->has_missed_input || conn_is_waiting(connection));
    PYMC_DEBUG_CHECK(!connection->is_in_ready || connection->state == CONN_HANDSHAKE);
    PYMC_DEBUG_CHECK(is_open || (!connection->is_in_values && !connection->is_in_readers));
    PYMC_DEBUG_CHECK(is_open || !connection->kept.base);
}
