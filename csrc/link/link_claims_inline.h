// Claims: what keeps an item's memory that is no longer, or not yet, in the index: pins of readers,
// half-made items, and limbo, where unlinked items wait for their last reader.
#pragma once

#include "link/link_find_inline.h"

// Claims: what keeps an item's memory that is no longer, or not yet, in the index. A process's pins
// are its readers', one for each item, shared by all of its replies that send it; its claims MAKING
// are half-made items. Either ends with the process. Sizes per process for so many connections (0:
// as many as are usual).
uint32_t link_pin_groups_for(uint32_t connections_max);
uint32_t link_makings_for(uint32_t connections_max);
// What the handle knows of its claims. link_claims_begin() makes all claims MAKING free, once
// link_txn_reclaim() has freed what they had.
MUST_CHECK int link_claims_open(struct store *store);
void link_claims_begin(struct store *store);
void link_claims_close(struct store *store);

// No claim MAKING is free; or, from link_pin(), the item changed meanwhile.
#define LINK_NO_CLAIM UINT32_MAX
// Both groups in which the item's pin could be are full.
#define LINK_NO_PIN (UINT32_MAX - 1)
// Moves the item in hand to a claim MAKING; it stays in hand when there is none. Crash: the one or
// the other has it.
uint32_t link_claim_hand(struct store *store);
// Notes that a claim MAKING whose word is 0 may be used again.
void link_claim_is_free(struct store *store, uint32_t claim);
// One more reader has the item. Returns its pin, or LINK_NO_PIN. Others see it from here on, after
// a full fence.
uint32_t link_pin_take(struct store *store, uint32_t ref);
// One reader less.
void link_pin_give(struct store *store, uint32_t pin);
// Ends the pins of this process's dead predecessor.
void link_pins_forget(struct store *store);
// Whether any process has the item pinned.
bool link_is_pinned(const struct store *store, uint32_t ref);
// For store_check(): aborts on a contradiction in a slot's pins. Returns how many there are.
uint32_t link_pins_check(const struct store *store, uint32_t slot_index);
static inline bool link_is_in_limbo(const struct item *item) {
    return (item_state_of(item) & (ITEM_LINKED | ITEM_LIMBO)) == ITEM_LIMBO;
}

// Whether a value that could be copied may be pinned as well: these have a quarter of the pins.
static inline bool link_may_pin_small(const struct store *store) {
    return store->local->pins_used < store->claims->pins_max / 4;
}

// Half of the pins are in use: each reply may have a few from here on, so that there are some for
// every connection.
static inline bool link_pins_are_tight(const struct store *store) {
    return store->local->pins_used > store->claims->pins_max / 2;
}

// Less than a quarter of them is left.
static inline bool link_pins_are_scarce(const struct store *store) {
    return store->local->pins_used > store->claims->pins_max / 4 * 3;
}

// What unlinked items take that readers keep from being freed.
static inline uint64_t link_limbo_bytes(const struct store *store) {
    return SHARED_LOAD(store->root->limbo_bytes);
}

// Whether an item that is pinned is no longer in the index.
static inline bool link_is_unlinked(const struct store *store, uint32_t ref) {
    return !(item_state_of(link_item(store, ref)) & ITEM_LINKED);
}

// Puts the item of the armed FREE into limbo and disarms. Returns false when nobody pins it (any
// more). Locks: LOCK_LIMBO.
bool link_limbo_put(struct store *store, uint32_t ref);
// What a dead slot did under limbo's lock: the list is made sound, and has what can be reached from
// its head; then the lock is freed. Requires: its transaction is repaired.
void link_limbo_repair(struct store *store, struct proc *self, uint32_t dead_slot_index);

// Pins the viewed item so that its memory stays what it is until link_unpin(), once for each
// link_pin(). Returns the pin, LINK_NO_CLAIM when the item changed meanwhile, LINK_NO_PIN when
// there is none. Crash: it goes with the process.
uint32_t link_pin(struct store *store, const struct link_view *view);
// The last reader of an item that was unlinked meanwhile frees it. Locks: LOCK_LIMBO then.
// Requires: nothing in hand, no transaction armed. Crash: the pin goes with the process; the item
// is in limbo until the keeper comes by.
void link_unpin(struct store *store, uint32_t pin);
