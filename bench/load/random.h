/* Seeded randomness: a small generator and exact Zipf ranks over any number of keys. */
#pragma once

#include "base.h"

struct rng {
    uint64_t state;
};

static inline void rng_seed(struct rng *r, uint64_t seed) {
    r->state = mix64(seed);
}

static inline uint64_t rng_next(struct rng *r) {
    r->state += 0x9e3779b97f4a7c15ull;
    return mix64(r->state);
}

/* Uniform in [0, bound); the bias of the multiplication is below bound / 2^64. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound) {
    return (uint64_t)(((unsigned __int128)rng_next(r) * bound) >> 64);
}

/* Uniform in [0, 1). */
static inline double rng_unit(struct rng *r) {
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* Constants of the rejection-inversion method (Hörmann, Derflinger 1996); needs no table. */
struct zipf {
    uint64_t count;
    double theta;
    double area_first; /* integral up to the first rank's right edge, minus its height */
    double area_last;
    double shortcut;
};

/* Ranks 1..count, probability proportional to rank^-theta. REQUIRES: count >= 1, theta >= 0. */
void zipf_setup(struct zipf *z, uint64_t count, double theta);

uint64_t zipf_next(const struct zipf *z, struct rng *r);
