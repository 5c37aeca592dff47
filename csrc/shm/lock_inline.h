// Lock words: 16 bits name the owner, 48 bits count the changes made under the lock, so readers can
// do without it.
#pragma once

#include "shm/lock.h"
#include "shm/proc_inline.h"

// The one lock order: a process takes locks only in rising rank. Debug builds check every acquire.
enum lock_rank {
    LOCK_TURN = 1,
    LOCK_TURN_OTHER = 2,
    LOCK_GROW = 5,
    LOCK_BUCKET = 10,
    LOCK_SPLIT = 11,
    LOCK_FLASH_GROW = 12,
    LOCK_FLASH = 13,
    LOCK_FLASH_SPLIT = 14,
    LOCK_LIMBO = 15,
    LOCK_CLASS = 20,
    LOCK_PAGES = 30,
    LOCK_LEAF = 40
};

#define LOCK_OWNER_MASK 0xffffull
#define LOCK_VERSION_STEP 0x10000ull

static inline bool lock_is_held(uint64_t word) {
    return (word & LOCK_OWNER_MASK) != 0;
}

static inline uint64_t lock_owner_bits(const struct proc *proc) {
    return proc->slot_index + 1u;
}

static inline void lock_note_rank(struct proc *proc, enum lock_rank rank) {
#ifdef PYMC_DEBUG
    PYMC_CHECK(proc->held_count == 0 || proc->held_ranks[proc->held_count - 1] < rank);
    PYMC_CHECK(proc->held_count < PROC_HELD_MAX);
    proc->held_ranks[proc->held_count++] = (uint8_t)rank;
#else
    (void)proc, (void)rank;
#endif
}

static inline bool lock_try(struct proc *proc, uint64_t *word, enum lock_rank rank) {
    uint64_t seen = SHARED_LOAD(*word);
    // Released too: what names the lock for a repairer must not be stored after it is taken.
    if (lock_is_held(seen) || !SHARED_CAS(*word, &seen, seen | lock_owner_bits(proc), ACQ_REL)) {
        return false;
    }
    // Stores made under the lock must not be seen before the owner bits that warn readers.
    __atomic_thread_fence(__ATOMIC_RELEASE);
    lock_note_rank(proc, rank);
    return true;
}

static inline void lock_take(struct proc *proc, uint64_t *word, enum lock_rank rank) {
    if (UNLIKELY(!lock_try(proc, word, rank))) {
        lock_take_slowly(proc, word, rank, LOCK_ROUNDS_UNLIMITED);
    }
}

// The same with an end: false when the lock was not to be had within `rounds_left` rounds (lock.h),
// for callers that have something else to do meanwhile. Nothing is held then.
static inline bool lock_take_bounded(struct proc *proc, uint64_t *word, enum lock_rank rank,
                                     uint32_t rounds_left) {
    return LIKELY(lock_try(proc, word, rank)) || lock_take_slowly(proc, word, rank, rounds_left);
}

// How long to wait where that is not for ever: while the process avoids waiting
// (proc_avoid_waiting()) it only spins and looks once whether the owner lives.
#define LOCK_ROUNDS_SHORT 2
static inline uint32_t lock_rounds_max(const struct proc *proc) {
    return proc->avoids_waiting ? LOCK_ROUNDS_SHORT : LOCK_ROUNDS_DEFAULT;
}

// Releases; `changed` says whether readers who saw the old version must look again.
static inline void lock_give(struct proc *proc, uint64_t *word, bool changed) {
    uint64_t held = SHARED_LOAD(*word);
    PYMC_DEBUG_CHECK((held & LOCK_OWNER_MASK) == lock_owner_bits(proc));
#ifdef PYMC_DEBUG
    PYMC_CHECK(proc->held_count > 0);
    proc->held_count--;
#endif
    SHARED_RELEASE(*word, (held & ~LOCK_OWNER_MASK) + (changed ? LOCK_VERSION_STEP : 0));
}

// True when the word is held by the given (dead) slot.
static inline bool lock_is_held_by(const uint64_t *word, uint32_t slot_index) {
    return (SHARED_LOAD(*word) & LOCK_OWNER_MASK) == slot_index + 1u;
}

// Frees a dead owner's lock after its data is repaired; readers always look again.
static inline void lock_free_dead(uint64_t *word) {
    SHARED_RELEASE(*word, (SHARED_LOAD(*word) & ~LOCK_OWNER_MASK) + LOCK_VERSION_STEP);
}

// The lock words of records that nobody needs any more, [first, end) of a table whose records begin
// with their words. Who still has an old record's number takes its word for an instant before it
// notices; a word that is held must not become a zero, so all of them are taken before their memory
// goes back. Such holders take no further lock and are not waited for, so the order of locks does
// not matter here.
struct lock_range {
    char *base;
    uint64_t record_bytes;
    uint64_t first;
    uint64_t end;
};
// Takes them all; *highest_out becomes at least the highest version met. Returns false, with none
// taken, when one is held. Crash: the words stay held; name the range before, for
// lock_range_drop().
bool lock_range_take(const struct proc *proc, const struct lock_range *range,
                     uint64_t *highest_out);
// Frees those that the slot's owner holds, with new versions.
void lock_range_drop(const struct lock_range *range, uint32_t slot_index);
