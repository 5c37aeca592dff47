// The key hash as a function, for tests and tools; the core itself uses the inline form.
#pragma once

#include <stddef.h>
#include <stdint.h>

// XXH3 64 of `key_bytes` bytes at `key`; an arena's seed is in its options.
uint64_t hash_of(const char *key, size_t key_bytes, uint64_t seed);
