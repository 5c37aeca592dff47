// What is counted: the rows of all rooms' counters.def, and the counters of one process.
#pragma once

#include <stdint.h>

#include "shm/arena.h"
#include "shm/proc.h"

// What becomes of a counter: see README.md.
enum meter_kind { METER_COUNTER, METER_GAUGE, METER_PROCESS_GAUGE, METER_PEAK };

// One row of a counters.def. All texts live as long as the program.
struct meter_row {
    const char *name;
    const char *unit;     // What one of it is, in the plural: "bytes", "items".
    const char *shown;    // Reports that have a line of it, by blanks; "part" stands for a sum.
    const char *help;     // One sentence.
    enum meter_kind kind;
};

// How many counters a process has; their numbers run from 0 to one less.
uint32_t meter_count(void);
// The row of a counter; NULL when there is no such number.
const struct meter_row *meter_row(uint32_t number);

// The same for the counters that a process has for each slab class.
uint32_t meter_class_count(void);
const struct meter_row *meter_class_row(uint32_t number);

// Copies one process slot's counters into values[meter_count()]. Each value is current, not the set
// as a whole. Requires: slot_index < slots. No lock.
void meter_read(const struct arena *arena, uint32_t slot_index, uint64_t *values);

// Sets those of values[meter_count()] that are peaks to the highest of all slots. No lock.
void meter_read_peaks(const struct arena *arena, uint64_t *values);

// Adds to one of this process's counters, for what is counted outside C. Requires: number <
// meter_count().
void meter_add(struct proc *proc, uint32_t number, uint64_t by);

// Adds to a counter in somebody else's slot. For the supervisor, which has no slot, and for
// counters that nobody else writes: connections_rescued and watchdog_kills.
void meter_add_for(struct arena *arena, uint32_t slot_index, uint32_t number, uint64_t by);

// Sets what has gone with a dead process to 0. Requires: the caller repairs after the owner of the
// slot. Crash: it is done over again by the next one who repairs.
void meter_end_process(struct arena *arena, uint32_t slot_index);
