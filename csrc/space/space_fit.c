// Fitting queues, ghost and indexes to the items there are, and giving memory back.
#include "flash/flash_index.h"
#include "link/link_probation_inline.h"
#include "space/space.h"
#include "space/space_take_inline.h"

// Returns true when the class's queue is as short as it has to be.
static bool fit_class(struct store *store, uint32_t class_id) {
    struct slab_class *class = &store->slab.root->class[class_id];
    uint64_t cap = link_probation_cap(store, class_id);
    bool has_pages = SHARED_LOAD(class->pages) > 0;
    uint64_t length = lru_length(&store->lru, class_id);
    if (lru_cap(&store->lru, class_id) == cap && length <= (has_pages ? cap : 0)) {
        return true;
    }
    lock_take(store->proc, &class->lock, LOCK_CLASS);
    bool is_done = lru_set_cap_locked(&store->lru, class_id, cap);
    if (is_done && class->pages == 0) {
        lru_clear_locked(&store->lru, class_id);
    }
    lock_give(store->proc, &class->lock, true);
    return is_done;
}

bool space_fit_probation_step(struct store *store) {
    bool is_done = true;
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        is_done = fit_class(store, class_id) && is_done;
    }
    int64_t items = SHARED_LOAD(store->index.root->entries);
    ghost_fit(&store->lru, items > 0 ? (uint64_t)items : 0);
    bool has_more = lru_release_step(&store->lru) || !is_done;
    space_update_pages_limit(store);
    return has_more;
}

bool space_shrink_step(struct store *store, uint32_t buckets_max, bool flash_too) {
    bool goes_on = index_shrink_step(&store->index, store->proc, buckets_max);
    if (store->flash && flash_too) {
        goes_on |= flash_index_shrink_step(store->flash, store->proc, buckets_max);
    }
    space_update_pages_limit(store);
    return goes_on;
}
