// What the store tells the probation queues and the ghost: how large they may be, and who died.
#include "store/store_internal.h"

// Entries outlive their items when those are deleted, replaced or moved: for these a quarter
// more is left; with flash a quarter of the class, since items that are not written yet go round.
#define STALE_PART 4
// Probation begins at this part of what hot_lru_pct says, which is meant for queues without a
// memory of what was evicted.
#define START_PART 2
#define ENTRIES_MIN 64

static uint64_t chunks_of(const struct store *store, uint32_t class_id) {
    const struct slab_class *class = &store->slab.root->class[class_id];
    return (uint64_t)SHARED_LOAD(class->pages) * class->chunks_per_page;
}

// With flash probation is as long as it is set: the write-out needs the time.
static uint32_t start_percent(const struct store *store) {
    return (uint32_t)live_get(store->arena, LIVE_hot_lru_percent) / (store->flash ? 1 : START_PART);
}

uint64_t store_probation_target(const struct store *store, uint32_t class_id) {
    return lru_target(&store->lru, class_id, chunks_of(store, class_id), start_percent(store));
}

void store_adapt_probation(struct store *store, uint32_t class_id, int32_t quarters) {
    uint64_t chunks = chunks_of(store, class_id);
    if (chunks) {
        lru_adapt(&store->lru, class_id, quarters, chunks, start_percent(store));
    }
}

// While nothing has to go the queue forgets what is beyond this, which counts as proven then.
uint64_t store_probation_cap(const struct store *store, uint32_t class_id) {
    uint64_t target = store_probation_target(store, class_id);
    uint64_t spare = store->flash ? chunks_of(store, class_id) : target;
    return target + spare / STALE_PART + ENTRIES_MIN;
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
