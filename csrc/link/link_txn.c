// Transactions: freeing what they leave behind, repairing those of the dead, reclaiming what these
// had in hand.
#include "link/link_txn_inline.h"
#include "link/link_value_inline.h"

void link_give_hand(struct store *store) {
    item_set_state(link_item(store, link_hand(store)), 0);
    SHARED_ORDER();
    slab_give(&store->slab, store->proc);
}

// Gives the parts back, last one first: the shorter list decides that a part is the hand's.
static void free_parts(struct store *store, struct item *item, uint32_t state) {
    struct item_large *large = item_large_of(item, state);
    while (large->part_count) {
        uint32_t last = large->part_count - 1;
        slab_hold(&store->slab, large->parts[last]);
        FAULT_POINT(store->proc, "store.free.part_named");
        SHARED_DECIDE(large->part_count, last);
        FAULT_POINT(store->proc, "store.free.part_cut");
        link_give_hand(store);
    }
}

void link_txn_free(struct store *store) {
    const struct link_txn *txn = &store->local->txn;
    if (txn->kind != TXN_FREE) {
        return;
    }
    uint32_t ref = txn->names.old_ref;
    struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    bool is_small =
        slab_chunk_bytes(&store->slab, slab_class_of(&store->slab, ref)) <= LINK_UNPINNED_BYTES_MAX;
    if (UNLIKELY((state & ITEM_LARGE) || !is_small)) {
        if (UNLIKELY(link_is_pinned(store, ref)) && link_limbo_put(store, ref)) {
            return;
        }
        if (state & ITEM_LARGE) {
            free_parts(store, item, state);
        }
    }
    // A blank chunk, still this transaction's: only its own chunk is left to be freed.
    item_set_state(item, 0);
    SHARED_ORDER();
    slab_hold(&store->slab, ref);
    FAULT_POINT(store->proc, "store.free.named");
    link_txn_disarm(store);
    slab_give(&store->slab, store->proc);
}

void link_txn_free_claim(struct store *store, uint32_t claim) {
    link_txn_arm(
        store, TXN_FREE,
        (struct link_txn_names){.old_ref = store->claims->making_ref[claim], .claim = claim + 1});
    link_txn_decided(store, TXN_FREE);
    link_txn_free(store);
}

static bool is_part(const struct store *store, const struct link_txn_names *names) {
    const struct item *owner = link_item(store, names->owner_ref);
    const struct item_large *large = item_large_of(owner, item_state_of(owner));
    return large->part_count > names->part && large->parts[names->part] == names->new_ref;
}

static void unmark_linked(struct store *store, uint32_t ref) {
    if (ref) {
        struct item *item = link_item(store, ref);
        item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LINKED);
    }
}

// Takes the item out of the index for good, also when its owner had begun to.
static void finish_unlink(struct store *store, struct bucket *home, uint32_t ref) {
    struct index_place place;
    if (index_find_ref_locked(&store->index, home, ref, &place)) {
        index_clear_slot(place.bucket, place.slot);
    }
    unmark_linked(store, ref);
}

void link_take_parts_over(struct store *store, uint32_t ref) {
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        for (uint32_t i = 0; i < large->part_count; i++) {
            SHARED_STORE(link_item(store, large->parts[i])->time_seconds, ref);
        }
    }
}

// Whether the store that decides has happened; does what the two sides of it ask for besides
// link_txn_follow().
static bool has_decided(struct store *store, const struct store_local *local,
                        const uint32_t *makings, struct slot *slot, struct bucket *home) {
    const struct link_txn_names *names = &local->txn.names;
    struct index_place place;
    bool is_linked;
    switch (local->txn.kind) {
    case TXN_LINK:
        is_linked = index_find_ref_locked(&store->index, home, names->new_ref, &place);
        unmark_linked(store, is_linked ? names->old_ref : names->new_ref);
        return is_linked;
    case TXN_IN_PLACE:
        // Its value may be half of one and half of another: it goes.
        SHARED_STORE(slot->counters[COUNTER_items_lost_to_recovery], local->txn.lost_after);
        finish_unlink(store, home, names->old_ref);
        return true;
    case TXN_UNLINK: finish_unlink(store, home, names->old_ref); return true;
    case TXN_MOVE_ITEM:
        // Both copies name the same parts: the one that nobody finds is blanked.
        is_linked = index_find_ref_locked(&store->index, home, names->new_ref, &place);
        item_set_state(link_item(store, is_linked ? names->old_ref : names->new_ref), 0);
        link_take_parts_over(store, is_linked ? names->new_ref : names->old_ref);
        return is_linked;
    case TXN_MOVE_PART:
    case TXN_ADD_PART: return is_part(store, names);
    case TXN_CLAIM: return SHARED_LOAD(makings[names->claim - 1]) == names->new_ref;
    default: return true;
    }
}

// The item that is being freed has its pieces until it has let go of them.
static bool item_has(const struct store *store, uint32_t ref, uint32_t chunk) {
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    if (chunk == ref || !(state & ITEM_LARGE)) {
        return chunk == ref;
    }
    const struct item_large *large = item_large_of(item, state);
    return large->part_count && large->parts[large->part_count - 1] == chunk;
}

static bool needs_bucket(enum link_txn_kind kind) {
    return kind >= TXN_LINK && kind <= TXN_MOVE_PART;
}

void link_txn_repair(struct store *store, struct proc *self, uint32_t slot_index,
                     struct bucket *home) {
    struct store_local *local = link_local_at(store, slot_index);
    struct slab_local *slabs = slab_local(&store->slab, slot_index);
    struct slot *slot = slot_at(store->arena, slot_index);
    uint32_t *makings = link_makings_at(store, slot_index);
    enum link_txn_kind kind = local->txn.kind;
    if (kind == TXN_NONE) {
        return;
    }
    bool has_bucket = home || !needs_bucket(kind);
    PYMC_DEBUG_CHECK(has_bucket);
    bool is_decided = has_bucket && has_decided(store, local, makings, slot, home);
    FAULT_POINT(self, "store.repair.judged");
    if (is_decided) {
        link_txn_follow(local, makings, slabs, slot, kind, self);
    } else {
        SHARED_DECIDE(local->txn.kind, TXN_NONE);
    }
    FAULT_POINT(self, "store.repair.freed");
    if (local->txn.kind == TXN_FREE && slabs->hand
        && item_has(store, local->txn.names.old_ref, slabs->hand)) {
        slab_let_go(slabs);
    }
}

void link_txn_reclaim(struct store *store) {
    const struct store_local *local = store->local;
    uint32_t *makings = store->claims->making_ref;
    if (link_hand(store)) {
        link_give_hand(store);
    }
    FAULT_POINT(store->proc, "store.reclaim.hand");
    link_txn_free(store);
    FAULT_POINT(store->proc, "store.reclaim.freed");
    for (uint32_t i = 0; i < local->makings_high; i++) {
        if (makings[i]) {
            link_txn_free_claim(store, i);
            FAULT_POINT(store->proc, "store.reclaim.claim");
        }
    }
    link_pins_forget(store);
}
