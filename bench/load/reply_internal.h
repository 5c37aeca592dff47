/* What the readers of both protocols share. */
#pragma once

#include "reply.h"

enum step { STEP_AGAIN, STEP_NEED_MORE, STEP_WRONG };

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* The oldest request is answered: counts it, and makes room for another. */
void reply_finish(struct connection *c, const struct options *o, struct tally *t,
                  uint64_t received_ns);

/* The oldest request's next key is not there. */
void reply_count_miss(struct connection *c, const struct options *o, struct tally *t,
                      uint64_t key_id);

/* Its next key is there: checks the value. */
void reply_count_hit(struct connection *c, const struct options *o, struct tally *t,
                     const uint8_t *data, uint32_t value_bytes);

size_t replies_consume_binary(struct connection *c, const struct options *o, struct tally *t,
                              const uint8_t *bytes, size_t byte_count, uint64_t received_ns);
