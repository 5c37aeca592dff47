// What the store tells the probation queues and the ghost: how large they may be, and who died.
#include "store/store_internal.h"

// Entries outlive their items when those are deleted, replaced or moved: for these a quarter of the
// class is left.
#define STALE_PART 4
#define ENTRIES_MIN 64

uint64_t store_probation_cap(const struct store *store, uint32_t class_id) {
    const struct slab_class *class = &store->slab.root->class[class_id];
    uint64_t chunks = (uint64_t)SHARED_LOAD(class->pages) * class->chunks_per_page;
    uint32_t percent = (uint32_t)live_get(store->arena, LIVE_hot_lru_percent);
    return lru_target(&store->lru, class_id, chunks, percent) + chunks / STALE_PART + ENTRIES_MIN;
}

// Returns true when the class's queue is as short as it has to be.
static bool fit_class(struct store *store, uint32_t class_id) {
    struct slab_class *class = &store->slab.root->class[class_id];
    uint64_t cap = store_probation_cap(store, class_id);
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

bool store_fit_probation_step(struct store *store) {
    bool is_done = true;
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        is_done = fit_class(store, class_id) && is_done;
    }
    int64_t items = SHARED_LOAD(store->index.root->entries);
    ghost_fit(&store->lru, items > 0 ? (uint64_t)items : 0);
    bool has_more = lru_release_step(&store->lru) || !is_done;
    store_update_pages_limit(store);
    return has_more;
}

void store_repair_probation(struct store *store, struct proc *self, uint32_t dead_slot_index) {
    lru_repair(&store->lru, dead_slot_index);
    FAULT_POINT(self, "store.repair.segments");
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        if (lock_is_held_by(&store->slab.root->class[class_id].lock, dead_slot_index)) {
            lru_repair_class(&store->lru, self, class_id);
        }
    }
}
