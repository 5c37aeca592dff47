// Claims, values in parts, and freeing items that may still be read.
#include "base/hash_inline.h"
#include "store/store_internal.h"

uint32_t store_claim(struct store *store, uint32_t ref, enum store_claim_kind kind) {
    if (store->claims_free_count == 0) {
        return STORE_NO_CLAIM;
    }
    uint32_t claim = store->claims_free[--store->claims_free_count];
    struct store_local *local = store->local;
    if (claim >= local->claims_high) {
        SHARED_RELEASE(local->claims_high, claim + 1);
    }
    SHARED_RELEASE(local->claim_kind[claim], (uint8_t)kind);
    SHARED_RELEASE(local->claim_ref[claim], ref);
    return claim;
}

void store_claims_reset(struct store *store) {
    for (uint32_t i = 0; i < STORE_CLAIMS; i++) {
        store->claims_free[i] = (uint16_t)(STORE_CLAIMS - 1 - i);
    }
    store->claims_free_count = STORE_CLAIMS;
    SHARED_RELEASE(store->local->claims_high, 0);
}

// Whoever frees a large item looks at all claims below claims_high, so after a rush of them it has to come down.
#define CLAIMS_HIGH_USUAL 64

void store_unclaim(struct store *store, uint32_t claim) {
    SHARED_RELEASE(store->local->claim_ref[claim], 0);
    store->claims_free[store->claims_free_count++] = (uint16_t)claim;
    if (UNLIKELY(store->claims_free_count == STORE_CLAIMS && store->local->claims_high > CLAIMS_HIGH_USUAL)) {
        store_claims_reset(store);
    }
}

bool store_is_pinned(const struct store *store, uint32_t ref) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        const struct store_local *local = store_local_at(store, slot);
        uint32_t high = SHARED_ACQUIRE(local->claims_high);
        for (uint32_t i = 0; i < high; i++) {
            if (SHARED_ACQUIRE(local->claim_ref[i]) == ref && SHARED_LOAD(local->claim_kind[i]) == CLAIM_PIN) {
                return true;
            }
        }
    }
    return false;
}

uint32_t store_value_span(const struct store *store, const struct item *item, uint32_t state, uint32_t class_id,
                          uint32_t offset, const char **place_out) {
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
    uint32_t payload = slab_chunk_bytes(&store->slab, store->part_class) - ITEM_HEADER_BYTES;
    uint32_t part = offset / payload;
    uint64_t ref_end = item_large_offset(state, item_key_bytes(sizes)) + sizeof *large + (part + 1ull) * 4;
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
    uint32_t payload = slab_chunk_bytes(&store->slab, store->part_class) - ITEM_HEADER_BYTES;
    uint32_t left = value_bytes - part * payload;
    return left < payload ? left : payload;
}

static bool take_parts(struct store *store, uint32_t ref) {
    struct item *item = store_item(store, ref);
    struct item_large *large = item_large_of(item, item_state_of(item));
    uint32_t payload = slab_chunk_bytes(&store->slab, store->part_class) - ITEM_HEADER_BYTES;
    uint32_t parts = (large->value_bytes + payload - 1) / payload;
    while (large->part_count < parts) {
        uint32_t bytes = store_part_bytes(store, large->value_bytes, large->part_count) + ITEM_HEADER_BYTES;
        if (!store_take(store, bytes, &store->local->hand)) {
            return false;
        }
        struct item *part = store_item(store, store->local->hand);
        SHARED_STORE(part->time_seconds, ref);
        SHARED_STORE(part->sizes, 0);
        item_set_state(part, ITEM_PART);
        SHARED_RELEASE(large->parts[large->part_count], store->local->hand);
        SHARED_RELEASE(large->part_count, large->part_count + 1);
        FAULT_POINT(store->proc, "store.part.added");
        SHARED_RELEASE(store->local->hand, 0);
    }
    return true;
}

int store_begin(struct store *store, const struct store_write *write, struct store_making *making) {
    struct store_shape shape;
    // An append that may have to create its item needs the expiry field then.
    struct store_write shaped = *write;
    if (write->mode >= STORE_APPEND) {
        shaped.expiry_seconds = write->vivify ? write->vivify_expiry_seconds : 0;
        shaped.client_flags = write->vivify ? write->client_flags : 0;
    }
    int outcome = store_shape_of(store, &shaped, write->value_bytes, 0, &shape);
    if (outcome == STORE_STORED && !store_take(store, shape.total_bytes, &store->local->new_ref)) {
        outcome = STORE_NO_MEMORY;
    }
    uint32_t ref = store->local->new_ref;
    uint32_t claim = STORE_NO_CLAIM;
    if (outcome == STORE_STORED) {
        class_count(store, slab_class_of(&store->slab, ref), CLASS_cmd_set, !write->is_uncounted);
        store_fill_head(store, ref, &shaped, write->value_bytes, &shape);
        claim = store_claim(store, ref, CLAIM_MAKING);
        if (claim == STORE_NO_CLAIM) {
            store_free(store, &store->local->new_ref);
            outcome = STORE_NO_MEMORY;
        }
    }
    if (claim != STORE_NO_CLAIM) {
        FAULT_POINT(store->proc, "store.begin.claimed");
        SHARED_RELEASE(store->local->new_ref, 0);
        SHARED_RELEASE(store->local->step, STEP_NONE);
        *making = (struct store_making){.claim = claim, .ref = ref, .value_bytes = write->value_bytes};
        if (!shape.is_large || take_parts(store, ref)) {
            return STORE_HIT;
        }
        store_dismantle(store, claim);
        outcome = STORE_NO_MEMORY;
    }
    count(store->proc, outcome == STORE_TOO_LARGE ? COUNTER_store_too_large : COUNTER_store_no_memory, 1);
    if (write->mode == STORE_SET && !write->has_cas_compare) {
        store_forget(store, write->key, write->key_bytes);
    }
    return outcome;
}

uint32_t store_making_span(struct store *store, const struct store_making *making, char **place_out) {
    const struct item *item = store_item(store, making->ref);
    const char *place = NULL;
    uint32_t bytes = store_value_span(store, item, item_state_of(item), slab_class_of(&store->slab, making->ref),
                                      making->filled_bytes, &place);
    *place_out = (char *)place;
    return bytes;
}

void store_abandon(struct store *store, struct store_making *making) {
    if (making->ref) {
        making->ref = 0;
        store_dismantle(store, making->claim);
    }
}

void store_dismantle(struct store *store, uint32_t claim) {
    struct store_local *local = store->local;
    uint32_t ref = local->claim_ref[claim];
    struct item *item = store_item(store, ref);
    SHARED_STORE(local->claim_kind[claim], CLAIM_DISMANTLE);
    if (item_state_of(item) & ITEM_LARGE) {
        struct item_large *large = item_large_of(item, item_state_of(item));
        while (large->part_count) {
            uint32_t last = large->part_count - 1;
            SHARED_RELEASE(local->hand, large->parts[last]);
            FAULT_POINT(store->proc, "store.dismantle.named");
            SHARED_RELEASE(large->part_count, last);
            FAULT_POINT(store->proc, "store.dismantle.cut");
            item_set_state(store_item(store, local->hand), 0);
            slab_give(&store->slab, store->proc, &local->hand);
        }
    }
    item_set_state(item, 0);
    SHARED_RELEASE(local->hand, ref);
    store_unclaim(store, claim);
    slab_give(&store->slab, store->proc, &local->hand);
}

void store_limbo_push(struct store *store, uint32_t *hand) {
    struct store_root *root = store->root;
    lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
    SHARED_STORE(store_item(store, *hand)->time_seconds, root->limbo_head);
    SHARED_RELEASE(root->limbo_head, *hand);
    FAULT_POINT(store->proc, "store.limbo.pushed");
    SHARED_STORE(root->limbo_count, root->limbo_count + 1);
    SHARED_RELEASE(*hand, 0);
    lock_give(store->proc, &root->limbo_lock, true);
}

// Takes the first entry that nobody reads any more into old_ref; returns false when there is none.
static bool limbo_pop(struct store *store) {
    struct store_root *root = store->root;
    lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
    uint32_t *link = &root->limbo_head;
    while (*link && store_is_pinned(store, *link)) {
        link = &store_item(store, *link)->time_seconds;
    }
    uint32_t ref = *link;
    if (ref) {
        SHARED_RELEASE(store->local->old_ref, ref);
        SHARED_RELEASE(*link, store_item(store, ref)->time_seconds);
        FAULT_POINT(store->proc, "store.limbo.popped");
        SHARED_STORE(root->limbo_count, root->limbo_count - 1);
    }
    lock_give(store->proc, &root->limbo_lock, true);
    return ref != 0;
}

uint32_t store_limbo_step(struct store *store, uint32_t items_max) {
    for (uint32_t i = 0; i < items_max && SHARED_LOAD(store->root->limbo_count); i++) {
        if (!limbo_pop(store)) {
            break;
        }
        store_free(store, &store->local->old_ref);
    }
    return SHARED_LOAD(store->root->limbo_count);
}

void store_free(struct store *store, uint32_t *hand) {
    struct item *item = store_item(store, *hand);
    uint32_t state = item_state_of(item);
    if (LIKELY(!(state & ITEM_LARGE)
               && slab_chunk_bytes(&store->slab, slab_class_of(&store->slab, *hand)) <= STORE_COPY_BYTES_MAX)) {
        item_set_state(item, 0);
        slab_give(&store->slab, store->proc, hand);
        return;
    }
    if (store_is_pinned(store, *hand)) {
        store_limbo_push(store, hand);
        return;
    }
    if (state & ITEM_LARGE) {
        uint32_t claim = store_claim(store, *hand, CLAIM_DISMANTLE);
        if (claim == STORE_NO_CLAIM) {
            store_limbo_push(store, hand);
            return;
        }
        SHARED_RELEASE(*hand, 0);
        store_dismantle(store, claim);
        return;
    }
    item_set_state(item, 0);
    slab_give(&store->slab, store->proc, hand);
}

static void unlink_and_unlock(struct store *store, struct store_locked *locked) {
    struct store_local *local = store->local;
    struct proc *proc = store->proc;
    uint64_t bytes = store_item_bytes(store, locked->item, locked->state);
    uint64_t order = item_order(locked->item);
    struct store_change change = {0};
    store_change_add(store, &change, order, bytes, (uint64_t)-1);
    store_change_plan(store, &change);
    SHARED_RELEASE(local->step, STEP_UNLINK);
    SHARED_RELEASE(local->old_ref, locked->ref);
    FAULT_POINT(proc, "store.unlink.before");
    item_set_state(locked->item, locked->state & ~(uint32_t)ITEM_LINKED);
    index_remove_locked(&store->index, proc, locked->home, locked->place);
    FAULT_POINT(proc, "store.unlink.after");
    store_change_make(proc->slot, local);
    SHARED_RELEASE(local->step, STEP_FREE);
    store_unlock(store, locked, true);
    store_count_in_class(store, locked->ref, order, locked->state, bytes, -1);
    index_count(&store->index, proc, -1);
    store_free(store, &local->old_ref);
    SHARED_RELEASE(local->step, STEP_NONE);
}

void store_unlink_and_unlock(struct store *store, struct store_locked *locked) {
    if (UNLIKELY(locked->state & ITEM_ON_FLASH)) {
        uint32_t key_bytes = item_key_bytes(locked->item->sizes);
        uint64_t hash = hash_key(item_key(locked->item, locked->state), key_bytes);
        locked->state = store_spoil_copy(store, locked->item, locked->state, hash);
    }
    unlink_and_unlock(store, locked);
}

void store_evict_and_unlock(struct store *store, struct store_locked *locked) {
    if (UNLIKELY(store->flash)) {
        bool is_clean = locked->state & ITEM_ON_FLASH;
        bool is_eligible = store_item_bytes(store, locked->item, locked->state)
                           >= (uint64_t)live_get(store->arena, LIVE_ext_item_size_bytes);
        count(store->proc, COUNTER_ext_clean_evictions, is_clean);
        count(store->proc, COUNTER_ext_unclean_evictions, !is_clean && is_eligible);
        if (is_clean) {
            store_count_copy(store, item_order(locked->item), -1);
        }
    }
    unlink_and_unlock(store, locked);
}
