// Copies and compares of memory that another process may be changing: the caller checks a version
// word afterwards.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/fault_inline.h"

// ThreadSanitizer must see these reads as atomic, since the version check that makes them safe is
// invisible to it; every other build uses the plain, fast routines.
#ifdef __SANITIZE_THREAD__
static inline void racy_copy(void *to, const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        // The target may be a chunk that others still read and then drop.
        __atomic_store_n((uint8_t *)to + i,
                         __atomic_load_n((const uint8_t *)from + i, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    }
}
static inline bool racy_equal(const void *shared, const void *own, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (__atomic_load_n((const uint8_t *)shared + i, __ATOMIC_RELAXED)
            != ((const uint8_t *)own)[i]) {
            return false;
        }
    }
    return true;
}
// The writer's side of the same rule.
static inline void racy_write_bytes(void *to, const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        __atomic_store_n((uint8_t *)to + i, ((const uint8_t *)from)[i], __ATOMIC_RELAXED);
    }
}
#else
static inline void racy_copy(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
}
static inline bool racy_equal(const void *shared, const void *own, size_t bytes) {
    return memcmp(shared, own, bytes) == 0;
}
static inline void racy_write_bytes(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
}
#endif

// The writer's side, into shared memory: a fault point, as all such stores are.
#define racy_write(to, from, bytes) (FAULT_SITE(), racy_write_bytes((to), (from), (bytes)))
