/* Reading replies: every value is checked against the key it was asked for. */
#pragma once

#include "connection.h"

/* Takes as many whole replies as `bytes` holds, counting them in `t` with the latency up to
 * `received_ns`. Returns the bytes consumed; the rest is the start of an unfinished reply.
 * A reply the protocol does not allow is counted in wrong_reply_count and consumes nothing more. */
size_t replies_consume(struct connection *c, const struct options *o, struct tally *t,
                       const uint8_t *bytes, size_t byte_count, uint64_t received_ns);
