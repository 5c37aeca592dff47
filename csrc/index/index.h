// The hash index: from a key's hash to candidate references; grows bucket by bucket.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct index;

struct index_snapshot {
    uint32_t buckets;             // Home buckets in use.
    uint32_t overflow_buckets;    // Buckets chained behind full ones.
    uint64_t entries;             // Roughly: each process counts some by itself first.
    uint64_t bytes;               // Memory in use, counted against the cache's limit.
};

void index_read(const struct index *index, struct index_snapshot *out);
// How often a bucket has changed, counted on over the times when there is no such bucket: a number
// is never met twice. Takes no lock. Requires: number < buckets.
uint64_t index_version(const struct index *index, uint32_t number);
