// Locking a key, noticing reads, pins, and small changes to an item's header.
#include "store/store_find_inline.h"
#include "store/store_txn_inline.h"

void store_lock(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash, struct store_locked *out) {
    uint8_t tag = index_tag(hash);
    out->home = index_lock(&store->index, store->proc, hash);
    out->hash = hash;
    store_notice_flush(store);
    out->item = NULL;
    out->ref = 0;
    out->is_dead = false;
    uint32_t depth = 0;
    for (struct bucket *bucket = out->home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t bits = index_match(bucket, tag); bits; bits &= bits - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(bits);
            struct item *item = store_item(store, bucket->refs[slot]);
            uint32_t state = item_state_of(item);
            if (item_key_bytes(item->sizes) == key_bytes && memcmp(item_key(item, state), key, key_bytes) == 0) {
                out->place = (struct index_place){bucket, slot};
                out->item = item;
                out->ref = bucket->refs[slot];
                out->state = state;
                out->class_id = slab_class_of(&store->slab, out->ref);
                out->is_dead = store_is_dead(store, item, state);
                return;
            }
        }
        bucket = (struct bucket *)index_next(&store->index, bucket);
    }
}

bool store_lock_ref(struct store *store, uint32_t ref, struct store_locked *out) {
    const struct item *item = store_item(store, ref);
    uint32_t state = item_state_of(item);
    uint32_t key_bytes = item_key_bytes(SHARED_LOAD(item->sizes));
    if (!(state & ITEM_LINKED) || (state & ITEM_PART) || key_bytes == 0) {
        return false;
    }
    char key[256];
    racy_copy(key, item_key(item, state), key_bytes);
    out->hash = store_hash(store, key, key_bytes);
    out->home = index_lock(&store->index, store->proc, out->hash);
    if (!index_find_ref_locked(&store->index, out->home, ref, &out->place)) {
        index_unlock(store->proc, out->home, false);
        return false;
    }
    store_notice_flush(store);
    out->item = store_item(store, ref);
    out->ref = ref;
    out->state = item_state_of(out->item);
    out->class_id = slab_class_of(&store->slab, ref);
    out->is_dead = store_is_dead(store, out->item, out->state);
    return true;
}

uint32_t store_value_bytes(const struct item *item, uint32_t state) {
    return state & ITEM_LARGE ? item_large_of(item, state)->value_bytes : item_inline_value_bytes(item->sizes);
}

uint64_t store_item_bytes(const struct store *store, const struct item *item, uint32_t state) {
    (void)store;
    uint32_t key_bytes = item_key_bytes(item->sizes);
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        return item_large_offset(state, key_bytes) + sizeof *large
               + (uint64_t)large->part_count * (sizeof(uint32_t) + ITEM_HEADER_BYTES) + large->value_bytes;
    }
    return ITEM_HEADER_BYTES + item_optional_bytes(state) + key_bytes + item_inline_value_bytes(item->sizes);
}

void store_bump(struct store *store, const struct store_view *view) {
    if (!view->ref || !store_upgrade(store, view)) {
        return;
    }
    struct item *item = (struct item *)view->item;
    item_set_state(item, item_read_once_more(view->state));
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    index_unlock(store->proc, view->home, true);
}

void store_reap(struct store *store, const struct store_view *view) {
    struct store_locked locked;
    if (!store_lock_ref(store, view->ref, &locked)) {
        return;
    }
    if (!locked.is_dead) {
        store_unlock(store, &locked, false);
        return;
    }
    // Not counted as reclaimed: whoever met it counts it as expired or flushed.
    store_unlink_and_unlock(store, &locked);
}

int store_missed(struct store *store, const struct store_view *view, int found, uint64_t hash) {
    if (found != STORE_MISS) {
        store_count_dead(store, found);
        store_reap(store, view);
    } else if (UNLIKELY(store->flash)) {
        if (store_may_be_on_flash(store, hash)) {
            return STORE_ON_FLASH;
        }
        return store_holds(view) ? STORE_MISS : STORE_HIT;
    }
    return STORE_MISS;
}

// Copies an inline item into a larger chunk that has the optional fields of `extra_state`, and puts it in its place.
static int reshape(struct store *store, const struct store_view *view, const char *key, uint64_t hash,
                   uint32_t extra_state, uint32_t expiry_seconds) {
    uint32_t state = (view->state | extra_state) & ~(uint32_t)(ITEM_LINKED | ITEM_COPIED | ITEM_ON_FLASH);
    uint32_t head_bytes = ITEM_HEADER_BYTES + item_optional_bytes(state) + view->key_bytes;
    uint32_t new_ref = 0;
    if (head_bytes + view->value_bytes > slab_chunk_bytes(&store->slab, store->largest_class)
        || !(new_ref = store_take_beside(store, view->ref, head_bytes + view->value_bytes))) {
        store_refused(store, COUNTER_oom_no_victim);
        return -1;
    }
    // Making room may have evicted the very item, and its chunk may be the one in hand.
    if (!store_holds(view)) {
        store_give_hand(store);
        return 0;
    }
    struct item *item = store_item(store, new_ref);
    SHARED_STORE(item->time_seconds, view->time_seconds);
    SHARED_STORE(item->sizes, item_pack_sizes(view->value_bytes, view->key_bytes));
    item_set_state(item, state);
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, view->client_flags);
    }
    racy_write(item_key(item, state), key, view->key_bytes);
    racy_move(item_inline_value(item, state, view->key_bytes), view->value, view->value_bytes);
    struct store_locked locked;
    store_lock(store, key, view->key_bytes, hash, &locked);
    uint64_t version = SHARED_LOAD(view->home->word) & ~LOCK_OWNER_MASK;
    if (!locked.item || locked.home != view->home || version != view->version) {
        store_unlock(store, &locked, false);
        store_give_hand(store);
        return 0;
    }
    struct item_numbers numbers = {view->order, view->cas};
    return store_link_and_unlock(store, &locked, new_ref, 0, hash, numbers) == PYMC_OK ? 1 : -1;
}

// Whether the mark changes anything that a copy on flash has too.
static bool changes_record(const struct store_mark *mark) {
    return mark->renumbers || mark->has_expiry
           || ((mark->set_state | mark->clear_state) & ~(uint32_t)(ITEM_FETCHED | ITEM_READS_MASK));
}

int store_mark(struct store *store, const struct store_view *view, const char *key, uint64_t hash,
               const struct store_mark *mark) {
    bool is_own = mark->renumbers && mark->has_cas_new && store_has_cas(store);
    uint32_t missing = ((mark->has_expiry && mark->expiry_seconds ? ITEM_EXPIRES : 0u)
                        | (is_own ? ITEM_OWN_CAS : 0u)) & ~view->state;
    if (missing) {
        // With a number all must change at once, in the next round; a field alone changes nothing yet.
        bool has_expiry = mark->has_expiry && !mark->renumbers;
        int done = reshape(store, view, key, hash, missing,
                           has_expiry ? mark->expiry_seconds : view->expiry_seconds);
        if (done == 1 && (mark->set_state | mark->clear_state)) {
            return 2;   // The item moved: the caller looks again and marks the rest.
        }
        struct store_view moved;
        if (done == 1 && mark->is_read && store_find(store, key, view->key_bytes, hash, &moved) == STORE_HIT) {
            store_bump(store, &moved);  // Somebody who changes it in between costs it one read.
        }
        return done;
    }
    if (!store_upgrade(store, view)) {
        return 0;
    }
    struct item *item = (struct item *)view->item;
    uint32_t state = (view->state | mark->set_state) & ~mark->clear_state;
    if (mark->is_read) {
        state = item_read_once_more(state);
        SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    }
    if (UNLIKELY(state & (ITEM_COPIED | ITEM_ON_FLASH)) && changes_record(mark)) {
        store_notice_flush(store);
        state = store_spoil_copy(store, item, state, hash);
    }
    if (mark->renumbers) {
        struct item_numbers numbers = store_numbers_for(store, mark->has_cas_new, mark->cas_new);
        if (store_is_flushed(store, view->order)) {
            index_unlock(store->proc, view->home, false);
            return 0;
        }
        item_set_numbers(item, state, numbers);
    }
    if (mark->has_expiry && (view->state & ITEM_EXPIRES)) {
        item_set_expiry(item, mark->expiry_seconds);
    }
    item_set_state(item, state);
    index_unlock(store->proc, view->home, true);
    return 1;
}

int store_touch(struct store *store, const char *key, uint32_t key_bytes, uint32_t expiry_seconds) {
    uint64_t hash = store_hash(store, key, key_bytes);
    struct store_mark mark = {.has_expiry = true, .expiry_seconds = expiry_seconds, .is_read = true};
    struct store_view view;
    for (;;) {
        int found = store_find(store, key, key_bytes, hash, &view);
        if (found != STORE_HIT) {
            int missed = store_missed(store, &view, found, hash);
            if (missed == STORE_ON_FLASH) {
                return missed;
            }
            if (missed == STORE_HIT) {
                continue;
            }
            count(store->proc, COUNTER_touch_misses, 1);
            return STORE_NOT_FOUND;
        }
        int done = store_mark(store, &view, key, hash, &mark);
        if (done < 0) {
            return STORE_NO_MEMORY;
        }
        if (done) {
            break;
        }
    }
    class_count(store, view.class_id, CLASS_touch_hits, 1);
    return STORE_TOUCHED;
}

int store_read_value(struct store *store, const char *key, uint32_t key_bytes, char *place, uint32_t place_bytes,
                     struct store_read *out) {
    uint64_t hash = store_hash(store, key, key_bytes);
    struct store_view view;
    for (;;) {
        int found = store_find(store, key, key_bytes, hash, &view);
        if (found != STORE_HIT) {
            return found;
        }
        uint32_t copied = 0;
        const char *piece;
        uint32_t piece_bytes;
        while (copied < place_bytes
               && (piece_bytes = store_value_span(store, view.item, view.state, view.class_id, copied, &piece))) {
            uint32_t fits = piece_bytes < place_bytes - copied ? piece_bytes : place_bytes - copied;
            racy_copy(place + copied, piece, fits);
            copied += fits;
        }
        if (store_holds(&view)) {
            *out = (struct store_read){view.value_bytes, view.client_flags, view.expiry_seconds, view.time_seconds,
                                       view.state, view.cas};
            if (store_wants_bump(store, &view)) {
                store_bump(store, &view);
            }
            return STORE_HIT;
        }
    }
}
