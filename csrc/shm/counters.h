// Names of the per-process counters, for whoever sums and prints them.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/arena.h"

// How many counters there are; indexes run from 0 to counter_count() - 1.
uint32_t counter_count(void);

// The name of one counter, as in `stats` where such a key exists; NULL when index is out of range.
const char *counter_name(uint32_t index);

// True for values that go up and down (gauges); `stats reset` leaves them alone.
bool counter_is_gauge(uint32_t index);

// Copies one process slot's counters into values[counter_count()]. Each value is current, not the
// set as a whole.
void counters_read(const struct arena *arena, uint32_t slot_index, uint64_t *values);

// Adds to a counter in somebody else's slot. For the supervisor, which has no slot, and for
// counters that nobody else writes: connections_rescued and watchdog_kills.
void counters_add(struct arena *arena, uint32_t slot_index, uint32_t counter_index, uint64_t by);
