// Entries of limbo's list taken out again, for who is the last reader or passes by.
#pragma once

#include "link/link_txn_inline.h"

// Takes a listed item out of limbo, into a FREE. Locks: the caller holds LOCK_LIMBO.
void link_limbo_take_out(struct store *store, uint32_t ref);
// Looks at some entries from `ref` on and takes the first that nobody pins into a FREE. Returns
// where to go on, 0 at the end; *looks goes down. Locks: the caller holds LOCK_LIMBO.
uint32_t link_limbo_look(struct store *store, uint32_t ref, uint32_t *looks);
