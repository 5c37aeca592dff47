// Looks under the bucket's lock, where looks without it came to nothing; items that are corrupt.
#include "link/link_claims_inline.h"
#include "link/link_copy_inline.h"

int link_find_locked(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                     struct link_view *view) {
    *view = (struct link_view){.home = &store->index.buckets[0]};
    struct bucket *home = index_lock(&store->index, store->proc, hash);
    if (!home) {
        return STORE_BUSY;
    }
    count(store->proc, COUNTER_optimistic_locked, 1);
    view->home = home;
    view->version = SHARED_LOAD(home->word);
    uint32_t ref = 0;
    const struct item *item = link_search(store, home, index_tag(hash), key, key_bytes, &ref);
    if (!item) {
        bool may_be_on_flash = store->flash && link_may_be_on_flash(store, hash);
        link_view_unlock(store, view, false);
        return may_be_on_flash ? STORE_ON_FLASH : STORE_MISS;
    }
    if (link_picture(store, item, ref, view) != PICTURE_GOOD) {
        // Nothing changes it under the lock. The key is looked for anew when the command is done
        // over again.
        link_view_unlock(store, view, false);
        link_drop_corrupt(store, view, hash);
        return STORE_BUSY;
    }
    int life = link_liveness_of(store, view);
    if (life != STORE_HIT) {
        link_view_unlock(store, view, false);
    }
    return life;
}

// Looks of link_find() without a lock.
#define FINDS_OPTIMISTIC 16

int link_find_again(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                    struct link_view *view) {
    for (uint32_t round = 0; round < FINDS_OPTIMISTIC; round++) {
        count(store->proc, COUNTER_read_retries, 1);
        uint32_t home = index_home(&store->index, hash);
        FAULT_POINT(store->proc, "store.find.homed");
        view->home = &store->index.buckets[home];
        view->version = SHARED_ACQUIRE(view->home->word);
        if (lock_is_held(view->version)) {
            view->version = 0;    // The view holds no lock.
            uint32_t rounds_left = lock_rounds_max(store->proc);
            if (!lock_wait_bounded(store->proc, &view->home->word, &rounds_left)) {
                return STORE_BUSY;
            }
            continue;
        }
        uint32_t ref = 0;
        const struct item *item =
            link_search(store, view->home, index_tag(hash), key, key_bytes, &ref);
        if (!item && !view->version) {
            index_move_version(&store->index, store->proc, hash);
        } else if (!item) {
            if (index_home(&store->index, hash) == home && link_holds(view)) {
                return STORE_MISS;
            }
        } else {
            enum link_picture picture = link_picture(store, item, ref, view);
            if (picture == PICTURE_GOOD) {
                return link_liveness_of(store, view);
            }
            if (picture == PICTURE_CORRUPT && link_drop_corrupt(store, view, hash) == STORE_BUSY) {
                return STORE_BUSY;
            }
        }
    }
    int found = link_find_locked(store, key, key_bytes, hash, view);
    link_let_go(store, view);
    return found == STORE_ON_FLASH ? STORE_MISS : found;
}

int link_look_again(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                    uint32_t round, struct link_view *view) {
    count(store->proc, COUNTER_optimistic_retries, 1);
    return round < LINK_LOOKS_OPTIMISTIC ? link_find(store, key, key_bytes, hash, view)
                                         : link_find_locked(store, key, key_bytes, hash, view);
}

// Whether the chunk that the locked bucket names is one that could hold a linked item: then it can
// be freed.
static bool is_chunk(const struct store *store, uint32_t ref) {
    uint32_t class_id = slab_class_of(&store->slab, ref);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, class_id);
    uint64_t offset = ((uint64_t)ref << store->slab.unit_shift) & (SLAB_PAGE_BYTES - 1);
    uint32_t state = item_state_of(link_item(store, ref));
    return class_id && chunk_bytes && offset % chunk_bytes == 0
           && (state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED;
}

int link_drop_corrupt(struct store *store, const struct link_view *view, uint64_t hash) {
    struct link_locked locked = {.hash = hash, .ref = view->ref, .item = (struct item *)view->item};
    locked.home = index_lock(&store->index, store->proc, hash);
    if (!locked.home) {
        return STORE_BUSY;
    }
    struct link_view again = {.home = locked.home, .version = SHARED_LOAD(locked.home->word)};
    if (!index_find_ref_locked(&store->index, locked.home, view->ref, &locked.place)
        || link_picture(store, view->item, view->ref, &again) == PICTURE_GOOD) {
        link_unlock(store, &locked, false);
        return STORE_MISS;
    }
    link_notice_flush(store);
    if (!is_chunk(store, view->ref) || link_is_pinned(store, view->ref)) {
        // Whose memory that is nobody knows, or somebody still sends from it: only the entry goes,
        // and the chunk is lost. Killed in between, a process leaves a count that is off by one.
        link_remove_dangling(store, locked.place);
        link_unlock(store, &locked, true);
        index_count(&store->index, store->proc, -1);
        return STORE_MISS;
    }
    // As an empty item it goes the way of all others. The parts that it may have had stay lost, and
    // what item_bytes counted of it stays counted: nobody knows any more which and how much.
    count(store->proc, COUNTER_corrupt_items, 1);
    SHARED_STORE(locked.item->sizes, item_pack_sizes(0, item_key_bytes(locked.item->sizes)));
    locked.state = item_state_of(locked.item) & ~(uint32_t)ITEM_LARGE;
    item_set_state(locked.item, locked.state);
    locked.class_id = slab_class_of(&store->slab, view->ref);
    link_unlink_and_unlock(store, &locked);
    return STORE_MISS;
}
