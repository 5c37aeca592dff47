// Storing a value: deciding under the lock of its key, filling a new item, linking it.
#include "link/link_copy_inline.h"
#include "space/space_take_inline.h"
#include "store/store_write_internal.h"

// What the mode and the CAS say about storing over (or without) the old item.
static int decide(struct store *store, const struct store_write *write,
                  const struct link_locked *locked, bool *stale_out) {
    bool exists = locked->item && !locked->is_dead;
    *stale_out = false;
    if (!exists) {
        if (write->has_cas_compare && (write->mode == STORE_SET || write->mode == STORE_REPLACE)) {
            count(store->proc, COUNTER_cas_misses, 1);
            return STORE_NOT_FOUND;
        }
        return write->mode == STORE_SET || write->mode == STORE_ADD ? STORE_STORED
                                                                    : STORE_NOT_STORED;
    }
    if (write->mode == STORE_ADD) {
        return STORE_NOT_STORED;
    }
    if (!write->has_cas_compare) {
        return STORE_STORED;
    }
    uint64_t cas = link_cas_of(store, locked->item, locked->state);
    if (write->cas_compare && write->cas_compare == cas) {
        class_count(store, locked->class_id, CLASS_cas_hits, 1);
        return STORE_STORED;
    }
    if (write->cas_compare && write->invalidate && write->cas_compare < cas) {
        class_count(store, locked->class_id, CLASS_cas_hits, 1);
        *stale_out = true;
        return STORE_STORED;
    }
    class_count(store, locked->class_id, CLASS_cas_badval, 1);
    return STORE_EXISTS;
}

// A stale value keeps the old item's expiry and remembers who was told to refresh it.
static void inherit_stale(struct store *store, uint32_t new_ref, const struct link_locked *locked) {
    struct item *item = link_item(store, new_ref);
    uint32_t state = item_state_of(item) | ITEM_STALE | (locked->state & ITEM_TOKEN_SENT);
    item_set_expiry(item, item_expiry(locked->item, locked->state));
    item_set_state(item, state);
}

int store_decide_and_link(struct store *store, const struct store_write *write, uint64_t hash,
                          uint32_t new_ref, uint32_t claim_plus_one, struct store_result *result) {
    struct link_locked locked;
    if (UNLIKELY(!link_lock(store, write->key, write->key_bytes, hash, &locked))) {
        return STORE_BUSY;
    }
    if (UNLIKELY(!locked.item && store_needs_old(write)) && link_may_be_on_flash(store, hash)) {
        link_unlock(store, &locked, false);
        return STORE_ON_FLASH;
    }
    struct item_numbers numbers = link_numbers_for(store, write->has_cas_new, write->cas_new);
    if (locked.item && store_needs_old(write)) {
        locked.is_dead = link_is_dead(store, locked.item, locked.state);
    }
    bool is_stale;
    int outcome = decide(store, write, &locked, &is_stale);
    if (outcome != STORE_STORED) {
        if (write->mode == STORE_ADD && locked.item && !locked.is_dead) {
            item_set_state(locked.item, item_used_once_more(locked.state));
        }
        link_unlock(store, &locked, true);
        return outcome;
    }
    if (is_stale) {
        inherit_stale(store, new_ref, &locked);
    }
    // A value may have come in slowly: it counts as stored when it becomes visible.
    struct item *item = link_item(store, new_ref);
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    result->value_bytes = item_value_bytes(item, item_state_of(item));
    int dead_as = !locked.is_dead                                   ? STORE_HIT
                  : link_is_flushed(store, item_order(locked.item)) ? STORE_MISS_FLUSHED
                                                                    : STORE_MISS_EXPIRED;
    if (link_insert_and_unlock(store, &locked, new_ref, claim_plus_one, hash, numbers) != PYMC_OK) {
        return STORE_BUSY;
    }
    link_count_dead(store, dead_as);
    result->cas = numbers.cas;
    count(store->proc, COUNTER_total_items, 1);
    return STORE_STORED;
}

// A write that found nothing to write to may have found something dead.
static void remove_dead_met(struct store *store, const struct store_write *write, uint64_t hash,
                            int outcome) {
    struct link_view view;
    if (write->mode == STORE_ADD || (outcome != STORE_NOT_STORED && outcome != STORE_NOT_FOUND)) {
        return;
    }
    int found = link_find(store, write->key, write->key_bytes, hash, &view);
    if (found == STORE_MISS_EXPIRED || found == STORE_MISS_FLUSHED) {
        link_count_dead(store, found);
        link_remove_dead(store, &view);
    }
}

int store_commit_new(struct store *store, const struct store_write *write,
                     struct store_making *making, struct store_result *result) {
    uint64_t hash = link_hash(store, write->key, write->key_bytes);
    int outcome = store_decide_and_link(store, write, hash, making->ref, making->claim + 1, result);
    if (outcome == STORE_STORED) {
        making->ref = 0;
    } else if (!store_is_put_off(outcome)) {
        store_abandon(store, making);
        remove_dead_met(store, write, hash, outcome);
    }
    return outcome;
}

// A SET counts when it is done, in the class of its own chunk: what is put off comes again.
static void count_set(struct store *store, const struct store_write *write, uint32_t class_id,
                      int outcome) {
    class_count(store, class_id, CLASS_cmd_set, !write->is_uncounted && !store_is_put_off(outcome));
}

static int put_by_pieces(struct store *store, const struct store_write *write, const char *value,
                         struct store_result *result) {
    struct store_making making;
    struct store_write uncounted = *write;
    uncounted.is_uncounted = true;
    int outcome = store_begin(store, &uncounted, &making);
    if (outcome != STORE_ROOM_MADE) {
        return outcome;
    }
    uint32_t class_id = slab_class_of(&store->slab, making.ref);
    if (store_take_parts(store, &making)) {
        store_making_fill(store, &making, value, write->value_bytes);
        outcome = store_commit_new(store, write, &making, result);
    } else {
        outcome = store_give_up(store, write, &making);
    }
    count_set(store, write, class_id, outcome);
    store_abandon(store, &making);
    return outcome;
}

int store_put_new(struct store *store, const struct store_write *write, const char *value,
                  uint64_t hash, struct store_result *result) {
    struct store_shape shape;
    int outcome = store_shape_of(store, write, write->value_bytes, 0, &shape);
    if (outcome != STORE_STORED) {
        return store_refuse(store, write, outcome, COUNTER_oom_no_victim);
    }
    if (shape.is_large) {
        return put_by_pieces(store, write, value, result);
    }
    link_prefetch_bucket(store, hash);
    uint32_t ref = space_take(store, shape.total_bytes);
    if (!ref) {
        return store_refuse(store, write, STORE_NO_MEMORY, COUNTER_oom_no_victim);
    }
    FAULT_POINT(store->proc, "store.put.taken");
    link_prefetch_items(store, hash);
    ghost_prefetch(&store->lru, hash);
    store_fill_head(store, ref, write, write->value_bytes, &shape);
    racy_write((char *)link_item(store, ref) + shape.head_bytes, value, write->value_bytes);
    FAULT_POINT(store->proc, "store.put.filled");
    outcome = store_decide_and_link(store, write, hash, ref, 0, result);
    count_set(store, write, slab_class_of(&store->slab, ref), outcome);
    if (outcome != STORE_STORED) {
        link_give_hand(store);
        remove_dead_met(store, write, hash, outcome);
    }
    return outcome;
}
