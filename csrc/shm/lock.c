// Waiting for a lock word: spin, yield, sleep, look whether the owner still lives. Ranges of words.
#include <sched.h>
#include <time.h>

#include "shm/lock_inline.h"

#define SPINS 200
#define YIELDS 20

void lock_wait(struct proc *proc, const uint64_t *word) {
    count(proc, COUNTER_lock_waits, 1);
    for (int i = 0; i < SPINS; i++) {
        if (!lock_is_held(SHARED_LOAD(*word))) {
            return;
        }
        __builtin_ia32_pause();
    }
    for (uint32_t rounds = 0;; rounds++) {
        uint64_t seen = SHARED_LOAD(*word);
        if (!lock_is_held(seen)) {
            return;
        }
        uint32_t owner = (uint32_t)(seen & LOCK_OWNER_MASK) - 1;
        PYMC_CHECK(owner < proc->arena->header->slots);
        if (owner != proc->slot_index) {
            proc_repair_if_dead(proc, owner);
        }
        if (rounds < YIELDS) {
            sched_yield();
        } else {
            // Under SCHED_FIFO a yield never lets a lower priority run; the owner may have one.
            struct timespec nap = {.tv_nsec = 50000};
            nanosleep(&nap, NULL);
        }
    }
}

static uint64_t *range_word(const struct lock_range *range, uint64_t number) {
    return (uint64_t *)(range->base + number * range->record_bytes);
}

bool lock_range_take(const struct proc *proc, const struct lock_range *range, uint64_t *highest_out) {
    for (uint64_t i = range->first; i < range->end; i++) {
        uint64_t *word = range_word(range, i);
        uint64_t seen = SHARED_LOAD(*word);
        if (lock_is_held(seen)
            || !__atomic_compare_exchange_n(word, &seen, seen | lock_owner_bits(proc), false, __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED)) {
            lock_range_drop(range, proc->slot_index);
            return false;
        }
        *highest_out = seen > *highest_out ? seen : *highest_out;
    }
    return true;
}

void lock_range_drop(const struct lock_range *range, uint32_t slot_index) {
    for (uint64_t i = range->first; i < range->end; i++) {
        uint64_t *word = range_word(range, i);
        if (lock_is_held_by(word, slot_index)) {
            lock_free_dead(word);
        }
    }
}
