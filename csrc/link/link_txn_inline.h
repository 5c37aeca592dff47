// One process's transaction: the record from which a repairer knows what it did to an item, and
// what that frees.
//
// A transaction is filled plainly, armed by the store of its kind, decided by one store elsewhere,
// and disarmed by another store of its kind. While it is armed nothing in it changes, so whoever
// repairs sees what its owner meant, however often. Nobody but the verbs below stores to it, and
// nobody else chooses the order of the stores around the one that decides.
//
// csrc/README.md has the table of kinds: what arms and decides each, and what repair makes of it.
//
// `bucket`: the process holds the lock of the key's bucket from before it arms until after it
// disarms or goes on to FREE. `new` is the chunk in hand, but for a LINK with a claim, where it is
// the claim's item. `old` is 0 for a LINK of a new key: then what follows its decision ends in
// NONE.
//
// FREE is what every other kind ends in: it frees an item that nobody can find with all its parts,
// or one chunk, and is itself a transaction, so who repairs or frees may die and be followed. Each
// piece goes through the hand:
//   - the hand names the last part of `old`, or `old`, and FREE is armed: `old` still has it, the
//   hand lets go;
//   - limbo's lock is held and the list reaches `old`: it is the list's, FREE is disarmed (in and
//   out are the same);
//   - the hand names anything else: it is a chunk with no item in it.
// What is left in hand goes back to the magazine when the slot has its next owner, and so do items
// in claims MAKING.
#pragma once

#include "link/link_claims_inline.h"

// The kind, constant where it is called, decides what of this is compiled.
static inline bool link_txn_counts(enum link_txn_kind kind) {
    return kind == TXN_LINK || kind == TXN_UNLINK || kind == TXN_IN_PLACE;
}

// Notes what the counters will be, for the transaction that is armed next. Requires: none is armed.
static inline void link_txn_plan(struct store *store, const struct link_change *change) {
    const uint64_t *counters = store->proc->counters;
    struct link_txn *txn = &store->local->txn;
    PYMC_DEBUG_CHECK(txn->kind == TXN_NONE);
    SHARED_STORE(txn->after.items, counters[COUNTER_items] + change->items);
    SHARED_STORE(txn->after.bytes, counters[COUNTER_item_bytes] + change->bytes);
    SHARED_STORE(txn->after.flushed_items, counters[COUNTER_flushed_items] + change->flushed_items);
    SHARED_STORE(txn->after.flushed_bytes,
                 counters[COUNTER_flushed_item_bytes] + change->flushed_bytes);
}

// Arms a transaction. Requires: none is armed; for kinds that count, its counters are planned.
static inline void link_txn_arm(struct store *store, enum link_txn_kind kind,
                                struct link_txn_names names) {
    struct link_txn *txn = &store->local->txn;
    PYMC_DEBUG_CHECK(txn->kind == TXN_NONE);
    SHARED_STORE(txn->names.new_ref, names.new_ref);
    SHARED_STORE(txn->names.old_ref, names.old_ref);
    SHARED_STORE(txn->names.claim, names.claim);
    if (kind == TXN_MOVE_PART || kind == TXN_ADD_PART) {
        SHARED_STORE(txn->names.owner_ref, names.owner_ref);
        SHARED_STORE(txn->names.part, names.part);
    }
    if (kind == TXN_IN_PLACE) {
        SHARED_STORE(txn->lost_after, store->proc->counters[COUNTER_items_lost_to_recovery] + 1);
    }
    SHARED_DECIDE(txn->kind, kind);
    FAULT_POINT(store->proc, "store.txn.armed");
}

// Ends a transaction that was not decided: nothing has happened, and the hand or the claim has what
// it had.
static inline void link_txn_disarm(struct store *store) {
    SHARED_DECIDE(store->local->txn.kind, TXN_NONE);
    FAULT_POINT(store->proc, "store.txn.disarmed");
}

// What follows from the decision, up to FREE or NONE. Each step may be done again, so a repairer
// does the same for a dead slot as the living do for theirs.
static inline void link_txn_follow(struct store_local *local, uint32_t *makings,
                                   struct slab_local *slabs, struct slot *slot,
                                   enum link_txn_kind kind, struct proc *self) {
    const struct link_txn *txn = &local->txn;
    // Nothing of this may be seen before the decision, which need not have been a SHARED_DECIDE().
    SHARED_ORDER();
    if (link_txn_counts(kind)) {
        SHARED_STORE(slot->counters[COUNTER_items], txn->after.items);
        SHARED_STORE(slot->counters[COUNTER_item_bytes], txn->after.bytes);
        SHARED_STORE(slot->counters[COUNTER_flushed_items], txn->after.flushed_items);
        SHARED_STORE(slot->counters[COUNTER_flushed_item_bytes], txn->after.flushed_bytes);
    }
    FAULT_POINT(self, "store.txn.counted");
    if ((kind == TXN_LINK || kind == TXN_FREE) && txn->names.claim) {
        SHARED_STORE(makings[txn->names.claim - 1], 0);
        FAULT_POINT(self, "store.txn.unclaimed");
    }
    if (kind != TXN_FREE && kind != TXN_UNLINK && kind != TXN_IN_PLACE
        && slabs->hand == txn->names.new_ref) {
        slab_let_go(slabs);
    }
    FAULT_POINT(self, "store.txn.freed");
    SHARED_DECIDE(local->txn.kind, txn->names.old_ref ? TXN_FREE : TXN_NONE);
}

// Goes on from the store that decided. The caller unlocks and then calls link_txn_free(). `kind`:
// the one armed.
static inline void link_txn_decided(struct store *store, enum link_txn_kind kind) {
    PYMC_DEBUG_CHECK(store->local->txn.kind == kind);
    uint32_t claim = store->local->txn.names.claim;
    link_txn_follow(store->local, store->claims->making_ref, store->slab.own, store->proc->slot,
                    kind, store->proc);
    if (UNLIKELY(claim) && (kind == TXN_LINK || kind == TXN_FREE)) {
        link_claim_is_free(store, claim - 1);
    }
}

// Frees what the armed FREE names, or puts it into limbo when it is pinned; does nothing when none
// is armed. Locks: LOCK_CLASS, LOCK_LIMBO. Requires: no other lock of that rank held, nothing in
// hand.
void link_txn_free(struct store *store);
// Frees the item of a claim MAKING. Requires: no transaction armed, nothing in hand.
void link_txn_free_claim(struct store *store, uint32_t claim);
// Gives the chunk in hand back; it has no parts, and no pin holds it.
void link_give_hand(struct store *store);

// Disarms the FREE of a dead slot: limbo has the item. Requires: the caller repairs limbo after it.
static inline void link_txn_forget(const struct store *store, uint32_t dead_slot_index) {
    SHARED_DECIDE(link_local_at(store, dead_slot_index)->txn.kind, TXN_NONE);
}

// Repairs the record of a dead slot. `home` is the bucket that the slot still holds, made sound;
// NULL for none. Ends with NONE or FREE. Takes no lock. Crash: may be done again.
void link_txn_repair(struct store *store, struct proc *self, uint32_t slot_index,
                     struct bucket *home);
// Gives back what a dead predecessor in the caller's own slot left: the hand, a FREE, claims.
// Requires: it is repaired. Crash: as that of any other process. Locks: LOCK_CLASS, LOCK_LIMBO.
void link_txn_reclaim(struct store *store);
