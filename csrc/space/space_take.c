// Taking chunks: from the magazine, from the class, or from what is evicted.
#include "space/space_room_internal.h"
#include "space/space_take_inline.h"

// A class with few items would leave most of a page empty: until they fill half a page they live in
// chunks that are up to a quarter too large, together with the items of neighbouring classes.
#define BORROW_BYTES_MAX (SLAB_PAGE_BYTES / 2)

static bool has_few_items(const struct store *store, uint32_t class_id) {
    const struct slab_class *class = &store->slab.root->class[class_id];
    return SHARED_LOAD(class->pages) == 0 && SHARED_LOAD(class->borrowed_bytes) < BORROW_BYTES_MAX;
}

uint32_t space_take(struct store *store, uint32_t bytes) {
    uint32_t class_id = link_class_for(store, bytes);
    if (UNLIKELY(class_id == 0)) {
        return 0;
    }
    const struct slab_magazine *magazine =
        &slab_local(&store->slab, store->proc->slot_index)->magazine[class_id];
    bool has_few = false;
    if (UNLIKELY(magazine->count == 0)) {
        space_update_pages_limit(store);
        has_few = has_few_items(store, class_id);
        class_id = UNLIKELY(has_few) ? store->anchor[class_id] : class_id;
        space_room_pace(store, class_id);
    }
    uint32_t ref = slab_take(&store->slab, store->proc, class_id);
    if (UNLIKELY(!ref) && space_room_take(store, class_id, has_few)) {
        ref = link_hand(store);
    }
    if (UNLIKELY(!ref)) {
        class_count(store, class_id, CLASS_outofmemory, 1);
    }
    return ref;
}

// Entries looked at before a store is refused.
#define LOOKS_FOR_ROOM 256

uint32_t space_take_room(struct store *store, uint32_t bytes) {
    uint32_t ref = space_take(store, bytes);
    uint32_t waiting = ref ? 0 : SHARED_LOAD(store->root->limbo_count);
    if (UNLIKELY(waiting > 0) && link_limbo_step(store, LOOKS_FOR_ROOM) < waiting) {
        ref = space_take(store, bytes);
    }
    return ref;
}

uint32_t space_take_beside(struct store *store, uint32_t needed_ref, uint32_t bytes) {
    uint32_t before = store->needed_ref;
    store->needed_ref = needed_ref;
    uint32_t ref = space_take_room(store, bytes);
    space_need_again(store, before, needed_ref);
    return ref;
}

int space_refused(struct store *store, enum counter reason) {
    count(store->proc, COUNTER_store_no_memory, 1);
    count(store->proc, reason, 1);
    return STORE_NO_MEMORY;
}
