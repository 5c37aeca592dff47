/* Merging latency histograms and reading quantiles from them. */
#include "histogram.h"

void histogram_add(struct histogram *into, const struct histogram *from) {
    for (uint32_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        into->counts[i] += from->counts[i];
    }
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    if (from->max_ns > into->max_ns) {
        into->max_ns = from->max_ns;
    }
}

static uint64_t bucket_upper_edge(uint32_t bucket) {
    const uint32_t steps = 1u << HISTOGRAM_STEP_BITS;
    if (bucket < 2 * steps) {
        return bucket;
    }
    uint32_t shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t low = (uint64_t)(bucket - (shift << HISTOGRAM_STEP_BITS)) << shift;
    return low + (1ull << shift) - 1;
}

uint64_t histogram_quantile(const struct histogram *h, double share) {
    if (h->count == 0) {
        return 0;
    }
    double exact = share * (double)h->count;
    uint64_t wanted = (uint64_t)exact;
    if ((double)wanted < exact) {
        wanted++; /* the smallest rank that covers the share */
    }
    if (wanted == 0) {
        wanted = 1;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        seen += h->counts[i];
        if (seen < wanted) {
            continue;
        }
        uint64_t edge = bucket_upper_edge(i);
        return edge < h->max_ns ? edge : h->max_ns;
    }
    return h->max_ns;
}

double histogram_mean(const struct histogram *h) {
    return h->count ? h->sum_ns / (double)h->count : 0;
}
