// Values in parts: shaping them, taking parts as their bytes come, taking them apart; and unlinking
// items.
#include "store/store_txn_inline.h"

uint32_t store_value_span(const struct store *store, const struct item *item, uint32_t state,
                          uint32_t class_id, uint32_t offset, const char **place_out) {
    uint32_t sizes = SHARED_LOAD(item->sizes);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, class_id);
    if (!(state & ITEM_LARGE)) {
        const char *value = item_inline_value(item, state, item_key_bytes(sizes));
        uint32_t value_bytes = item_inline_value_bytes(sizes);
        *place_out = value + offset;
        bool is_inside = (uint64_t)(value - (const char *)item) + value_bytes <= chunk_bytes;
        return is_inside && offset < value_bytes ? value_bytes - offset : 0;
    }
    const struct item_large *large = item_large_of(item, state);
    uint32_t value_bytes = item_load32(&large->value_bytes);
    uint32_t payload = store_part_payload_bytes(store);
    uint32_t part = offset / payload;
    uint64_t ref_end =
        item_large_offset(state, item_key_bytes(sizes)) + sizeof *large + (part + 1ull) * 4;
    if (offset >= value_bytes || ref_end > chunk_bytes || part >= item_load32(&large->part_count)) {
        return 0;
    }
    uint32_t ref = item_load32(&large->parts[part]);
    uint32_t part_start = part * payload;
    uint32_t part_bytes = value_bytes - part_start < payload ? value_bytes - part_start : payload;
    if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
        return 0;
    }
    *place_out = slab_chunk(&store->slab, ref) + ITEM_HEADER_BYTES + (offset - part_start);
    return part_bytes - (offset - part_start);
}

uint32_t store_part_bytes(const struct store *store, uint32_t value_bytes, uint32_t part) {
    uint32_t payload = store_part_payload_bytes(store);
    uint32_t left = value_bytes - part * payload;
    return left < payload ? left : payload;
}

// Takes the next part of a half-made large item. Returns false when there is no room for it.
static bool take_part(struct store *store, uint32_t ref, struct item_large *large) {
    uint32_t bytes =
        store_part_bytes(store, large->value_bytes, large->part_count) + ITEM_HEADER_BYTES;
    uint32_t new_ref = store_take_room(store, bytes);
    if (!new_ref) {
        return false;
    }
    struct item *part = store_item(store, new_ref);
    uint32_t number = large->part_count;
    SHARED_STORE(part->time_seconds, ref);
    SHARED_STORE(part->sizes, 0);
    item_set_state(part, ITEM_PART);
    store_txn_arm(store, TXN_ADD_PART,
                  (struct store_txn_names){.new_ref = new_ref, .owner_ref = ref, .part = number});
    SHARED_RELEASE(large->parts[number], new_ref);
    SHARED_DECIDE(large->part_count, number + 1);
    FAULT_POINT(store->proc, "store.part.added");
    store_txn_decided(store, TXN_ADD_PART);
    return true;
}

bool store_take_parts(struct store *store, const struct store_making *making) {
    const struct item *item = store_item(store, making->ref);
    uint32_t state = item_state_of(item);
    if (!(state & ITEM_LARGE)) {
        return true;
    }
    struct item_large *large = item_large_of(item, state);
    uint32_t payload = store_part_payload_bytes(store);
    uint32_t parts = (large->value_bytes + payload - 1) / payload;
    while (large->part_count < parts) {
        if (!take_part(store, making->ref, large)) {
            return false;
        }
    }
    return true;
}

// Takes the item's own chunk and claims it. Returns the claim, or STORE_NO_CLAIM and counts why.
static uint32_t claim_room(struct store *store, const struct store_write *write,
                           const struct store_shape *shape, uint32_t value_bytes) {
    uint32_t new_ref = store_take_room(store, shape->total_bytes);
    if (!new_ref) {
        store_refused(store, COUNTER_oom_no_victim);
        return STORE_NO_CLAIM;
    }
    class_count(store, slab_class_of(&store->slab, new_ref), CLASS_cmd_set, !write->is_uncounted);
    store_fill_head(store, new_ref, write, value_bytes, shape);
    uint32_t claim = store_claim_hand(store);
    if (claim == STORE_NO_CLAIM) {
        store_give_hand(store);
        store_refused(store, COUNTER_oom_claims);
    }
    return claim;
}

int store_begin(struct store *store, const struct store_write *write, struct store_making *making) {
    struct store_shape shape;
    struct store_write shaped = store_write_shaped(write);
    int outcome = store_shape_of(store, &shaped, write->value_bytes, 0, &shape);
    if (outcome != STORE_STORED) {
        count(store->proc, COUNTER_store_too_large, 1);
    } else {
        uint32_t claim = claim_room(store, &shaped, &shape, write->value_bytes);
        if (claim != STORE_NO_CLAIM) {
            uint32_t ref = store->claims->making_ref[claim];
            *making = (struct store_making){
                .claim = claim, .ref = ref, .value_bytes = write->value_bytes};
            return STORE_HIT;
        }
        outcome = STORE_NO_MEMORY;
    }
    if (write->mode == STORE_SET && !write->has_cas_compare
        && store_forget(store, write->key, write->key_bytes) == STORE_BUSY) {
        return STORE_BUSY;
    }
    return outcome;
}

bool store_fits(const struct store *store, const struct store_write *write) {
    struct store_shape shape;
    struct store_write shaped = store_write_shaped(write);
    return store_shape_of(store, &shaped, write->value_bytes, 0, &shape) == STORE_STORED;
}

uint32_t store_making_span(struct store *store, const struct store_making *making,
                           char **place_out) {
    return store_making_span_ahead(store, making, 0, place_out);
}

uint32_t store_making_span_ahead(struct store *store, const struct store_making *making,
                                 uint32_t ahead_bytes, char **place_out) {
    const struct item *item = store_item(store, making->ref);
    uint32_t state = item_state_of(item);
    uint32_t offset = making->filled_bytes + ahead_bytes;
    if ((state & ITEM_LARGE) && offset < making->value_bytes) {
        struct item_large *large = item_large_of(item, state);
        bool is_there = offset / store_part_payload_bytes(store) < large->part_count;
        if (!is_there && !take_part(store, making->ref, large)) {
            return 0;
        }
    }
    const char *place = NULL;
    uint32_t bytes = store_value_span(store, item, state, slab_class_of(&store->slab, making->ref),
                                      offset, &place);
    *place_out = (char *)place;
    return bytes;
}

int store_give_up(struct store *store, const struct store_write *write,
                  struct store_making *making) {
    if (write->mode == STORE_SET && !write->has_cas_compare
        && store_forget(store, write->key, write->key_bytes) == STORE_BUSY) {
        return STORE_BUSY;
    }
    store_abandon(store, making);
    return store_refused(store, COUNTER_oom_no_victim);
}

void store_abandon(struct store *store, struct store_making *making) {
    if (making->ref) {
        making->ref = 0;
        store_txn_free_claim(store, making->claim);
    }
}

static void unlink_and_unlock(struct store *store, struct store_locked *locked) {
    struct proc *proc = store->proc;
    uint64_t bytes = store_item_bytes(store, locked->item, locked->state);
    uint64_t order = item_order(locked->item);
    struct store_change change = {0};
    store_change_add(store, &change, order, bytes, (uint64_t)-1);
    store_txn_plan(store, &change);
    store_txn_arm(store, TXN_UNLINK, (struct store_txn_names){.old_ref = locked->ref});
    FAULT_POINT(proc, "store.unlink.before");
    item_set_state(locked->item, locked->state & ~(uint32_t)ITEM_LINKED);
    index_remove_locked(&store->index, proc, locked->home, locked->place);
    FAULT_POINT(proc, "store.unlink.after");
    store_txn_decided(store, TXN_UNLINK);
    store_unlock(store, locked, true);
    store_count_in_class(store, locked->ref, order, locked->state, bytes, -1);
    index_count(&store->index, proc, -1);
    store_txn_free(store);
}

void store_unlink_and_unlock(struct store *store, struct store_locked *locked) {
    if (UNLIKELY(locked->state & ITEM_ON_FLASH)) {
        locked->state = store_spoil_copy(store, locked->item, locked->state, locked->hash);
    }
    unlink_and_unlock(store, locked);
}

void store_evict_and_unlock(struct store *store, struct store_locked *locked) {
    if (UNLIKELY(store->flash)) {
        // Its page may have been dropped since.
        bool is_marked = locked->state & ITEM_ON_FLASH;
        bool is_clean = is_marked && store_may_be_on_flash(store, locked->hash);
        bool is_eligible = store_item_bytes(store, locked->item, locked->state)
                           >= (uint64_t)live_get(store->arena, LIVE_ext_item_size_bytes);
        count(store->proc, COUNTER_ext_clean_evictions, is_clean);
        count(store->proc, COUNTER_ext_unclean_evictions, !is_clean && is_eligible);
        if (is_marked) {
            store_count_copy(store, item_order(locked->item), -1);
        }
    }
    unlink_and_unlock(store, locked);
}
