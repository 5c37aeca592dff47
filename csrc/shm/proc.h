// A process's place in the arena: its slot, its counters, proof that it lives, the repair of slots
// of the dead.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/arena.h"

// What a slot's owner does; shown by `stats pymc` and in process titles.
enum proc_role {
    PROC_FREE = 0,
    PROC_WORKER = 1,
    PROC_KEEPER = 2,
    PROC_SUPERVISOR = 3,
    PROC_TOOL = 4
};

struct proc;

// Called for a slot whose owner died, by one process at a time: must restore every invariant the
// dead process may have broken. May itself die at any instruction; it is then called again by
// somebody else.
typedef void (*proc_repair)(void *context, struct proc *self, uint32_t dead_slot_index);

// Takes a slot for the calling thread: from now on the kernel tells all others when this thread
// ends.
//
// Returns PYMC_BUSY when a living process holds it. A dead predecessor's state is repaired first.
// Requires: called in the process (after fork) and thread that will use the handle, and nowhere
// else. Owns: the caller, until proc_close(). Crash: waiters notice at once and call the repair
// function.
int proc_open(struct arena *arena, uint32_t slot_index, int role, proc_repair repair,
              void *repair_context, struct proc **proc_out);

// Gives the slot back in order; NULL is allowed. Requires: no lock held, nothing half done.
void proc_close(struct proc *proc);

// Repairs the slot when its owner is dead; returns true when there was something to repair. Safe to
// call at any time.
bool proc_repair_if_dead(struct proc *proc, uint32_t slot_index);

// The pid and role that hold a slot, 0 when it is free or its owner was found dead.
uint32_t proc_slot_pid(const struct arena *arena, uint32_t slot_index);
int proc_slot_role(const struct arena *arena, uint32_t slot_index);

// How often this slot was taken since the arena was made: restarts = generation - 1.
uint32_t proc_slot_generation(const struct arena *arena, uint32_t slot_index);

// Says that this process goes on: once for each turn or step of its loop. One store to its own
// slot.
void proc_beat(struct proc *proc);

// What tells a watchdog whether a slot's owner goes on, and what it hinders.
struct proc_pulse {
    uint32_t pid;    // 0 while nobody holds the slot.
    bool is_late;
    uint64_t beats;        // Calls of proc_beat() so far, over all owners.
    uint32_t waits_for;    // The slot that holds the lock its owner waits for; UINT32_MAX for none.
    uint64_t naps;         // Changes as long as it goes on waiting.
    uint64_t waited_us;    // How long others have waited for locks of this slot so far, naps only.
};
// Reads it; each value is current, not the set as a whole. Requires: slot_index < slots. No lock.
void proc_read_pulse(const struct arena *arena, uint32_t slot_index, struct proc_pulse *out);

// Marks a slot whose owner does not go on, so that no new work is sent there. For the supervisor; a
// new owner of the slot begins without the mark. One atomic word.
void proc_set_late(struct arena *arena, uint32_t slot_index, bool is_late);

// Sets the second that operations of this process take for the present.
void proc_set_now(struct proc *proc, uint32_t now_seconds);

// While it avoids waiting a process waits for a bucket that another holds no longer than a few
// microseconds: others wait for it. A word of this process alone.
void proc_avoid_waiting(struct proc *proc, bool avoids_waiting);

// Arms a fault point in this process (debug builds; elsewhere it does nothing).
void proc_arm_fault(struct proc *proc, const char *name, uint32_t countdown);
