// The probation queues (HOT) and the ghost: what came last by slab class, what went last.
//
// A queue holds references to the newest items of a class in order of insertion. An item that was
// read by the time it reaches the queue's end stays; one that was not is the next victim. Items
// past probation have no queue at all: the eviction hand walks their chunks, and a hit is one bit
// in the item. Entries are hints: an entry may name a chunk that was freed or used again since, so
// whoever takes one looks at the item. Losing entries costs nothing but order.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/arena.h"
#include "shm/proc.h"

struct lru;

// Adds the newest item. A queue at its cap forgets its oldest entries; where no segment is free the
// queue forgets its oldest segment, or this entry. Locks: the caller holds LOCK_CLASS of the class;
// takes LOCK_LEAF for a moment. Crash: the repair of the class empties its queue.
void lru_push_locked(struct lru *lru, uint32_t class_id, uint32_t ref);

// Removes and returns the oldest entry, 0 when the queue is empty. Locks and crash: as
// lru_push_locked().
uint32_t lru_pop_locked(struct lru *lru, uint32_t class_id);

// Forgets the whole queue; none of its segments stays with the class. Locks and crash: as
// lru_push_locked().
void lru_clear_locked(struct lru *lru, uint32_t class_id);

// Says how many entries the queue may have (0: as many as there is room for), and forgets the
// oldest ones above that, a bounded number at a time. Returns true when the queue is within its
// cap. Locks and crash: as lru_push_locked().
bool lru_set_cap_locked(struct lru *lru, uint32_t class_id, uint64_t entries);
uint64_t lru_cap(const struct lru *lru, uint32_t class_id);

// How many entries the queue has, and the oldest of them without removing it, 0 for none. No lock:
// hints.
uint64_t lru_length(const struct lru *lru, uint32_t class_id);
uint32_t lru_oldest(const struct lru *lru, uint32_t class_id);

// The share of a class that probation has begins at what is set and follows what is missed. It
// stays within these bounds, or goes as far as the setting where that lies outside of them.
#define LRU_SHARE_LEAST_PERCENT 5
#define LRU_SHARE_MOST_PERCENT 30

// How many entries may stay on probation when something has to go, of a class with `slots` chunks.
// No lock.
uint64_t lru_target(const struct lru *lru, uint32_t class_id, uint64_t slots,
                    uint32_t start_percent);
// Moves the target by so many quarters of an entry: up when a key that was evicted from probation a
// moment ago comes back, down when an item past probation was saved by its last read. What is kept
// is the share, so that it stays when the class gets or loses pages. Any process, no lock: of two
// moves at once one may be lost. Crash: moved or not. Requires: slots > 0.
void lru_adapt(struct lru *lru, uint32_t class_id, int32_t quarters, uint64_t slots,
               uint32_t start_percent);

// A place in a queue for lru_peek(). Zero it to begin at the oldest entry; add to `position` to go
// on.
struct lru_place {
    uint64_t position;    // Counted in entries ever pushed.
    uint32_t segment;     // Where that entry stands, a hint.
};

// Copies up to `count` entries from the place on, as far as `ahead` entries from the oldest;
// returns how many. A place outside of that range goes to the oldest entry first. No lock: entries
// may be gone or changed meanwhile, and the reader has to look at what they name; the memory is
// there in any case.
uint32_t lru_peek(const struct lru *lru, uint32_t class_id, struct lru_place *place, uint64_t ahead,
                  uint32_t *refs, uint32_t count);

// Memory of the room, in bytes: touched and not given back, queues and ghost together.
uint64_t lru_bytes(const struct lru *lru);

// Looks at the next part of the area and gives memory without entries back to the system. Returns
// true while there is more to look at. For one process, the keeper. Locks: LOCK_LEAF. Crash: what
// was not given back yet stays counted.
bool lru_release_step(struct lru *lru);

// The ghost: fingerprints of keys evicted not long ago, so that a key that comes back soon is
// known.
//
// It has GHOST_WAYS / 8 places per item held; a new fingerprint takes the oldest place of its set.
// Nobody locks: two writers at once may lose a fingerprint. A false "yes" happens as often as a set
// has places, divided by the fingerprints there are: see GHOST_WAYS and GHOST_BITS.
#define GHOST_BITS 9
#define GHOST_WAYS 7

// Brings the key's set nearer, for who will note or look soon.
void ghost_prefetch(const struct lru *lru, uint64_t hash);
// Notes an evicted key. Does nothing while the ghost has no size.
void ghost_note(struct lru *lru, uint64_t hash);
// Whether the key was evicted lately: 0 for no, else its rank among the noted keys of its set, 1
// for the newest: that one went a seventh of the ghost ago or less. ghost_take() also forgets it.
uint32_t ghost_has(const struct lru *lru, uint64_t hash);
uint32_t ghost_take(struct lru *lru, uint64_t hash);

// Chooses the size for so many items held when there is none yet: for whoever evicts. Any process,
// no lock.
void ghost_begin(struct lru *lru, uint64_t items);
// Follows the number of items when that has changed by more than a quarter (all that was noted is
// forgotten then), and gives back memory that is not used any more. For one process, the keeper.
// Crash: the next call does the rest.
void ghost_fit(struct lru *lru, uint64_t items);
// Forgets everything; the keeper's next ghost_fit() gives the memory back. Any process, no lock.
void ghost_empty(struct lru *lru);
// Memory of the ghost in bytes, as far as it may have been touched.
uint64_t ghost_bytes(const struct lru *lru);
