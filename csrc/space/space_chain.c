// A chain of the index that can take no more entries loses its oldest item, so that no key is ever
// refused.
//
// With an unknown seed no client makes a chain as long as readers follow. But overflow buckets may
// run out while the index grows more slowly than items come.
#include "space/space_evict_inline.h"
#include "space/space_take_inline.h"

// Dead items go first, then the one that was stored first.
static uint64_t age_rank(const struct store *store, uint32_t ref) {
    const struct item *item = link_item(store, ref);
    return link_is_dead(store, item, item_state_of(item))
               ? 0
               : link_full_order(store, item_order(item));
}

void space_make_chain_room(struct store *store) {
    uint32_t refs[INDEX_CHAIN_REFS_MAX];
    struct bucket *home = index_lock_briefly(&store->index, store->proc, store->full_chain_hash);
    if (!home) {
        return;
    }
    uint32_t count_of_refs = index_chain_refs(&store->index, home, refs);
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < count_of_refs; i++) {
        if (!oldest || age_rank(store, refs[i]) < age_rank(store, oldest)) {
            oldest = refs[i];
        }
    }
    index_unlock(store->proc, home, false);
    store->has_full_chain = false;
    struct link_locked locked;
    if (!oldest || !link_lock_ref(store, oldest, &locked)) {
        return;
    }
    count(store->proc, COUNTER_chain_evictions, 1);
    if (locked.is_dead) {
        space_remove_dead_locked(store, &locked);
    } else {
        space_evict_counted(store, &locked);
    }
}
