// Taking an item out of memory, counted for what it is.
#pragma once

#include "link/link_lock_inline.h"

// Frees at least one chunk of the class (they come to the process's magazine). Requires: no lock
// held.
bool space_evict(struct store *store, uint32_t class_id);
// Counts and evicts a live item, which gets its copy on flash first if it may; unlocks it. Crash:
// as link_evict_and_unlock().
void space_evict_counted(struct store *store, struct link_locked *locked);
// Counts a dead item as reclaimed and frees it; unlocks it. Crash: as link_unlink_and_unlock().
void space_remove_dead_locked(struct store *store, struct link_locked *locked);
