// The key hash for callers outside the hot path.
#include "base/hash.h"

#include "base/hash_inline.h"

uint64_t hash_of(const char *key, size_t key_bytes, uint64_t seed) {
    return hash_key(key, key_bytes, seed);
}
