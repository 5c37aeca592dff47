// The key hash: XXH3 over the key bytes, one 64-bit number for bucket and tag.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>

static inline uint64_t hash_key(const char *key, size_t key_bytes) {
    return XXH3_64bits(key, key_bytes);
}
