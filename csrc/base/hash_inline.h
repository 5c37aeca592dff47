// The key hash: seeded XXH3 over the key bytes, one 64-bit number for bucket and tag.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>

// Without the seed nobody can choose keys that meet in one bucket.
static inline uint64_t hash_key(const char *key, size_t key_bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(key, key_bytes, seed);
}
