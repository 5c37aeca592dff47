// Waiting for a lock word: spin, yield, sleep, and look whether the owner still lives.
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
