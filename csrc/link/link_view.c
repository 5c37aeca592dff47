// What follows from a look: noticing reads, removing the dead, whether a miss is final.
#include "link/link_copy_inline.h"

void link_bump(struct store *store, struct link_view *view) {
    if (!view->ref || !link_upgrade(store, view)) {
        return;
    }
    struct item *item = (struct item *)view->item;
    item_set_state(item, item_read_once_more(view->state));
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    link_view_unlock(store, view, true);
}

void link_remove_dead(struct store *store, const struct link_view *view) {
    struct link_locked locked;
    if (!link_lock_ref(store, view->ref, &locked)) {
        return;
    }
    if (!locked.is_dead) {
        link_unlock(store, &locked, false);
        return;
    }
    // Not counted as reclaimed: whoever met it counts it as expired or flushed.
    link_unlink_and_unlock(store, &locked);
}

int link_missed(struct store *store, const struct link_view *view, int found, uint64_t hash,
                uint32_t round) {
    if (store_is_put_off(found)) {
        return found;
    }
    if (found != STORE_MISS) {
        link_count_dead(store, found);
        link_remove_dead(store, view);
    } else if (UNLIKELY(store->flash) && round < LINK_LOOKS_OPTIMISTIC) {
        if (link_may_be_on_flash(store, hash)) {
            return STORE_ON_FLASH;
        }
        return link_holds(view) ? STORE_MISS : STORE_LOOK_AGAIN;
    }
    return STORE_MISS;
}

int link_next_look(struct store *store, struct link_looks *looks) {
    while (looks->round < looks->rounds_max) {
        uint32_t round = looks->round++;
        int found =
            link_look(store, looks->key, looks->key_bytes, looks->hash, round, &looks->view);
        int missed = found == STORE_HIT
                         ? STORE_HIT
                         : link_missed(store, &looks->view, found, looks->hash, round);
        if (missed != STORE_LOOK_AGAIN) {
            return missed;
        }
    }
    return STORE_BUSY;
}

bool link_stands(const struct link_locked *locked, const struct link_view *view) {
    return locked->item && !locked->is_dead && locked->ref == view->ref
           && item_order(locked->item) == view->order
           && ((locked->state ^ view->state) & (ITEM_STALE | ITEM_TOKEN_SENT)) == 0
           && item_expiry(locked->item, locked->state) == view->expiry_seconds;
}
