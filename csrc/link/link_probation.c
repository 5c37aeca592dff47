// What the store tells the probation queues: how long they may be, which items are new, who died.
#include "link/link_probation_inline.h"

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

uint64_t link_probation_target(const struct store *store, uint32_t class_id) {
    return lru_target(&store->lru, class_id, chunks_of(store, class_id), start_percent(store));
}

void link_probation_adapt(struct store *store, uint32_t class_id, int32_t quarters) {
    uint64_t chunks = chunks_of(store, class_id);
    if (chunks) {
        lru_adapt(&store->lru, class_id, quarters, chunks, start_percent(store));
    }
}

// While nothing has to go the queue forgets what is beyond this, which counts as proven then.
uint64_t link_probation_cap(const struct store *store, uint32_t class_id) {
    uint64_t target = link_probation_target(store, class_id);
    uint64_t spare = store->flash ? chunks_of(store, class_id) : target;
    return target + spare / STALE_PART + ENTRIES_MIN;
}

void link_push_pending_locked(struct store *store, uint32_t class_id) {
    struct link_pending *pending = &store->local->pending[class_id];
    lru_set_cap_locked(&store->lru, class_id, link_probation_cap(store, class_id));
    uint64_t wanted = lru_length(&store->lru, class_id) + pending->count;
    for (uint32_t i = 0; i < pending->count && i < LINK_PENDING; i++) {
        lru_push_locked(&store->lru, class_id, pending->refs[i]);
    }
    SHARED_STORE(pending->count, 0);
    // With flash the write-out goes along the queue, and what it has not come by had better not go.
    if (lru_length(&store->lru, class_id) < wanted && !store->flash) {
        struct slab_class *class = &store->slab.root->class[class_id];
        SHARED_STORE(class->unlisted_looks, (uint64_t)class->pages * class->chunks_per_page);
    }
}

void link_push_pending(struct store *store, uint32_t class_id) {
    if (store->local->pending[class_id].count == 0) {
        return;
    }
    lock_take(store->proc, &store->slab.root->class[class_id].lock, LOCK_CLASS);
    link_push_pending_locked(store, class_id);
    lock_give(store->proc, &store->slab.root->class[class_id].lock, true);
}

void link_note_for_probation(struct store *store, uint32_t new_ref) {
    uint32_t class_id = slab_class_of(&store->slab, new_ref);
    struct link_pending *pending = &store->local->pending[class_id];
    uint32_t noted = pending->count;
    SHARED_STORE(pending->refs[noted], new_ref);
    SHARED_STORE(pending->count, noted + 1);
    if (UNLIKELY(noted + 1 == LINK_PENDING)) {
        link_push_pending(store, class_id);
    }
}

void link_probation_repair(struct store *store, struct proc *self, uint32_t dead_slot_index) {
    lru_repair(&store->lru, dead_slot_index);
    FAULT_POINT(self, "store.repair.segments");
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        if (lock_is_held_by(&store->slab.root->class[class_id].lock, dead_slot_index)) {
            lru_repair_class(&store->lru, self, class_id);
        }
    }
}
