// Counting items into and out of their process and class, the flushed ones among them.
#pragma once

#include "link/link_handle_inline.h"

// Counting the flushed. The counters of items count what is linked, flushed or not; the flushed_*
// ones count how much of that is flushed, by the flush that this process has noticed last. When it
// notices another, all that it ever linked is flushed. Of a process that has not noticed the
// present flush everything counts as flushed, so that the sums are right from the flush on, and
// exact whenever nobody is at work.
void link_notice_flush_now(struct store *store, uint64_t flush_order);
// Locks: a bucket, so that no item that is younger than the flush can be met without noticing the
// flush. Requires: no transaction has planned counters (link_txn.after).
static inline void link_notice_flush(struct store *store) {
    uint64_t flush_order = SHARED_LOAD(store->header->flush_order);
    if (UNLIKELY(flush_order != store->local->flush_noticed)) {
        link_notice_flush_now(store, flush_order);
    }
}

static inline bool link_counts_as_flushed(const struct store *store, uint64_t order) {
    return UNLIKELY(link_order_is_covered(store->local->flush_noticed, order));
}

static inline void link_change_add(const struct store *store, struct link_change *change,
                                   uint64_t order, uint64_t bytes, uint64_t sign) {
    change->items += sign;
    change->bytes += sign * bytes;
    if (link_counts_as_flushed(store, order)) {
        change->flushed_items += sign;
        change->flushed_bytes += sign * bytes;
    }
}

// Counts an item into (`sign` 1) or out of (-1) its class.
void link_count_in_class(struct store *store, uint32_t ref, uint64_t order, uint32_t state,
                         uint64_t bytes, int sign);
// Counts an item that gets or loses the mark ITEM_ON_FLASH.
static inline void link_count_copy(struct store *store, uint64_t order, int sign) {
    count(store->proc, COUNTER_items_with_copy, (uint64_t)(int64_t)sign);
    if (link_counts_as_flushed(store, order)) {
        count(store->proc, COUNTER_flushed_with_copy, (uint64_t)(int64_t)sign);
    }
}

// Counts an item in or out (`sign`) that lives in a chunk of a larger class than its size asks for.
static inline void link_count_borrowed(struct store *store, uint32_t ref, uint64_t bytes,
                                       int sign) {
    uint32_t own = bytes <= SLAB_PAGE_BYTES ? link_class_for(store, (uint32_t)bytes) : 0;
    if (UNLIKELY(own && own != slab_class_of(&store->slab, ref))) {
        SHARED_ADD(store->slab.root->class[own].borrowed_bytes, sign * (int64_t)bytes, RELAXED);
    }
}
