// Slots: taking them, noticing that an owner died, repairing after it.
#include "shm/proc.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/lock_inline.h"
#include "shm/proc_internal.h"

int slots_create(struct arena *arena, uint32_t slots) {
    uint64_t offset = arena_reserve(arena, (uint64_t)slots * sizeof(struct slot), 64, "slots");
    if (offset == 0) {
        return PYMC_NO_MEMORY;
    }
    arena->header->slots_offset = offset;
    arena->header->slots = slots;
    arena->header->slot_bytes = sizeof(struct slot);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    for (uint32_t i = 0; i < slots; i++) {
        PYMC_CHECK(pthread_mutex_init(&slot_at(arena, i)->alive, &attributes) == 0);
    }
    pthread_mutexattr_destroy(&attributes);
    return PYMC_OK;
}

// Repairs with `alive` held in its owner-died state; afterwards the slot counts as free.
static void repair_held_slot(struct proc *proc, uint32_t slot_index) {
    struct slot *slot = slot_at(proc->arena, slot_index);
    if (proc->repair) {
        proc->repair(proc->repair_context, proc, slot_index);
    }
    for (int i = 0; i < ARENA_PLAIN_LOCKS && proc->arena->header->plain_locks[i]; i++) {
        uint64_t *word = (uint64_t *)(proc->base + proc->arena->header->plain_locks[i]);
        if (lock_is_held_by(word, slot_index)) {
            lock_free_dead(word);
        }
    }
    SHARED_STORE(slot->waits_for, 0);
    SHARED_STORE(slot->is_late, 0);
    SHARED_STORE(slot->pid, 0);
    SHARED_STORE(slot->role, PROC_FREE);
    PYMC_CHECK(pthread_mutex_consistent(&slot->alive) == 0);
}

bool proc_repair_if_dead(struct proc *proc, uint32_t slot_index) {
    PYMC_CHECK(slot_index < proc->arena->header->slots);
    struct slot *slot = slot_at(proc->arena, slot_index);
    int result = pthread_mutex_trylock(&slot->alive);
    if (result == EBUSY) {
        return false;
    }
    if (result == EOWNERDEAD) {
        count(proc, COUNTER_lock_recoveries, 1);
        repair_held_slot(proc, slot_index);
    } else {
        PYMC_CHECK(result == 0);
    }
    PYMC_CHECK(pthread_mutex_unlock(&slot->alive) == 0);
    return result == EOWNERDEAD;
}

// A repairer may hold the slot for a moment, hence the repeated tries; a living owner holds it for
// ever.
static int lock_alive(struct slot *slot) {
    int result = EBUSY;
    for (int tries = 0; tries < 2000 && result == EBUSY; tries++) {
        result = pthread_mutex_trylock(&slot->alive);
        if (result == EBUSY) {
            sched_yield();
        }
    }
    return result;
}

int proc_open(struct arena *arena, uint32_t slot_index, int role, proc_repair repair,
              void *repair_context, struct proc **proc_out) {
    if (slot_index >= arena->header->slots || role <= PROC_FREE || role > PROC_TOOL) {
        return PYMC_INVALID;
    }
    struct proc *proc = calloc(1, sizeof *proc);
    if (!proc) {
        return PYMC_NO_MEMORY;
    }
    struct slot *slot = slot_at(arena, slot_index);
    proc->base = arena->base;
    proc->arena = arena;
    proc->slot = slot;
    proc->slot_index = slot_index;
    proc->counters = slot->counters;
    proc->repair = repair;
    proc->repair_context = repair_context;
    int result = lock_alive(slot);
    if (result == EBUSY) {
        free(proc);
        return PYMC_BUSY;
    }
    PYMC_CHECK(result == 0 || result == EOWNERDEAD);
    if (result == EOWNERDEAD) {
        repair_held_slot(proc, slot_index);
        count(proc, COUNTER_lock_recoveries, 1);
    }
    SHARED_STORE(slot->is_late, 0);
    SHARED_STORE(slot->generation, slot->generation + 1);
    SHARED_STORE(slot->role, (uint32_t)role);
    SHARED_STORE(slot->pid, (uint32_t)getpid());
    *proc_out = proc;
    return PYMC_OK;
}

void proc_close(struct proc *proc) {
    if (!proc) {
        return;
    }
    PYMC_CHECK(proc->held_count == 0);
    SHARED_STORE(proc->slot->pid, 0);
    SHARED_STORE(proc->slot->role, PROC_FREE);
    PYMC_CHECK(pthread_mutex_unlock(&proc->slot->alive) == 0);
    free(proc);
}

uint32_t proc_slot_pid(const struct arena *arena, uint32_t slot_index) {
    return SHARED_LOAD(slot_at(arena, slot_index)->pid);
}

int proc_slot_role(const struct arena *arena, uint32_t slot_index) {
    return (int)SHARED_LOAD(slot_at(arena, slot_index)->role);
}

uint32_t proc_slot_generation(const struct arena *arena, uint32_t slot_index) {
    return SHARED_LOAD(slot_at(arena, slot_index)->generation);
}

void proc_beat(struct proc *proc) {
    SHARED_STORE(proc->slot->beats, proc->slot->beats + 1);
}

void proc_read_pulse(const struct arena *arena, uint32_t slot_index, struct proc_pulse *out) {
    PYMC_CHECK(slot_index < arena->header->slots);
    const struct slot *slot = slot_at(arena, slot_index);
    uint64_t waits = SHARED_LOAD(slot->waits_for);
    *out = (struct proc_pulse){.pid = SHARED_LOAD(slot->pid),
                               .is_late = SHARED_LOAD(slot->is_late),
                               .beats = SHARED_LOAD(slot->beats),
                               .waits_for =
                                   (uint32_t)(waits & (((uint64_t)1 << PROC_WAITS_SHIFT) - 1)) - 1,
                               .naps = waits >> PROC_WAITS_SHIFT,
                               .waited_us = SHARED_LOAD(slot->waited_us)};
}

void proc_set_late(struct arena *arena, uint32_t slot_index, bool is_late) {
    PYMC_CHECK(slot_index < arena->header->slots);
    SHARED_STORE(slot_at(arena, slot_index)->is_late, is_late);
}

void proc_set_now(struct proc *proc, uint32_t now_seconds) {
    proc->now_seconds = now_seconds;
}

void proc_avoid_waiting(struct proc *proc, bool avoids_waiting) {
    proc->avoids_waiting = avoids_waiting;
}

void proc_arm_fault(struct proc *proc, const char *name, uint32_t countdown) {
    fault_arm(name, countdown, proc, NULL);
}
