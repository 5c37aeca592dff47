/* Drawing requests and keys. */
#include "source.h"

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void source_setup(struct source *s, const struct options *o, uint32_t thread_index) {
    *s = (struct source){.options = o, .next_index = thread_index, .index_step = o->thread_count};
    rng_seed(&s->rng, mix64(o->seed) + thread_index);
    s->generation = rng_next(&s->rng);
    if (o->popularity == POPULARITY_ZIPF) {
        zipf_setup(&s->zipf, o->key_count, o->zipf_theta);
    }
    /* Multiplying ranks by a number coprime to the key count permutes them. */
    s->scatter = (uint64_t)((double)o->key_count * 0.6180339887) | 1;
    while (greatest_common_divisor(s->scatter, o->key_count) != 1) {
        s->scatter++;
    }
    s->left_count = UINT64_MAX;
    if (o->request_count_max) {
        uint64_t share = o->request_count_max / o->thread_count;
        s->left_count = share + (thread_index < o->request_count_max % o->thread_count);
    }
}

bool source_draw(struct source *s) {
    s->left_count--;
    double share = s->options->set_share;
    return share > 0 && (share >= 1 || rng_unit(&s->rng) < share);
}

uint64_t source_key(struct source *s) {
    const struct options *o = s->options;
    uint64_t index = 0;
    switch (o->popularity) {
    case POPULARITY_UNIFORM: index = rng_below(&s->rng, o->key_count); break;
    case POPULARITY_ZIPF: {
        unsigned __int128 scattered = zipf_next(&s->zipf, &s->rng) - 1;
        index = (uint64_t)(scattered * s->scatter % o->key_count);
        break;
    }
    case POPULARITY_SEQUENTIAL:
        if (s->next_index >= o->key_count) {
            s->next_index %= s->index_step;
        }
        index = s->next_index % o->key_count;
        s->next_index += s->index_step;
        break;
    case POPULARITY_REPLAY: index = trace_id(&o->trace, s->next_index++); break;
    }
    return o->key_first + index;
}
