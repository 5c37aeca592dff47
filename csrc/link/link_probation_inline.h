// Probation: where new items stand in their class's queue, and how long that queue may be.
#pragma once

#include "link/link_lock_inline.h"

// An item that was read so often is past probation at its end.
#define LINK_READS_PROVEN 1u
// How many entries may stay on probation when something has to go, and quarters of an entry by
// which that moves.
uint64_t link_probation_target(const struct store *store, uint32_t class_id);
void link_probation_adapt(struct store *store, uint32_t class_id, int32_t quarters);
// How many entries the class's probation queue may have, for the pages it has now.
uint64_t link_probation_cap(const struct store *store, uint32_t class_id);
// A new item is noted for probation; a hint, which a death may lose.
void link_note_for_probation(struct store *store, uint32_t new_ref);
// Puts the noted items of a class into its queue. Locks: LOCK_CLASS, taken or held by the caller.
void link_push_pending(struct store *store, uint32_t class_id);
void link_push_pending_locked(struct store *store, uint32_t class_id);
// Sets right the queues a dead process was changing. Requires: the class locks it holds are not
// freed yet.
void link_probation_repair(struct store *store, struct proc *self, uint32_t dead_slot_index);
