// What is counted of items in processes and classes.
#include "link/link_counts_inline.h"

void link_notice_flush_now(struct store *store, uint64_t flush_order) {
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

void link_count_in_class(struct store *store, uint32_t ref, uint64_t order, uint32_t state,
                         uint64_t bytes, int sign) {
    uint32_t class_id = slab_class_of(&store->slab, ref);
    uint64_t by = (uint64_t)(int64_t)sign;
    uint64_t by_flushed = link_counts_as_flushed(store, order) ? by : 0;
    class_count(store, class_id, CLASS_items, by);
    class_count(store, class_id, CLASS_item_bytes, by * bytes);
    link_count_borrowed(store, ref, bytes, sign);
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
