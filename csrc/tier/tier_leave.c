// Leaving memory by age: items that are on flash too, and that nobody used for long, are kept there
// alone.
#include "link/link_copy_inline.h"
#include "space/space_walk_inline.h"
#include "tier/tier.h"

struct leave {
    struct store *store;
    struct space_cursor *cursor;
    uint32_t idle_seconds_min;
};

// Whether the item may be known by its copy alone; a hint as long as its bucket is not locked.
static bool may_leave(const struct leave *leave, const struct item *item, uint32_t state) {
    int32_t idle_seconds =
        (int32_t)(leave->store->proc->now_seconds - SHARED_LOAD(item->time_seconds));
    return (state & (ITEM_LINKED | ITEM_PART | ITEM_ON_FLASH)) == (ITEM_LINKED | ITEM_ON_FLASH)
           && (idle_seconds < 0 ? 0 : (uint32_t)idle_seconds) >= leave->idle_seconds_min;
}

static void leave_chunk(void *context, uint32_t ref, uint32_t class_id) {
    (void)class_id;
    struct leave *leave = context;
    struct store *store = leave->store;
    const struct item *item = link_item(store, ref);
    struct link_locked locked;
    leave->cursor->items_seen++;
    // This look saves the lock of every item that stays; the one under the lock decides.
    if (!may_leave(leave, item, item_state_of(item)) || !link_lock_ref(store, ref, &locked)) {
        return;
    }
    // The page of its copy may have been dropped since: then memory has the only one. What is dead
    // is the crawl's.
    if (locked.is_dead || !may_leave(leave, locked.item, locked.state)
        || !link_may_be_on_flash(store, locked.hash)) {
        link_unlock(store, &locked, false);
        return;
    }
    leave->cursor->items_reclaimed++;
    link_evict_and_unlock(store, &locked);
}

bool tier_leave_step(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                     uint32_t idle_seconds_min) {
    struct leave leave = {store, cursor, idle_seconds_min};
    return space_walk_chunks(store, cursor, chunks, NULL, leave_chunk, &leave);
}

struct drop {
    struct store *store;
    uint64_t dropped;
};

static void drop_chunk(void *context, uint32_t ref, uint32_t class_id) {
    (void)class_id;
    struct drop *drop = context;
    struct link_locked locked;
    if (!link_lock_ref_waiting(drop->store, ref, &locked)) {
        return;
    }
    if (!(locked.state & ITEM_ON_FLASH)) {
        link_unlock(drop->store, &locked, false);
        return;
    }
    drop->dropped++;
    link_evict_and_unlock(drop->store, &locked);
}

uint64_t tier_drop_clean(struct store *store) {
    struct space_cursor cursor = {0};
    struct drop drop = {store, 0};
    while (space_walk_chunks(store, &cursor, UINT32_MAX, NULL, drop_chunk, &drop)) {
    }
    return drop.dropped;
}
