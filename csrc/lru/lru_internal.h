// The probation queue (HOT): per slab class a ring of references to the newest items, in order of insertion.
//
// An item on probation that was hit by the time it reaches the ring's end stays; one that was not is the next victim.
// Items past probation have no queue at all: the eviction hand walks their chunks, and a hit is one bit in the item.
// Entries are hints: an entry may name a chunk that was freed or reused since; whoever pops it looks at the item.
#pragma once

#include "shm/lock_inline.h"

#define LRU_CLASSES_MAX 256

// Under LOCK_CLASS of the class. A crash inside leaves at worst a few stale or missing hints.
struct lru_ring {
    uint64_t entries_offset;
    uint64_t capacity;          // Written once.
    uint64_t pushed;            // Entries ever pushed; the next one goes to pushed % capacity.
    uint64_t popped;
};

struct lru_root {
    struct lru_ring ring[LRU_CLASSES_MAX];
};

struct lru {
    char *arena_base;
    struct lru_root *root;
};

// Address space for rings of `capacity[i]` entries, i from 1 to classes.
uint64_t lru_reserve_bytes(const uint64_t *capacity, uint32_t classes);
MUST_CHECK int lru_create(struct arena *arena, const uint64_t *capacity, uint32_t classes);
void lru_attach(struct arena *arena, struct lru *lru);

static inline uint64_t lru_length(const struct lru *lru, uint32_t class_id) {
    const struct lru_ring *ring = &lru->root->ring[class_id];
    return SHARED_LOAD(ring->pushed) - SHARED_LOAD(ring->popped);
}
static inline uint32_t *lru_entry(const struct lru *lru, const struct lru_ring *ring, uint64_t position) {
    return (uint32_t *)(lru->arena_base + ring->entries_offset) + position % ring->capacity;
}

// Adds the newest item; a full ring forgets its oldest. Locks: the caller holds LOCK_CLASS.
static inline void lru_push_locked(struct lru *lru, uint32_t class_id, uint32_t ref) {
    struct lru_ring *ring = &lru->root->ring[class_id];
    if (ring->pushed - ring->popped >= ring->capacity) {
        SHARED_STORE(ring->popped, ring->pushed - ring->capacity + 1);
    }
    SHARED_STORE(*lru_entry(lru, ring, ring->pushed), ref);
    SHARED_STORE(ring->pushed, ring->pushed + 1);
}

// Removes and returns the oldest entry, 0 when the ring is empty. Locks: the caller holds LOCK_CLASS.
static inline uint32_t lru_pop_locked(struct lru *lru, uint32_t class_id) {
    struct lru_ring *ring = &lru->root->ring[class_id];
    if (ring->popped >= ring->pushed) {
        SHARED_STORE(ring->popped, ring->pushed);
        return 0;
    }
    uint32_t ref = *lru_entry(lru, ring, ring->popped);
    SHARED_STORE(ring->popped, ring->popped + 1);
    return ref;
}

// The oldest entry without removing it, 0 for none. No lock: a hint.
static inline uint32_t lru_oldest(const struct lru *lru, uint32_t class_id) {
    const struct lru_ring *ring = &lru->root->ring[class_id];
    uint64_t popped = SHARED_LOAD(ring->popped);
    return popped < SHARED_LOAD(ring->pushed) ? SHARED_LOAD(*lru_entry(lru, ring, popped)) : 0;
}
