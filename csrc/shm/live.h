// Settings in the arena: one 64-bit number each, so a change acts on all processes at once. Which
// settings there are, and what they mean, the table in pymc/config says.
#pragma once

#include <stdint.h>

#include "shm/arena.h"

// How many live settings there are; indexes run from 0.
uint32_t live_count(void);

// The setting's name, NULL when index is out of range. Fractions end in _millionths.
const char *live_name(uint32_t index);

// Requires: index < live_count(). Own synchronization: one atomic word.
int64_t live_read(const struct arena *arena, uint32_t index);
void live_write(struct arena *arena, uint32_t index, int64_t value);
