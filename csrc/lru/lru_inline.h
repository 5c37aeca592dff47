// The handle of the queues, for the room above.
#pragma once

#include "lru/lru.h"
#include "shm/lock_inline.h"

struct lru_root;    // lru_internal.h
struct lru_link;

// Process-local handle: addresses only.
struct lru {
    struct lru_root *root;
    struct proc *proc;    // Whose handle it is; NULL until lru_enter().
    uint32_t *area;
    uint8_t *owner;
    struct lru_link *link;
    uint8_t *touched;    // One byte per group of segments: it may have memory.
    uint64_t *ghost;
};

struct lru_geometry {
    uint32_t classes;
    uint64_t items_max;    // As many items as the largest limit can hold.
};

// Address space for what the largest limit could need. It is touched only as it is used.
uint64_t lru_reserve_bytes(const struct lru_geometry *geometry);
MUST_CHECK int lru_create(struct arena *arena, const struct lru_geometry *geometry);
void lru_attach(struct arena *arena, struct lru *lru);
// From now on the handle works for this process.
void lru_enter(struct lru *lru, struct proc *proc);

// Sets right what a dead process left under the room's own lock, and frees that. Before
// lru_repair_class().
void lru_repair(struct lru *lru, uint32_t dead_slot_index);
// Empties the queue of a class whose lock a dead process holds; frees every segment that names the
// class. May be done again. Locks: LOCK_LEAF, as the process `self`.
void lru_repair_class(struct lru *lru, struct proc *self, uint32_t class_id);

// Walks all queues and tables; aborts on a contradiction. Requires: nobody else works in the arena.
void lru_check(const struct lru *lru);
