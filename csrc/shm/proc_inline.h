// Slots in shared memory and the process-local handle, for the rooms above.
#pragma once

#include <pthread.h>

#include "shm/arena_inline.h"
#include "shm/counters_inline.h"
#include "shm/proc.h"

#define PROC_HELD_MAX 8
// Room for the rows of all rooms, those above included: the meter checks that it is enough.
#define SLOT_COUNTERS_MAX 192

// One process's lines in the arena. Only the owner writes, except under `alive` after its death;
// the supervisor writes `is_late` and two counters, and who waits for the owner's locks adds to
// `waited_us`.
struct CACHE_ALIGNED slot {
    pthread_mutex_t alive;    // Robust: held for life; whoever gets EOWNERDEAD repairs while
                              // holding it.
    uint32_t pid;
    uint32_t role;
    uint32_t generation;
    uint32_t is_late;    // Nobody is to send work here: see proc_set_late().
    CACHE_ALIGNED uint64_t beats;
    uint64_t waits_for;    // 0 while the owner does not wait for a lock word.
    uint64_t waited_us;    // How long others napped for locks of this slot. Atomic add.
    CACHE_ALIGNED uint64_t counters[SLOT_COUNTERS_MAX];
};

struct proc {
    char *base;
    struct arena *arena;
    struct slot *slot;
    uint64_t *counters;
    uint32_t slot_index;
    uint32_t now_seconds;
    bool avoids_waiting;    // Does not wait for a lock that it can do without for now.
    uint32_t naps;          // While waiting for lock words; only its changes matter.
    proc_repair repair;
    void *repair_context;
    uint32_t held_count;    // Debug builds: ranks of the locks held, lowest first.
    uint8_t held_ranks[PROC_HELD_MAX];
};

static inline struct slot *slot_at(const struct arena *arena, uint32_t slot_index) {
    return (struct slot *)(arena->base + arena->header->slots_offset
                           + (uint64_t)slot_index * arena->header->slot_bytes);
}

// The owner is the only writer, so a plain load and an atomic store of one word are enough.
// `counter` is one of the enumeration in meter/meter_inline.h.
static inline void count(struct proc *proc, uint32_t counter, uint64_t by) {
    SHARED_STORE(proc->counters[counter], proc->counters[counter] + by);
}
