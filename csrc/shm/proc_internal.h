// Slots, for the files of this room.
#pragma once

#include "shm/proc_inline.h"

// In `waits_for`: a count of naps above the slot number + 1 of the lock's owner.
#define PROC_WAITS_SHIFT 16

// Formats the slots; called once by arena_create().
int slots_create(struct arena *arena, uint32_t slots);
