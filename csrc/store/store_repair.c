// After a death: finishing or undoing the dead process's one key, and giving back the chunks it had in hand.
#include "flash/flash_index.h"
#include "store/store_internal.h"

// The item that was being linked is in the chain, or it is not: the one store that decides is the index's.
static void repair_link(struct store *store, struct bucket *home, struct store_local *local, struct slot *slot,
                        uint32_t new_ref) {
    struct index_place place;
    if (index_find_ref_locked(&store->index, home, new_ref, &place)) {
        store_change_make(slot, local);
        if (local->link_claim) {
            SHARED_RELEASE(local->claim_ref[local->link_claim - 1], 0);
        }
        SHARED_RELEASE(local->step, STEP_FREE);
        SHARED_RELEASE(local->new_ref, 0);
    } else {
        SHARED_RELEASE(local->old_ref, 0);
        SHARED_RELEASE(local->step, STEP_FILL);
    }
    SHARED_RELEASE(local->link_claim, 0);
}

static void repair_unlink(struct store *store, struct bucket *home, struct store_local *local, struct slot *slot) {
    struct index_place place;
    if (!local->old_ref) {
        return;
    }
    struct item *item = store_item(store, local->old_ref);
    if (index_find_ref_locked(&store->index, home, local->old_ref, &place)) {
        SHARED_RELEASE(place.bucket->tags[place.slot], 0);
        SHARED_RELEASE(place.bucket->refs[place.slot], 0);
    }
    item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LINKED);
    store_change_make(slot, local);
}

// An item was being copied to another chunk, its parts named by both copies: the one that nobody finds is blanked.
static void repair_rescue(struct store *store, struct bucket *home, struct store_local *local) {
    struct index_place place;
    if (!local->old_ref) {
        return;     // It had not begun to copy.
    }
    bool is_moved = index_find_ref_locked(&store->index, home, local->new_ref, &place);
    uint32_t *lost = is_moved ? &local->old_ref : &local->new_ref;
    uint32_t *kept = is_moved ? &local->new_ref : &local->old_ref;
    item_set_state(store_item(store, *lost), 0);
    store_adopt_parts(store, *kept);
    SHARED_RELEASE(*kept, 0);
}

// A part was being copied: its item names the old one or the new one.
static void repair_rescue_part(struct store *store, struct store_local *local) {
    if (!local->old_ref) {
        return;
    }
    const struct item *owner = store_item(store, store_item(store, local->new_ref)->time_seconds);
    const struct item_large *large = item_large_of(owner, item_state_of(owner));
    uint32_t *kept = &local->old_ref;
    for (uint32_t i = 0; i < large->part_count; i++) {
        kept = large->parts[i] == local->new_ref ? &local->new_ref : kept;
    }
    SHARED_RELEASE(*kept, 0);
}

static void repair_locked_key(struct store *store, struct bucket *home, struct store_local *local,
                              struct slot *slot) {
    uint32_t new_ref = local->link_claim ? local->claim_ref[local->link_claim - 1] : local->new_ref;
    switch (local->step) {
    case STEP_LINK:
        repair_link(store, home, local, slot, new_ref);
        break;
    case STEP_IN_PLACE:
        // Its value may be half of one and half of another: it goes.
        SHARED_STORE(slot->counters[COUNTER_items_lost_to_recovery],
                     slot->counters[COUNTER_items_lost_to_recovery] + 1);
        repair_unlink(store, home, local, slot);
        break;
    case STEP_RESCUE:
        repair_rescue(store, home, local);
        break;
    case STEP_RESCUE_PART:
        repair_rescue_part(store, local);
        break;
    case STEP_UNLINK:
        repair_unlink(store, home, local, slot);
        break;
    default:
        break;
    }
    // Once the lock is free a second repairer would take an unfinished step for one that had not begun.
    if (local->step != STEP_FREE && local->step != STEP_FILL) {
        SHARED_RELEASE(local->step, STEP_NONE);
    }
    index_repair_done(home);
}

static void repair_limbo(struct store *store, struct store_local *local, uint32_t dead_slot_index) {
    struct store_root *root = store->root;
    if (!lock_is_held_by(&root->limbo_lock, dead_slot_index)) {
        return;
    }
    uint32_t *hands[] = {&local->old_ref, &local->new_ref, &local->hand};
    uint32_t listed = 0;
    uint32_t previous = 0;
    // What can be reached from the head is in the list, whatever was under way.
    for (uint32_t ref = root->limbo_head; ref; ref = store_item(store, ref)->time_seconds) {
        listed++;
        SHARED_STORE(store_item(store, ref)->order_low, previous);
        previous = ref;
        for (int i = 0; i < 3; i++) {
            if (*hands[i] == ref) {
                SHARED_RELEASE(*hands[i], 0);
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        struct item *item = store_item(store, *hands[i]);
        if (*hands[i] && store_is_in_limbo(item)) {
            item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LIMBO);
        }
    }
    root->limbo_count = listed;
    root->limbo_cursor = 0;
    lock_free_dead(&root->limbo_lock);
}

// A chunk on its way between magazine and hand is for an instant in both. The magazine has it from now on: others may
// take it from there before the slot has a new owner, and the hand would name a chunk that is somebody else's.
static void leave_to_magazines(struct store *store, struct store_local *local, uint32_t dead_slot_index) {
    uint32_t *hands[] = {&local->old_ref, &local->new_ref, &local->hand};
    for (int i = 0; i < 3; i++) {
        if (slab_magazine_has(&store->slab, dead_slot_index, *hands[i])) {
            SHARED_RELEASE(*hands[i], 0);
        }
    }
}

void store_repair(void *context, struct proc *self, uint32_t dead_slot_index) {
    struct store *store = context;
    struct store_local *local = store_local_at(store, dead_slot_index);
    struct slot *slot = slot_at(store->arena, dead_slot_index);
    // Before the class locks of the dead are freed.
    store_repair_probation(store, self, dead_slot_index);
    slab_repair(&store->slab, dead_slot_index);
    leave_to_magazines(store, local, dead_slot_index);
    FAULT_POINT(self, "store.repair.turns");
    slab_repair_turns(&store->slab, dead_slot_index);
    if (store->flash) {
        flash_index_repair(store->flash, self, dead_slot_index);
    }
    FAULT_POINT(self, "store.repair.slab");
    struct bucket *home = index_repair(&store->index, self, dead_slot_index);
    FAULT_POINT(self, "store.repair.index");
    if (home) {
        repair_locked_key(store, home, local, slot);
        FAULT_POINT(self, "store.repair.key");
    } else if (local->step == STEP_LINK || local->step == STEP_UNLINK || local->step == STEP_IN_PLACE) {
        // It died before it had the lock: nothing in the index was touched.
        SHARED_RELEASE(local->old_ref, 0);
        SHARED_RELEASE(local->link_claim, 0);
    }
    if (local->step == STEP_FREE) {
        SHARED_RELEASE(local->new_ref, 0);
    }
    SHARED_RELEASE(local->step, STEP_NONE);
    repair_limbo(store, local, dead_slot_index);
}

// True when a claim of the slot names the chunk: as its item, or as the last part of its item.
static bool claims_hold(const struct store *store, const struct store_local *local, uint32_t ref) {
    for (uint32_t i = 0; i < local->claims_high; i++) {
        uint32_t claimed = local->claim_ref[i];
        if (!claimed || local->claim_kind[i] == CLAIM_PIN) {
            continue;
        }
        const struct item *item = store_item(store, claimed);
        uint32_t state = item_state_of(item);
        if (claimed == ref) {
            return true;
        }
        if (state & ITEM_LARGE) {
            const struct item_large *large = item_large_of(item, state);
            if (large->part_count && large->parts[large->part_count - 1] == ref) {
                return true;
            }
        }
    }
    return false;
}

static void give_back(struct store *store, struct store_local *local, uint32_t *hand) {
    uint32_t ref = *hand;
    if (!ref) {
        return;
    }
    if (claims_hold(store, local, ref)) {
        SHARED_RELEASE(*hand, 0);
        return;
    }
    // Through a word of our own, so that dying here leaks nothing that a repairer cannot see.
    SHARED_RELEASE(store->local->old_ref, ref);
    if (hand != &store->local->old_ref) {
        SHARED_RELEASE(*hand, 0);
    }
    store_free(store, &store->local->old_ref);
}

void store_reclaim(struct store *store, struct store_local *local) {
    // Twice the same when an earlier reclaim died between naming the chunk here and forgetting it there.
    if (local->new_ref == local->old_ref) {
        SHARED_RELEASE(local->new_ref, 0);
    }
    if (local->hand == local->old_ref) {
        SHARED_RELEASE(local->hand, 0);
    }
    give_back(store, local, &local->old_ref);
    give_back(store, local, &local->new_ref);
    give_back(store, local, &local->hand);
    for (uint32_t i = 0; i < local->claims_high; i++) {
        uint32_t ref = local->claim_ref[i];
        if (!ref) {
            continue;
        }
        if (local->claim_kind[i] == CLAIM_PIN) {
            SHARED_RELEASE(local->claim_ref[i], 0);
        } else {
            SHARED_STORE(local->claim_kind[i], CLAIM_DISMANTLE);
            if (local == store->local) {
                store_dismantle(store, i);
            }
        }
    }
}

bool store_reclaim_slot(struct store *store, uint32_t slot_index) {
    return slot_index != store->proc->slot_index && proc_repair_if_dead(store->proc, slot_index);
}
