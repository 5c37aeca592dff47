// Waiting for a lock word: spin, yield, sleep, look whether the owner still lives. Ranges of words.
#include <sched.h>
#include <time.h>

#include "shm/lock_inline.h"
#include "shm/proc_internal.h"

#define SPINS 200

// What the watchdog reads: that this process waits, for whom, and that it still does.
static void note_nap(struct proc *proc, uint32_t owner, uint32_t nap_us) {
    proc->naps++;
    SHARED_STORE(proc->slot->waits_for, (uint64_t)proc->naps << PROC_WAITS_SHIFT | (owner + 1));
    SHARED_ADD(slot_at(proc->arena, owner)->waited_us, nap_us, RELAXED);
}

// Who gives up without a nap has others to serve, and will come again: that is waiting too.
static void note_put_off(struct proc *proc, const uint64_t *word) {
    uint64_t seen = SHARED_LOAD(*word);
    if (lock_is_held(seen)) {
        struct slot *owner = slot_at(proc->arena, (uint32_t)(seen & LOCK_OWNER_MASK) - 1);
        SHARED_ADD(owner->waited_us, LOCK_NAP_US, RELAXED);
    }
}

// Short ones for LOCK_ROUNDS_DEFAULT rounds, then longer and longer.
static uint32_t nap_us_of(uint32_t nap) {
    uint32_t doublings = nap / (LOCK_ROUNDS_DEFAULT - LOCK_YIELDS);
    uint32_t us = doublings < 8 ? (uint32_t)LOCK_NAP_US << doublings : LOCK_NAP_US_MAX;
    return us < LOCK_NAP_US_MAX ? us : LOCK_NAP_US_MAX;
}

// The wait is over; `waited_us` is the sum of its naps, which lasted at least so long.
static void end_wait(struct proc *proc, uint64_t waited_us) {
    if (waited_us == 0) {
        return;
    }
    SHARED_STORE(proc->slot->waits_for, 0);
    if (waited_us > proc->counters[COUNTER_lock_longest_wait_us]) {
        SHARED_STORE(proc->counters[COUNTER_lock_longest_wait_us], waited_us);
    }
}

static bool spin(const uint64_t *word) {
    for (int i = 0; i < SPINS; i++) {
        if (!lock_is_held(SHARED_LOAD(*word))) {
            return true;
        }
        cpu_relax();
    }
    return false;
}

static void use_round(uint32_t *rounds_left) {
    *rounds_left -= *rounds_left > 0 && *rounds_left != LOCK_ROUNDS_UNLIMITED;
}

// One round after the spinning; returns how long it napped.
static uint32_t wait_round(struct proc *proc, uint32_t owner, uint32_t round) {
    PYMC_CHECK(owner < proc->arena->header->slots);
    if (owner != proc->slot_index) {
        proc_repair_if_dead(proc, owner);
    }
    if (round < LOCK_YIELDS) {
        sched_yield();
        return 0;
    }
    // Under SCHED_FIFO a yield never lets a lower priority run; the owner may have one.
    uint32_t nap_us = nap_us_of(round - LOCK_YIELDS);
    note_nap(proc, owner, nap_us);
    struct timespec nap = {.tv_nsec = (long)nap_us * 1000};
    nanosleep(&nap, NULL);
    return nap_us;
}

bool lock_wait_bounded(struct proc *proc, const uint64_t *word, uint32_t *rounds_left) {
    count(proc, COUNTER_lock_waits, 1);
    bool is_free = *rounds_left > 0 && spin(word);
    use_round(rounds_left);
    uint64_t waited_us = 0;
    for (uint32_t round = 0; !is_free && *rounds_left > 0; round += round < UINT32_MAX) {
        uint64_t seen = SHARED_LOAD(*word);
        is_free = !lock_is_held(seen);
        if (!is_free) {
            use_round(rounds_left);
            waited_us += wait_round(proc, (uint32_t)(seen & LOCK_OWNER_MASK) - 1, round);
        }
    }
    end_wait(proc, waited_us);
    if (!is_free && waited_us == 0) {
        note_put_off(proc, word);
    }
    count(proc, COUNTER_lock_gave_up, !is_free);
    return is_free;
}

void lock_wait(struct proc *proc, const uint64_t *word) {
    uint32_t endless = LOCK_ROUNDS_UNLIMITED;
    lock_wait_bounded(proc, word, &endless);
}

bool lock_take_slowly(struct proc *proc, uint64_t *word, int rank, uint32_t rounds_left) {
    while (!lock_try(proc, word, (enum lock_rank)rank)) {
        if (!lock_wait_bounded(proc, word, &rounds_left)) {
            return false;
        }
    }
    return true;
}

static uint64_t *range_word(const struct lock_range *range, uint64_t number) {
    return (uint64_t *)(range->base + number * range->record_bytes);
}

bool lock_range_take(const struct proc *proc, const struct lock_range *range,
                     uint64_t *highest_out) {
    for (uint64_t i = range->first; i < range->end; i++) {
        uint64_t *word = range_word(range, i);
        uint64_t seen = SHARED_LOAD(*word);
        if (lock_is_held(seen)
            || !SHARED_CAS(*word, &seen, seen | lock_owner_bits(proc), ACQ_REL)) {
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
