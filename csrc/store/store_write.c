// Storing: shaping a new item, filling it, linking it in place of the old one.
#include "store/store_find_inline.h"
#include "store/store_txn_inline.h"

// memcached's own test of what fits below -I, with its header sizes, so that both refuse the same
// values.
static bool is_above_item_limit(const struct store *store, const struct store_write *write,
                                uint64_t value_bytes) {
    uint64_t counted = 48 + (live_get(store->arena, LIVE_cas_enabled) ? 8 : 0) + write->key_bytes
                       + 1 + (write->client_flags ? 4 : 0) + value_bytes + 2;
    return counted > (uint64_t)live_get(store->arena, LIVE_item_bytes_max);
}

int store_shape_of(const struct store *store, const struct store_write *write, uint32_t value_bytes,
                   uint32_t extra_state, struct store_shape *out) {
    if (is_above_item_limit(store, write, value_bytes)) {
        return STORE_TOO_LARGE;
    }
    uint32_t state = extra_state | (write->client_flags ? ITEM_CLIENT_FLAGS : 0)
                     | (write->expiry_seconds || write->invalidate ? ITEM_EXPIRES : 0)
                     | (write->has_cas_new && store_has_cas(store) ? ITEM_OWN_CAS : 0)
                     | (write->key_is_binary ? ITEM_BINARY_KEY : 0)
                     | (write->token_sent ? ITEM_TOKEN_SENT : 0);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, store->largest_class);
    uint32_t head = ITEM_HEADER_BYTES + item_optional_bytes(state) + write->key_bytes;
    // An inline item must be able to get every optional field later without outgrowing the largest
    // chunk.
    uint32_t all_fields = item_optional_bytes(ITEM_EXPIRES | ITEM_CLIENT_FLAGS | ITEM_OWN_CAS);
    out->is_large =
        (uint64_t)ITEM_HEADER_BYTES + all_fields + write->key_bytes + value_bytes > chunk_bytes;
    if (out->is_large) {
        // All optional fields from the start: a large item is never copied to make room for one.
        state |= ITEM_EXPIRES | ITEM_CLIENT_FLAGS | ITEM_OWN_CAS;
        uint32_t payload = store_part_payload_bytes(store);
        uint32_t parts = (value_bytes + payload - 1) / payload;
        head = ITEM_HEADER_BYTES + item_optional_bytes(state) + write->key_bytes;
        out->total_bytes = ((head + 3) & ~3u) + (uint32_t)sizeof(struct item_large) + parts * 4;
        if (out->total_bytes > chunk_bytes) {
            return STORE_TOO_LARGE;
        }
    } else {
        out->total_bytes = head + value_bytes;
    }
    out->head_bytes = head;
    out->state = state;
    return STORE_STORED;
}

void store_fill_head(struct store *store, uint32_t ref, const struct store_write *write,
                     uint32_t value_bytes, const struct store_shape *shape) {
    struct item *item = store_item(store, ref);
    uint32_t state = shape->state;
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    SHARED_STORE(item->sizes, item_pack_sizes(shape->is_large ? 0 : value_bytes, write->key_bytes));
    SHARED_STORE(item->order_low, 0);
    SHARED_STORE(item->order_high, 0);
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, write->expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, write->client_flags);
    }
    racy_write(item_key(item, state), write->key, write->key_bytes);
    if (shape->is_large) {
        struct item_large *large = item_large_of(item, state);
        SHARED_STORE(large->value_bytes, value_bytes);
        SHARED_STORE(large->part_count, 0);
        state |= ITEM_LARGE;
    }
    item_set_state(item, state);
}

static uint32_t queue_for(const struct store *store, const struct item *item, uint32_t state) {
    uint32_t expiry = item_expiry(item, state);
    if (expiry && live_get(store->arena, LIVE_temp_lru)
        && expiry <= store->proc->now_seconds
                         + (uint64_t)live_get(store->arena, LIVE_temporary_ttl_seconds)) {
        return QUEUE_TEMP;
    }
    return live_get(store->arena, LIVE_lru_segmented) ? QUEUE_HOT : QUEUE_COLD;
}

// A probation longer by an eighth of the class would have had this key: it grows by so many
// quarters of an entry. The hand takes one back for each item that its last read saves, so that
// hits at either border weigh alike.
#define ADAPT_QUARTERS 3

// Where a new item begins, and with what reads. What replaces a live item goes on where that one
// was; a key that was evicted from probation lately has proven itself.
static uint32_t with_queue(struct store *store, uint32_t new_ref, uint32_t state,
                           const struct store_locked *locked, uint64_t hash) {
    uint32_t queue = queue_for(store, store_item(store, new_ref), state);
    uint32_t reads = 0;
    if (queue == QUEUE_HOT && locked->item && !locked->is_dead) {
        enum item_queue old = item_queue_of(locked->state);
        queue = old == QUEUE_WARM || old == QUEUE_COLD ? QUEUE_WARM : QUEUE_HOT;
        reads = item_reads(locked->state);
    } else if (queue == QUEUE_HOT) {
        uint32_t rank = ghost_take(&store->lru, hash);
        queue = rank ? QUEUE_WARM : QUEUE_HOT;
        if (UNLIKELY(rank == 1)) {
            store_adapt_probation(store, slab_class_of(&store->slab, new_ref), ADAPT_QUARTERS);
        }
    }
    return (item_with_reads(state, reads) & ~(uint32_t)ITEM_QUEUE_MASK) | queue << ITEM_QUEUE_SHIFT;
}

void store_notice_flush_now(struct store *store, uint64_t flush_order) {
    struct store_local *local = store->local;
    uint64_t *counters = store->proc->slot->counters;
    SHARED_STORE(counters[COUNTER_flushed_items], counters[COUNTER_items]);
    SHARED_STORE(counters[COUNTER_flushed_item_bytes], counters[COUNTER_item_bytes]);
    SHARED_STORE(counters[COUNTER_flushed_with_copy], counters[COUNTER_items_with_copy]);
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        uint64_t *of_class = local->class_counters[class_id];
        SHARED_STORE(of_class[CLASS_flushed_items], of_class[CLASS_items]);
        SHARED_STORE(of_class[CLASS_flushed_item_bytes], of_class[CLASS_item_bytes]);
        SHARED_STORE(of_class[CLASS_flushed_warm_items], of_class[CLASS_warm_items]);
        SHARED_STORE(of_class[CLASS_flushed_temp_items], of_class[CLASS_temp_items]);
    }
    // Last: until then all of this process counts as flushed, and who dies here leaves it to the
    // next owner.
    SHARED_RELEASE(local->flush_noticed, flush_order);
}

void store_count_in_class(struct store *store, uint32_t ref, uint64_t order, uint32_t state,
                          uint64_t bytes, int sign) {
    uint32_t class_id = slab_class_of(&store->slab, ref);
    uint64_t by = (uint64_t)(int64_t)sign;
    uint64_t by_flushed = store_counts_as_flushed(store, order) ? by : 0;
    class_count(store, class_id, CLASS_items, by);
    class_count(store, class_id, CLASS_item_bytes, by * bytes);
    store_count_borrowed(store, ref, bytes, sign);
    if (item_queue_of(state) == QUEUE_TEMP) {
        class_count(store, class_id, CLASS_temp_items, by);
        class_count(store, class_id, CLASS_flushed_temp_items, by_flushed);
    } else if (item_queue_of(state) == QUEUE_WARM) {
        class_count(store, class_id, CLASS_warm_items, by);
        class_count(store, class_id, CLASS_flushed_warm_items, by_flushed);
    }
    if (UNLIKELY(by_flushed)) {
        class_count(store, class_id, CLASS_flushed_items, by);
        class_count(store, class_id, CLASS_flushed_item_bytes, by * bytes);
    }
}

// A new item is noted for probation; a hint, which a death may lose.
static void note_for_probation(struct store *store, uint32_t new_ref) {
    uint32_t class_id = slab_class_of(&store->slab, new_ref);
    struct store_pending *pending = &store->local->pending[class_id];
    uint32_t noted = pending->count;
    SHARED_STORE(pending->refs[noted], new_ref);
    SHARED_STORE(pending->count, noted + 1);
    if (UNLIKELY(noted + 1 == STORE_PENDING)) {
        store_push_pending(store, class_id);
    }
}

// The new item in the place of the old one, or beside the others when there is no old one. What is
// stored here decides.
static int put_into_index(struct store *store, struct store_locked *locked, uint32_t new_ref,
                          uint64_t hash, uint32_t old_state) {
    if (!locked->item) {
        return index_insert_locked(&store->index, store->proc, locked->home, index_tag(hash),
                                   new_ref);
    }
    index_replace_locked(locked->place, new_ref);
    FAULT_POINT(store->proc, "store.link.replaced");
    item_set_state(locked->item, old_state & ~(uint32_t)ITEM_LINKED);
    return PYMC_OK;
}

int store_link_and_unlock(struct store *store, struct store_locked *locked, uint32_t new_ref,
                          uint32_t claim_plus_one, uint64_t hash, struct item_numbers numbers) {
    struct item *item = store_item(store, new_ref);
    uint32_t state = item_state_of(item);
    state = with_queue(store, new_ref, state, locked, hash) | ITEM_LINKED;
    item_set_numbers(item, state, numbers);
    item_set_state(item, state);
    // Its number may be above the mark of a flush that came since the bucket was locked.
    store_notice_flush(store);
    uint64_t bytes = store_item_bytes(store, item, state);
    uint32_t old_state = locked->item ? locked->state : 0;
    uint64_t old_bytes = locked->item ? store_item_bytes(store, locked->item, old_state) : 0;
    uint64_t old_order = locked->item ? item_order(locked->item) : 0;
    struct store_change change = {0};
    store_change_add(store, &change, numbers.order, bytes, 1);
    if (locked->item) {
        store_change_add(store, &change, old_order, old_bytes, (uint64_t)-1);
    }
    store_txn_plan(store, &change);
    store_txn_arm(store, TXN_LINK,
                  (struct store_txn_names){
                      .new_ref = new_ref, .old_ref = locked->ref, .claim = claim_plus_one});
    FAULT_POINT(store->proc, "store.link.before");
    bool is_new = !locked->item;
    if (UNLIKELY(store->flash) && !(state & ITEM_ON_FLASH)) {
        old_state = store_spoil_copy(store, locked->item, old_state, hash);
        FAULT_POINT(store->proc, "store.link.spoilt");
    }
    int status = put_into_index(store, locked, new_ref, hash, old_state);
    if (status != PYMC_OK) {
        item_set_state(item, state & ~(uint32_t)ITEM_LINKED);
        store_txn_disarm(store);
        store_unlock(store, locked, false);
        store->has_full_chain = true;
        store->full_chain_hash = hash;
        return status;
    }
    FAULT_POINT(store->proc, "store.link.after");
    store_txn_decided(store, TXN_LINK);
    FAULT_POINT(store->proc, "store.link.free");
    store_unlock(store, locked, true);
    FAULT_POINT(store->proc, "store.link.unlocked");
    if (is_new) {
        index_count(&store->index, store->proc, 1);
    }
    bool is_alike = !is_new && bytes == old_bytes
                    && item_queue_of(state) == item_queue_of(old_state)
                    && slab_class_of(&store->slab, new_ref) == locked->class_id
                    && !store_counts_as_flushed(store, old_order)
                    && !store_counts_as_flushed(store, numbers.order);
    if (!is_alike) {
        if (!is_new) {
            store_count_in_class(store, locked->ref, old_order, old_state, old_bytes, -1);
        }
        store_count_in_class(store, new_ref, numbers.order, state, bytes, 1);
    }
    store_txn_free(store);
    if (item_queue_of(state) == QUEUE_HOT) {
        note_for_probation(store, new_ref);
    }
    return PYMC_OK;
}

// What the mode and the CAS say about storing over (or without) the old item.
static int decide(struct store *store, const struct store_write *write,
                  const struct store_locked *locked, bool *stale_out) {
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
    uint64_t cas = store_cas_of(store, locked->item, locked->state);
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
static void inherit_stale(struct store *store, uint32_t new_ref,
                          const struct store_locked *locked) {
    struct item *item = store_item(store, new_ref);
    uint32_t state = item_state_of(item) | ITEM_STALE | (locked->state & ITEM_TOKEN_SENT);
    item_set_expiry(item, item_expiry(locked->item, locked->state));
    item_set_state(item, state);
}

static bool needs_old(const struct store_write *write) {
    return write->mode != STORE_SET || write->has_cas_compare;
}

// Found out before anything is counted or made: STORE_ON_FLASH and STORE_BUSY put the command off.
static int look_for_old(struct store *store, const struct store_write *write, uint64_t hash) {
    struct store_view view;
    if (!store->flash || !needs_old(write)) {
        return STORE_MISS;
    }
    int found = store_find(store, write->key, write->key_bytes, hash, &view);
    return found == STORE_MISS && store_may_be_on_flash(store, hash) ? STORE_ON_FLASH : found;
}

// Decides under the lock and links. The new item is in hand or in a claim.
static int commit(struct store *store, const struct store_write *write, uint64_t hash,
                  uint32_t new_ref, uint32_t claim_plus_one, struct store_result *result) {
    struct store_locked locked;
    if (UNLIKELY(!store_lock(store, write->key, write->key_bytes, hash, &locked))) {
        return STORE_BUSY;
    }
    if (UNLIKELY(!locked.item && needs_old(write)) && store_may_be_on_flash(store, hash)) {
        store_unlock(store, &locked, false);
        return STORE_ON_FLASH;
    }
    struct item_numbers numbers = store_numbers_for(store, write->has_cas_new, write->cas_new);
    if (locked.item && needs_old(write)) {
        locked.is_dead = store_is_dead(store, locked.item, locked.state);
    }
    bool is_stale;
    int outcome = decide(store, write, &locked, &is_stale);
    if (outcome != STORE_STORED) {
        if (write->mode == STORE_ADD && locked.item && !locked.is_dead) {
            item_set_state(locked.item, item_used_once_more(locked.state));
        }
        store_unlock(store, &locked, true);
        return outcome;
    }
    if (is_stale) {
        inherit_stale(store, new_ref, &locked);
    }
    // A value may have come in slowly: it counts as stored when it becomes visible.
    struct item *item = store_item(store, new_ref);
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    result->value_bytes = store_value_bytes(item, item_state_of(item));
    int dead_as = !locked.is_dead                                    ? STORE_HIT
                  : store_is_flushed(store, item_order(locked.item)) ? STORE_MISS_FLUSHED
                                                                     : STORE_MISS_EXPIRED;
    if (store_link_and_unlock(store, &locked, new_ref, claim_plus_one, hash, numbers) != PYMC_OK) {
        return STORE_BUSY;
    }
    store_count_dead(store, dead_as);
    result->cas = numbers.cas;
    count(store->proc, COUNTER_total_items, 1);
    return STORE_STORED;
}

// A write that found nothing to write to may have found something dead.
static void reap_dead(struct store *store, const struct store_write *write, uint64_t hash,
                      int outcome) {
    struct store_view view;
    if (write->mode == STORE_ADD || (outcome != STORE_NOT_STORED && outcome != STORE_NOT_FOUND)) {
        return;
    }
    int found = store_find(store, write->key, write->key_bytes, hash, &view);
    if (found == STORE_MISS_EXPIRED || found == STORE_MISS_FLUSHED) {
        store_count_dead(store, found);
        store_reap(store, &view);
    }
}

static int refuse(struct store *store, const struct store_write *write, int outcome) {
    if (write->mode == STORE_SET && !write->has_cas_compare
        && store_forget(store, write->key, write->key_bytes) == STORE_BUSY) {
        return STORE_BUSY;
    }
    if (outcome == STORE_TOO_LARGE) {
        count(store->proc, COUNTER_store_too_large, 1);
    } else {
        store_refused(store, COUNTER_oom_no_victim);
    }
    return outcome;
}

// All this will be done over again, and counted then.
static void discount_set(struct store *store, const struct store_write *write, uint32_t ref) {
    class_count(store, slab_class_of(&store->slab, ref), CLASS_cmd_set,
                write->is_uncounted ? 0 : (uint64_t)-1);
}

// Fills from a buffer. Requires: the room is there.
static void fill(struct store *store, struct store_making *making, const char *bytes,
                 uint32_t count_bytes) {
    while (count_bytes > 0) {
        char *place;
        uint32_t fits = store_making_span(store, making, &place);
        fits = fits < count_bytes ? fits : count_bytes;
        if (fits == 0) {
            return;
        }
        racy_write(place, bytes, fits);
        making->filled_bytes += fits;
        bytes += fits;
        count_bytes -= fits;
    }
}

static int put_by_pieces(struct store *store, const struct store_write *write, const char *value,
                         struct store_result *result) {
    struct store_making making;
    int outcome = store_begin(store, write, &making);
    if (outcome != STORE_HIT) {
        return outcome;
    }
    if (store_take_parts(store, &making)) {
        fill(store, &making, value, write->value_bytes);
        outcome = store_commit(store, write, &making, result);
    } else {
        outcome = store_give_up(store, write, &making);
    }
    if (store_is_put_off(outcome)) {
        discount_set(store, write, making.ref);
    }
    store_abandon(store, &making);
    return outcome;
}

// An appended or prepended piece: in a buffer, or in an item of its own when it came in pieces.
struct piece {
    const char *bytes;
    struct store_making *making;    // NULL: in the buffer.
    uint32_t value_bytes;
};

// Joins the piece with the old value in a new item. Looks again while the old one changes.
static int commit_joined(struct store *store, const struct store_write *write,
                         const struct piece *piece, struct store_result *result);

// The piece is all there: it needs no memory of its own.
static int put_joined(struct store *store, const struct store_write *write, const char *value,
                      struct store_result *result) {
    struct store_write shaped = store_write_shaped(write);
    struct store_shape shape;
    int outcome = store_shape_of(store, &shaped, write->value_bytes, 0, &shape);
    if (outcome != STORE_STORED) {
        return refuse(store, write, outcome);
    }
    uint32_t class_id = store_class_for(store, shape.total_bytes);
    class_count(store, class_id, CLASS_cmd_set, !write->is_uncounted);
    struct piece piece = {value, NULL, write->value_bytes};
    outcome = commit_joined(store, write, &piece, result);
    if (store_is_put_off(outcome)) {
        class_count(store, class_id, CLASS_cmd_set, write->is_uncounted ? 0 : (uint64_t)-1);
    }
    return outcome;
}

int store_put(struct store *store, const struct store_write *write, const char *value,
              struct store_result *result) {
    struct store_shape shape;
    uint64_t hash = store_hash(store, write->key, write->key_bytes);
    *result = (struct store_result){.value_bytes = write->value_bytes};
    int old = UNLIKELY(needs_old(write)) ? look_for_old(store, write, hash) : STORE_MISS;
    if (store_is_put_off(old)) {
        return old;
    }
    if (write->mode >= STORE_APPEND) {
        return put_joined(store, write, value, result);
    }
    int outcome = store_shape_of(store, write, write->value_bytes, 0, &shape);
    if (outcome != STORE_STORED) {
        return refuse(store, write, outcome);
    }
    if (shape.is_large) {
        return put_by_pieces(store, write, value, result);
    }
    store_prefetch_bucket(store, hash);
    uint32_t ref = store_take(store, shape.total_bytes);
    if (!ref) {
        return refuse(store, write, STORE_NO_MEMORY);
    }
    FAULT_POINT(store->proc, "store.put.taken");
    store_prefetch_items(store, hash);
    ghost_prefetch(&store->lru, hash);
    class_count(store, slab_class_of(&store->slab, ref), CLASS_cmd_set, !write->is_uncounted);
    store_fill_head(store, ref, write, write->value_bytes, &shape);
    racy_write((char *)store_item(store, ref) + shape.head_bytes, value, write->value_bytes);
    FAULT_POINT(store->proc, "store.put.filled");
    outcome = commit(store, write, hash, ref, 0, result);
    if (store_is_put_off(outcome)) {
        discount_set(store, write, ref);
    }
    if (outcome != STORE_STORED) {
        store_give_hand(store);
        reap_dead(store, write, hash, outcome);
    }
    return outcome;
}

int store_commit(struct store *store, const struct store_write *write, struct store_making *making,
                 struct store_result *result) {
    *result = (struct store_result){.value_bytes = write->value_bytes};
    if (write->mode >= STORE_APPEND) {
        struct piece piece = {NULL, making, making->value_bytes};
        int outcome = commit_joined(store, write, &piece, result);
        if (!store_is_put_off(outcome)) {
            store_abandon(store, making);
        }
        return outcome;
    }
    uint64_t hash = store_hash(store, write->key, write->key_bytes);
    int outcome = commit(store, write, hash, making->ref, making->claim + 1, result);
    if (outcome == STORE_STORED) {
        making->ref = 0;
    } else if (!store_is_put_off(outcome)) {
        store_abandon(store, making);
        reap_dead(store, write, hash, outcome);
    }
    return outcome;
}

static void copy_value(struct store *store, struct store_making *to, const struct item *from,
                       uint32_t state, uint32_t class_id) {
    uint32_t offset = 0;
    const char *piece;
    uint32_t piece_bytes;
    while ((piece_bytes = store_value_span(store, from, state, class_id, offset, &piece))) {
        char *place;
        uint32_t fits = store_making_span(store, to, &place);
        fits = fits < piece_bytes ? fits : piece_bytes;
        if (fits == 0) {
            return;    // The source is changing; the version check will tell.
        }
        racy_copy(place, piece, fits);
        to->filled_bytes += fits;
        offset += fits;
    }
}

static void copy_piece(struct store *store, struct store_making *to, const struct piece *piece) {
    if (!piece->making) {
        fill(store, to, piece->bytes, piece->value_bytes);
        return;
    }
    const struct item *item = store_item(store, piece->making->ref);
    copy_value(store, to, item, item_state_of(item),
               slab_class_of(&store->slab, piece->making->ref));
}

static void copy_joined(struct store *store, const struct store_write *write,
                        struct store_making *to, const struct piece *piece, const struct item *old,
                        uint32_t old_state, uint32_t class_id) {
    to->filled_bytes = 0;
    if (write->mode == STORE_PREPEND) {
        copy_piece(store, to, piece);
    }
    copy_value(store, to, old, old_state, class_id);
    if (write->mode == STORE_APPEND) {
        copy_piece(store, to, piece);
    }
}

static int commit_missing(struct store *store, const struct store_write *write,
                          const struct piece *piece, struct store_result *result) {
    if (!write->vivify) {
        return STORE_NOT_STORED;
    }
    struct store_write fresh = *write;
    fresh.mode = STORE_ADD;
    fresh.has_cas_compare = false;
    fresh.expiry_seconds = write->vivify_expiry_seconds;
    if (!piece->making) {
        fresh.is_uncounted = true;
        return store_put(store, &fresh, piece->bytes, result);
    }
    struct store_making *making = piece->making;
    struct item *item = store_item(store, making->ref);
    if (item_state_of(item) & ITEM_EXPIRES) {
        item_set_expiry(item, fresh.expiry_seconds);
    }
    int outcome = commit(store, &fresh, store_hash(store, write->key, write->key_bytes),
                         making->ref, making->claim + 1, result);
    if (outcome == STORE_STORED) {
        making->ref = 0;
    }
    return outcome;
}

// Makes room for the joined value while the old item stays. Returns STORE_HIT, or what to answer.
static int begin_joined(struct store *store, const struct store_write *joined,
                        const struct store_view *view, struct store_making *making) {
    uint32_t needed_before = store->needed_ref;
    store->needed_ref = view->ref;
    int outcome = store_begin(store, joined, making);
    if (outcome == STORE_HIT && !store_take_parts(store, making)) {
        outcome = store_give_up(store, joined, making);
    }
    store_need_again(store, needed_before, view->ref);
    // A STORE_REPLACE that finds no room forgets nothing, so that it is not put off.
    return outcome == STORE_HIT ? STORE_HIT : STORE_NOT_STORED;    // memcached's word for either.
}

// Under the bucket's lock the old item stands still: copies it, if it still is what room was made
// for.
static bool copy_locked(struct store *store, const struct store_write *write,
                        struct store_making *making, const struct piece *piece,
                        const struct store_view *view, const struct store_locked *locked) {
    struct item *item = store_item(store, making->ref);
    uint32_t expiry_seconds = item_expiry(locked->item, locked->state);
    bool can_expire = item_state_of(item) & ITEM_EXPIRES;
    if (store_value_bytes(locked->item, locked->state) != view->value_bytes
        || item_client_flags(locked->item, locked->state) != view->client_flags
        || (expiry_seconds && !can_expire)
        || (write->has_cas_compare && write->cas_compare
            && write->cas_compare != store_cas_of(store, locked->item, locked->state))) {
        return false;
    }
    if (can_expire) {
        item_set_expiry(item, expiry_seconds);
    }
    copy_joined(store, write, making, piece, locked->item, locked->state, locked->class_id);
    return true;
}

static int join_once(struct store *store, const struct store_write *write,
                     const struct piece *piece, const struct store_view *view, uint64_t hash,
                     bool is_patient, struct store_result *result) {
    struct store_write joined = *write;
    joined.mode = STORE_REPLACE;
    joined.client_flags = view->client_flags;
    joined.expiry_seconds = view->expiry_seconds;
    joined.invalidate = false;
    joined.is_uncounted = true;
    if ((uint64_t)view->value_bytes + piece->value_bytes > INT32_MAX) {
        return STORE_NOT_STORED;
    }
    joined.value_bytes = view->value_bytes + piece->value_bytes;
    struct store_making making;
    int outcome = begin_joined(store, &joined, view, &making);
    if (outcome != STORE_HIT) {
        return outcome;
    }
    if (is_patient) {
        copy_joined(store, write, &making, piece, view->item, view->state, view->class_id);
    }
    struct item_numbers numbers = store_numbers_for(store, write->has_cas_new, write->cas_new);
    struct store_locked locked;
    if (!store_lock(store, write->key, write->key_bytes, hash, &locked)) {
        store_abandon(store, &making);
        return STORE_BUSY;
    }
    // Flushed meanwhile, it must not come back as part of the new value.
    bool same =
        locked.item && !locked.is_dead
        && (is_patient ? locked.home == view->home
                             && (SHARED_LOAD(view->home->word) & ~LOCK_OWNER_MASK) == view->version
                       : copy_locked(store, write, &making, piece, view, &locked));
    if (!same || making.filled_bytes != joined.value_bytes) {
        store_unlock(store, &locked, false);
        store_abandon(store, &making);
        return STORE_MISS;    // Look again.
    }
    if (store_link_and_unlock(store, &locked, making.ref, making.claim + 1, hash, numbers)
        != PYMC_OK) {
        store_abandon(store, &making);
        return STORE_BUSY;
    }
    count(store->proc, COUNTER_total_items, 1);
    *result = (struct store_result){numbers.cas, joined.value_bytes};
    return STORE_STORED;
}

// So often the old value is copied without a lock; then under it, since others keep its bucket
// changing.
#define JOINS_PATIENT 4
#define JOINS_MAX 64

static int commit_joined(struct store *store, const struct store_write *write,
                         const struct piece *piece, struct store_result *result) {
    uint64_t hash = store_hash(store, write->key, write->key_bytes);
    for (uint32_t round = 0; round < JOINS_MAX; round++) {
        struct store_view view;
        int found = store_look(store, write->key, write->key_bytes, hash, round, &view);
        // There is no making room under a bucket's lock: it is taken again when there is some.
        store_let_go(store, &view);
        if (found != STORE_HIT) {
            int missed = store_missed(store, &view, found, hash, round);
            if (store_is_put_off(missed)) {
                return missed;
            }
            if (missed == STORE_HIT) {
                continue;
            }
            int outcome = commit_missing(store, write, piece, result);
            if (write->vivify && outcome == STORE_NOT_STORED) {
                continue;    // Somebody else was faster: join with that one.
            }
            return outcome;
        }
        if (write->has_cas_compare && write->cas_compare && write->cas_compare != view.cas) {
            return STORE_EXISTS;
        }
        int outcome = join_once(store, write, piece, &view, hash, round < JOINS_PATIENT, result);
        if (outcome != STORE_MISS) {
            return outcome;
        }
    }
    return STORE_BUSY;
}

int store_forget(struct store *store, const char *key, uint32_t key_bytes) {
    struct store_locked locked;
    uint64_t hash = store_hash(store, key, key_bytes);
    if (!store_lock(store, key, key_bytes, hash, &locked)) {
        return STORE_BUSY;
    }
    if (!locked.item) {
        store_spoil_copy(store, NULL, 0, hash);
        store_unlock(store, &locked, false);
        return STORE_NOT_FOUND;
    }
    store_unlink_and_unlock(store, &locked);
    return STORE_DELETED;
}
