// Steps on chains, overflow buckets and memory that goes back, for the files of this room.
#pragma once

#include "index/index_inline.h"

// However many buckets there were at the start, few entries need no more than these.
#define INDEX_BUCKETS_MIN 8192
#define INDEX_BUCKETS_PER_PAGE (ARENA_SYSTEM_PAGE_BYTES / (uint32_t)sizeof(struct bucket))

// The number of buckets that fill the system pages of the first `count`.
static inline uint32_t index_page_end(uint32_t count) {
    return (count + INDEX_BUCKETS_PER_PAGE - 1) / INDEX_BUCKETS_PER_PAGE * INDEX_BUCKETS_PER_PAGE;
}

// Takes an overflow bucket into local->overflow_taken; returns its number + 1, 0 when there is
// none.
uint32_t index_overflow_take(struct index *index, struct proc *proc);
// Frees the overflow bucket in local->overflow_taken, the process's own hand or a dead one's.
void index_overflow_give(struct index *index, struct proc *proc, struct index_local *local);
// Repairs and frees the lock of the overflow buckets, if it is the dead process's.
void index_overflow_repair(struct index *index, uint32_t dead_slot_index);
// Gives memory beyond the last overflow bucket in use back; true when there was some.
bool index_overflow_release(struct index *index, struct proc *proc);

// Steps on locked chains.
uint32_t index_free_slots(const struct bucket *bucket);
void index_put(struct bucket *bucket, uint32_t slot, uint8_t tag, uint32_t ref);
// Empties a bucket but for its word.
void index_bucket_clear(struct bucket *bucket);
// Unhangs and frees the last overflow bucket of the chain while it is empty.
void index_trim_chain(struct index *index, struct proc *proc, struct bucket *home);
// Removes from a chain what belongs into bucket `to`.
void index_remove_moved(struct index *index, struct bucket *from, uint32_t to);
// Frees the chain of a bucket nobody can reach, by way of `hand`, and empties it.
void index_clear_unreachable(struct index *index, struct proc *proc, struct bucket *bucket,
                             struct index_local *hand);
// Frees the words that a dead process took to give their memory back.
void index_release_repair(struct index *index, uint32_t dead_slot_index);

// The stores that hang a prepared overflow bucket behind a full one; a repairer may run them again.
void index_chain_commit(struct bucket *bucket, uint32_t overflow);
