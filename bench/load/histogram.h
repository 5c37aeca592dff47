/* Latency histogram: logarithmic buckets with linear steps inside, relative error below 0.8 %. */
#pragma once

#include "base.h"

enum {
    HISTOGRAM_STEP_BITS = 7, /* 128 steps per doubling */
    HISTOGRAM_BUCKET_COUNT = (64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKET_COUNT];
    uint64_t count;
    uint64_t max_ns;
    double sum_ns;
};

static inline uint32_t histogram_bucket(uint64_t value_ns) {
    if (value_ns < (1u << HISTOGRAM_STEP_BITS)) {
        return (uint32_t)value_ns;
    }
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value_ns) - HISTOGRAM_STEP_BITS;
    /* value_ns >> shift lies in [128, 256), so each shift gets a block of 128 buckets of its own.
     */
    return (shift << HISTOGRAM_STEP_BITS) + (uint32_t)(value_ns >> shift);
}

static inline void histogram_record(struct histogram *h, uint64_t value_ns) {
    h->counts[histogram_bucket(value_ns)]++;
    h->count++;
    h->sum_ns += (double)value_ns;
    if (value_ns > h->max_ns) {
        h->max_ns = value_ns;
    }
}

void histogram_add(struct histogram *into, const struct histogram *from);

/* The latency in ns that a `share` (0..1) of all samples does not exceed; the upper edge of its
 * bucket, never more than the largest sample. 0 when there are no samples. */
uint64_t histogram_quantile(const struct histogram *h, double share);

double histogram_mean(const struct histogram *h);
