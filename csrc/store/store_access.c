// Locking a key, noticing reads, pins, and small changes to an item's header.
#include "store/store_find_inline.h"
#include "store/store_txn_inline.h"

bool store_lock(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                struct store_locked *out) {
    uint8_t tag = index_tag(hash);
    out->item = NULL;
    out->home = index_lock(&store->index, store->proc, hash);
    out->hash = hash;
    if (UNLIKELY(!out->home)) {
        return false;
    }
    store_notice_flush(store);
    out->ref = 0;
    out->is_dead = false;
    uint32_t depth = 0;
    for (struct bucket *bucket = out->home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t bits = index_match(bucket, tag); bits; bits &= bits - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(bits);
            if (UNLIKELY(bucket->refs[slot] >= store->ref_end)) {
                store_remove_stray(store, (struct index_place){bucket, slot});
                continue;
            }
            struct item *item = store_item(store, bucket->refs[slot]);
            uint32_t state = item_state_of(item);
            if (item_key_bytes(item->sizes) == key_bytes
                && memcmp(item_key(item, state), key, key_bytes) == 0) {
                out->place = (struct index_place){bucket, slot};
                out->item = item;
                out->ref = bucket->refs[slot];
                out->state = state;
                out->class_id = slab_class_of(&store->slab, out->ref);
                out->is_dead = store_is_dead(store, item, state);
                return true;
            }
        }
        bucket = (struct bucket *)index_next(&store->index, bucket);
    }
    return true;
}

bool store_lock_ref(struct store *store, uint32_t ref, struct store_locked *out) {
    bool was_hasty = store->proc->is_hasty;
    store->proc->is_hasty = true;
    bool is_locked = store_lock_ref_patiently(store, ref, out);
    store->proc->is_hasty = was_hasty;
    return is_locked;
}

bool store_lock_ref_patiently(struct store *store, uint32_t ref, struct store_locked *out) {
    const struct item *item = store_item(store, ref);
    uint32_t state = item_state_of(item);
    uint32_t key_bytes = item_key_bytes(SHARED_LOAD(item->sizes));
    // This look saves the hash and the lock of what is no item; what the locked bucket names
    // decides.
    if (!(state & ITEM_LINKED) || (state & ITEM_PART) || key_bytes == 0) {
        return false;
    }
    char key[256];
    racy_copy(key, item_key(item, state), key_bytes);
    out->hash = store_hash(store, key, key_bytes);
    out->home = index_lock(&store->index, store->proc, out->hash);
    if (UNLIKELY(!out->home)) {
        return false;
    }
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
    return state & ITEM_LARGE ? item_large_of(item, state)->value_bytes
                              : item_inline_value_bytes(item->sizes);
}

uint64_t store_item_bytes(const struct store *store, const struct item *item, uint32_t state) {
    (void)store;
    uint32_t key_bytes = item_key_bytes(item->sizes);
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        return item_large_offset(state, key_bytes) + sizeof *large
               + (uint64_t)large->part_count * (sizeof(uint32_t) + ITEM_HEADER_BYTES)
               + large->value_bytes;
    }
    return ITEM_HEADER_BYTES + item_optional_bytes(state) + key_bytes
           + item_inline_value_bytes(item->sizes);
}

void store_bump(struct store *store, struct store_view *view) {
    if (!view->ref || !store_upgrade(store, view)) {
        return;
    }
    struct item *item = (struct item *)view->item;
    item_set_state(item, item_read_once_more(view->state));
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    store_view_unlock(store, view, true);
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

int store_missed(struct store *store, const struct store_view *view, int found, uint64_t hash,
                 uint32_t round) {
    if (store_is_put_off(found)) {
        return found;
    }
    if (found != STORE_MISS) {
        store_count_dead(store, found);
        store_reap(store, view);
    } else if (UNLIKELY(store->flash) && round < STORE_LOOKS_OPTIMISTIC) {
        if (store_may_be_on_flash(store, hash)) {
            return STORE_ON_FLASH;
        }
        return store_holds(view) ? STORE_MISS : STORE_HIT;
    }
    return STORE_MISS;
}

bool store_stands(const struct store_locked *locked, const struct store_view *view) {
    return locked->item && !locked->is_dead && locked->ref == view->ref
           && item_order(locked->item) == view->order
           && ((locked->state ^ view->state) & (ITEM_STALE | ITEM_TOKEN_SENT)) == 0
           && item_expiry(locked->item, locked->state) == view->expiry_seconds;
}

static uint32_t marked_state(uint32_t state, const struct store_mark *mark) {
    state = (state | mark->set_state) & ~mark->clear_state;
    return mark->is_read ? item_read_once_more(state) : state;
}

// Copies an inline item into a larger chunk that has the optional fields of `extra_state`, marked,
// and puts it in its place. What store_mark() returns.
static int reshape(struct store *store, const struct store_view *view, const char *key,
                   uint64_t hash, uint32_t extra_state, const struct store_mark *mark) {
    uint32_t shape = view->state | extra_state;
    uint32_t head_bytes = ITEM_HEADER_BYTES + item_optional_bytes(shape) + view->key_bytes;
    uint32_t new_ref = 0;
    if (head_bytes + view->value_bytes > slab_chunk_bytes(&store->slab, store->largest_class)
        || !(new_ref = store_take_beside(store, view->ref, head_bytes + view->value_bytes))) {
        return store_refused(store, COUNTER_oom_no_victim);
    }
    if (new_ref == view->ref) {
        // Making room has evicted the very item.
        store_give_hand(store);
        return STORE_MISS;
    }
    // A value does not change without a new number: what is copied now is whole if the number is
    // the same then.
    struct item *item = store_item(store, new_ref);
    racy_copy((char *)item + head_bytes, view->value, view->value_bytes);
    struct store_locked locked;
    struct item_numbers numbers = {view->order, view->cas};
    if (mark->renumbers) {
        numbers = store_numbers_for(store, mark->has_cas_new, mark->cas_new);
    }
    bool is_locked = store_lock(store, key, view->key_bytes, hash, &locked);
    if (!is_locked || !store_stands(&locked, view)) {
        if (is_locked) {
            store_unlock(store, &locked, false);
        }
        store_give_hand(store);
        return is_locked ? STORE_MISS : STORE_BUSY;
    }
    uint32_t state = marked_state(locked.state | extra_state, mark);
    state &= ~(uint32_t)(ITEM_LINKED | ITEM_ON_FLASH);
    SHARED_STORE(item->time_seconds,
                 mark->is_read ? store->proc->now_seconds : locked.item->time_seconds);
    SHARED_STORE(item->sizes, locked.item->sizes);
    item_set_state(item, state);
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, mark->has_expiry ? mark->expiry_seconds : view->expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, view->client_flags);
    }
    racy_write(item_key(item, state), key, view->key_bytes);
    // What replaces an item goes on with the reads of that one.
    locked.state = item_with_reads(locked.state, item_reads(state));
    int status = store_link_and_unlock(store, &locked, new_ref, 0, hash, numbers);
    return status == PYMC_OK ? STORE_TOUCHED : STORE_NO_MEMORY;
}

// Whether the mark changes anything that a copy on flash has too.
static bool changes_record(const struct store_mark *mark) {
    return mark->renumbers || mark->has_expiry
           || ((mark->set_state | mark->clear_state) & ~(uint32_t)(ITEM_FETCHED | ITEM_READS_MASK));
}

int store_mark(struct store *store, struct store_view *view, const char *key, uint64_t hash,
               const struct store_mark *mark) {
    bool is_own = mark->renumbers && mark->has_cas_new && store_has_cas(store);
    uint32_t missing = ((mark->has_expiry && mark->expiry_seconds ? ITEM_EXPIRES : 0u)
                        | (is_own ? ITEM_OWN_CAS : 0u))
                       & ~view->state;
    if (missing) {
        // There is no making room under a bucket's lock.
        store_let_go(store, view);
        return reshape(store, view, key, hash, missing, mark);
    }
    if (!store_upgrade(store, view)) {
        return STORE_MISS;
    }
    struct item *item = (struct item *)view->item;
    uint32_t state = marked_state(view->state, mark);
    if (mark->is_read) {
        SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    }
    if (UNLIKELY(state & ITEM_ON_FLASH) && changes_record(mark)) {
        store_notice_flush(store);
        state = store_spoil_copy(store, item, state, hash);
    }
    if (mark->renumbers) {
        struct item_numbers numbers = store_numbers_for(store, mark->has_cas_new, mark->cas_new);
        if (store_is_flushed(store, view->order)) {
            store_view_unlock(store, view, false);
            return STORE_MISS;
        }
        item_set_numbers(item, state, numbers);
    }
    if (mark->has_expiry && (view->state & ITEM_EXPIRES)) {
        item_set_expiry(item, mark->expiry_seconds);
    }
    item_set_state(item, state);
    store_view_unlock(store, view, true);
    return STORE_TOUCHED;
}

int store_touch(struct store *store, const char *key, uint32_t key_bytes, uint32_t expiry_seconds) {
    uint64_t hash = store_hash(store, key, key_bytes);
    struct store_mark mark = {
        .has_expiry = true, .expiry_seconds = expiry_seconds, .is_read = true};
    struct store_view view;
    for (uint32_t round = 0; round < STORE_LOOKS_MAX; round++) {
        int found = store_look(store, key, key_bytes, hash, round, &view);
        if (found != STORE_HIT) {
            int missed = store_missed(store, &view, found, hash, round);
            if (missed == STORE_HIT) {
                continue;
            }
            count(store->proc, COUNTER_touch_misses, missed == STORE_MISS);
            return missed == STORE_MISS ? STORE_NOT_FOUND : missed;
        }
        int done = store_mark(store, &view, key, hash, &mark);
        if (done != STORE_MISS) {
            class_count(store, view.class_id, CLASS_touch_hits, done == STORE_TOUCHED);
            return done;
        }
    }
    return STORE_BUSY;
}

int store_read_value(struct store *store, const char *key, uint32_t key_bytes, char *place,
                     uint32_t place_bytes, struct store_read *out) {
    uint64_t hash = store_hash(store, key, key_bytes);
    struct store_view view;
    for (uint32_t round = 0; round < STORE_LOOKS_MAX; round++) {
        int found = store_look(store, key, key_bytes, hash, round, &view);
        if (found != STORE_HIT) {
            return found == STORE_ON_FLASH ? STORE_MISS : found;
        }
        uint32_t copied = 0;
        const char *piece;
        uint32_t piece_bytes;
        while (copied < place_bytes
               && (piece_bytes = store_value_span(store, view.item, view.state, view.class_id,
                                                  copied, &piece))) {
            uint32_t fits = piece_bytes < place_bytes - copied ? piece_bytes : place_bytes - copied;
            racy_copy(place + copied, piece, fits);
            copied += fits;
        }
        bool holds = store_holds(&view);
        store_let_go(store, &view);
        if (holds) {
            *out = (struct store_read){view.value_bytes,  view.client_flags, view.expiry_seconds,
                                       view.time_seconds, view.state,        view.cas};
            if (store_wants_bump(store, &view)) {
                store_bump(store, &view);
            }
            return STORE_HIT;
        }
    }
    return STORE_BUSY;
}
