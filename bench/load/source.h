/* Which request comes next: the mix of GET and SET and the popularity of keys. */
#pragma once

#include "options.h"
#include "random.h"

struct source {
    const struct options *options;
    struct rng rng;
    struct zipf zipf;
    uint64_t scatter;    /* spreads popular ranks over the key ids */
    uint64_t next_index; /* sequential: this thread's next key; replay: its place in the trace */
    uint64_t index_step;
    uint64_t left_count; /* requests still to be drawn by this thread */
    uint64_t generation;
};

void source_setup(struct source *s, const struct options *o, uint32_t thread_index);

static inline bool source_empty(const struct source *s) {
    return s->left_count == 0;
}

/* Draws one request off the budget: true for a SET. REQUIRES: !source_empty(). */
bool source_draw(struct source *s);

/* The next key id. Sequential sources start again from their first key after the last; a trace is
 * replayed once, which the budget sees to. */
uint64_t source_key(struct source *s);
