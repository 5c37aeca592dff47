// Chunks for items on their way: from a magazine, or from whatever can be evicted.
#pragma once

#include "link/link_lock_inline.h"

// Takes a chunk for `bytes` into the hand, evicting if need be, and returns it; 0 when there is no
// memory. Requires: the hand is empty, no transaction is armed, no lock held. Crash: as
// slab_take().
uint32_t space_take(struct store *store, uint32_t bytes);
// The same, and looks into limbo before it says no.
uint32_t space_take_room(struct store *store, uint32_t bytes);
// The same, sparing the item `needed_ref`, which the command is about to replace.
uint32_t space_take_beside(struct store *store, uint32_t needed_ref, uint32_t bytes);
// Ends a time in which `needed_ref` was spared instead of `before`: where both are the same item it
// may have moved.
static inline void space_need_again(struct store *store, uint32_t before, uint32_t needed_ref) {
    store->needed_ref = before == needed_ref ? store->needed_ref : before;
}

// Counts a refused store under its reason, and among all of them. Returns STORE_NO_MEMORY.
int space_refused(struct store *store, enum counter reason);
// So many pages there are under any limit: fewer would not let items of different sizes in.
#define SPACE_PAGES_MIN 2
// Sets how many pages items may have: what the memory limit leaves beside the indexes now. Takes
// nothing away by itself.
void space_update_pages_limit(struct store *store);
// What a process keeps for making room, as long as its handle is open. Returns PYMC_OK or
// PYMC_NO_MEMORY.
int space_room_open(struct store *store);
// Frees it; pages that it was emptying stay with their classes.
void space_room_close(struct store *store);
// Gives back a page that nobody has asked for lately.
void space_room_turn(struct store *store);
// A chain of the index could not take one more entry, and who wanted to link is put off
// (full_chain_hash): evicts the oldest item of that chain, which counts as an eviction and under
// chain_evictions. Requires: no lock held, no transaction armed, nothing in hand.
void space_make_chain_room(struct store *store);
