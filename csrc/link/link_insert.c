// Linking an item in the place of the old one, or as a new entry.
#include "link/link_copy_inline.h"
#include "link/link_probation_inline.h"
#include "link/link_txn_inline.h"

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
                           const struct link_locked *locked, uint64_t hash) {
    uint32_t queue = queue_for(store, link_item(store, new_ref), state);
    uint32_t reads = 0;
    if (queue == QUEUE_HOT && locked->item && !locked->is_dead) {
        enum item_queue old = item_queue_of(locked->state);
        queue = old == QUEUE_WARM || old == QUEUE_COLD ? QUEUE_WARM : QUEUE_HOT;
        reads = item_reads(locked->state);
    } else if (queue == QUEUE_HOT) {
        uint32_t rank = ghost_take(&store->lru, hash);
        queue = rank ? QUEUE_WARM : QUEUE_HOT;
        if (UNLIKELY(rank == 1)) {
            link_probation_adapt(store, slab_class_of(&store->slab, new_ref), ADAPT_QUARTERS);
        }
    }
    return (item_with_reads(state, reads) & ~(uint32_t)ITEM_QUEUE_MASK) | queue << ITEM_QUEUE_SHIFT;
}

// The new item in the place of the old one, or beside the others when there is no old one. What is
// stored here decides.
static int put_into_index(struct store *store, struct link_locked *locked, uint32_t new_ref,
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

int link_insert_and_unlock(struct store *store, struct link_locked *locked, uint32_t new_ref,
                           uint32_t claim_plus_one, uint64_t hash, struct item_numbers numbers) {
    struct item *item = link_item(store, new_ref);
    uint32_t state = item_state_of(item);
    state = with_queue(store, new_ref, state, locked, hash) | ITEM_LINKED;
    item_set_numbers(item, state, numbers);
    item_set_state(item, state);
    // Its number may be above the mark of a flush that came since the bucket was locked.
    link_notice_flush(store);
    uint64_t bytes = item_total_bytes(item, state);
    uint32_t old_state = locked->item ? locked->state : 0;
    uint64_t old_bytes = locked->item ? item_total_bytes(locked->item, old_state) : 0;
    uint64_t old_order = locked->item ? item_order(locked->item) : 0;
    struct link_change change = {0};
    link_change_add(store, &change, numbers.order, bytes, 1);
    if (locked->item) {
        link_change_add(store, &change, old_order, old_bytes, (uint64_t)-1);
    }
    link_txn_plan(store, &change);
    link_txn_arm(store, TXN_LINK,
                 (struct link_txn_names){
                     .new_ref = new_ref, .old_ref = locked->ref, .claim = claim_plus_one});
    FAULT_POINT(store->proc, "store.link.before");
    bool is_new = !locked->item;
    if (UNLIKELY(store->flash) && !(state & ITEM_ON_FLASH)) {
        old_state = link_invalidate_copy(store, locked->item, old_state, hash);
        FAULT_POINT(store->proc, "store.link.copy_invalidated");
    }
    int status = put_into_index(store, locked, new_ref, hash, old_state);
    if (status != PYMC_OK) {
        item_set_state(item, state & ~(uint32_t)ITEM_LINKED);
        link_txn_disarm(store);
        link_unlock(store, locked, false);
        store->has_full_chain = true;
        store->full_chain_hash = hash;
        return status;
    }
    FAULT_POINT(store->proc, "store.link.after");
    link_txn_decided(store, TXN_LINK);
    FAULT_POINT(store->proc, "store.link.free");
    link_unlock(store, locked, true);
    FAULT_POINT(store->proc, "store.link.unlocked");
    if (is_new) {
        index_count(&store->index, store->proc, 1);
    }
    bool is_alike = !is_new && bytes == old_bytes
                    && item_queue_of(state) == item_queue_of(old_state)
                    && slab_class_of(&store->slab, new_ref) == locked->class_id
                    && !link_counts_as_flushed(store, old_order)
                    && !link_counts_as_flushed(store, numbers.order);
    if (!is_alike) {
        if (!is_new) {
            link_count_in_class(store, locked->ref, old_order, old_state, old_bytes, -1);
        }
        link_count_in_class(store, new_ref, numbers.order, state, bytes, 1);
    }
    link_txn_free(store);
    if (item_queue_of(state) == QUEUE_HOT) {
        link_note_for_probation(store, new_ref);
    }
    return PYMC_OK;
}
