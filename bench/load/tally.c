/* Adding up what the threads counted. */
#include "tally.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void tally_problem(struct tally *t, const char *format, ...) {
    if (t->problem[0]) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(t->problem, sizeof t->problem, format, args);
    va_end(args);
}

void tally_add(struct tally *into, const struct tally *from) {
    into->get_count += from->get_count;
    into->set_count += from->set_count;
    into->hit_count += from->hit_count;
    into->miss_count += from->miss_count;
    into->refused_count += from->refused_count;
    into->wrong_value_count += from->wrong_value_count;
    into->wrong_reply_count += from->wrong_reply_count;
    into->lost_count += from->lost_count;
    into->reconnect_count += from->reconnect_count;
    into->full_handshake_count += from->full_handshake_count;
    into->resumed_handshake_count += from->resumed_handshake_count;
    into->failed_handshake_count += from->failed_handshake_count;
    into->received_bytes += from->received_bytes;
    into->sent_bytes += from->sent_bytes;
    into->key_digest += from->key_digest;
    if (from->end_ns > into->end_ns) {
        into->end_ns = from->end_ns;
    }
    if (!into->problem[0]) {
        memcpy(into->problem, from->problem, sizeof into->problem);
    }
    histogram_add(&into->get_latency, &from->get_latency);
    histogram_add(&into->set_latency, &from->set_latency);
    histogram_add(&into->client_delay, &from->client_delay);
    histogram_add(&into->handshake, &from->handshake);
}
