// What the store's own files share.
#pragma once

#include "link/link_find_inline.h"
#include "store/store_maintain.h"

// An active item's time is renewed this often, or more often where items live a short time.
#define STORE_BUMP_SECONDS_MAX 60

// Repairs what a dead process left, takes no lock but leaf ones; gives nothing back yet.
void store_repair(void *context, struct proc *self, uint32_t dead_slot_index);
// A flush that is due, and the one before order numbers come round. At every wake-up.
void store_flush_turn(struct store *store);
