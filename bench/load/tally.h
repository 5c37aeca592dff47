/* What one thread counted; threads' tallies are added up at the end. */
#pragma once

#include "histogram.h"

enum { PROBLEM_BYTES = 200 };

struct tally {
    uint64_t get_count;             /* answered GET requests */
    uint64_t set_count;             /* answered SET requests */
    uint64_t hit_count, miss_count; /* keys */
    uint64_t refused_count;         /* SERVER_ERROR replies */
    uint64_t wrong_value_count;
    uint64_t wrong_reply_count; /* replies the protocol does not allow here */
    uint64_t lost_count;        /* requests whose connection went away (--reconnect) */
    uint64_t reconnect_count;
    uint64_t full_handshake_count, resumed_handshake_count, failed_handshake_count;
    uint64_t received_bytes, sent_bytes;
    uint64_t key_digest;         /* sum over all keys asked for: equal work has equal digests */
    uint64_t end_ns;             /* last reply */
    char problem[PROBLEM_BYTES]; /* the first thing that was wrong, for people */
    struct histogram get_latency, set_latency;
    struct histogram client_delay; /* open loop: sent so late although the connection was free */
    struct histogram handshake;    /* from connecting to the client's end of it */
};

/* Remembers the first problem only. */
void tally_problem(struct tally *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

void tally_add(struct tally *into, const struct tally *from);
