// Unlinking items.
#include "link/link_copy_inline.h"
#include "link/link_txn_inline.h"

static void unlink_and_unlock(struct store *store, struct link_locked *locked) {
    struct proc *proc = store->proc;
    uint64_t bytes = item_total_bytes(locked->item, locked->state);
    uint64_t order = item_order(locked->item);
    struct link_change change = {0};
    link_change_add(store, &change, order, bytes, (uint64_t)-1);
    link_txn_plan(store, &change);
    link_txn_arm(store, TXN_UNLINK, (struct link_txn_names){.old_ref = locked->ref});
    FAULT_POINT(proc, "store.unlink.before");
    item_set_state(locked->item, locked->state & ~(uint32_t)ITEM_LINKED);
    index_remove_locked(&store->index, proc, locked->home, locked->place);
    FAULT_POINT(proc, "store.unlink.after");
    link_txn_decided(store, TXN_UNLINK);
    link_unlock(store, locked, true);
    link_count_in_class(store, locked->ref, order, locked->state, bytes, -1);
    index_count(&store->index, proc, -1);
    link_txn_free(store);
}

void link_unlink_and_unlock(struct store *store, struct link_locked *locked) {
    if (UNLIKELY(locked->state & ITEM_ON_FLASH)) {
        locked->state = link_invalidate_copy(store, locked->item, locked->state, locked->hash);
    }
    unlink_and_unlock(store, locked);
}

void link_evict_and_unlock(struct store *store, struct link_locked *locked) {
    if (UNLIKELY(store->flash)) {
        // Its page may have been dropped since.
        bool is_marked = locked->state & ITEM_ON_FLASH;
        bool is_clean = is_marked && link_may_be_on_flash(store, locked->hash);
        bool is_eligible = item_total_bytes(locked->item, locked->state)
                           >= (uint64_t)live_get(store->arena, LIVE_ext_item_size_bytes);
        count(store->proc, COUNTER_ext_clean_evictions, is_clean);
        count(store->proc, COUNTER_ext_unclean_evictions, !is_clean && is_eligible);
        if (is_marked) {
            link_count_copy(store, item_order(locked->item), -1);
        }
    }
    unlink_and_unlock(store, locked);
}
