// Looks under the bucket's lock, where looks without it came to nothing; items that are corrupt;
// doors for tests.
#include "store/store_find_inline.h"

bool store_parts_fit(const struct store *store, const struct item *item, uint32_t state,
                     uint32_t class_id) {
    uint32_t offset = item_large_offset(state, item_key_bytes(SHARED_LOAD(item->sizes)));
    const struct item_large *large = item_large_of(item, state);
    uint32_t value_bytes = item_load32(&large->value_bytes);
    uint32_t parts = item_load32(&large->part_count);
    uint64_t payload = store_part_payload_bytes(store);
    if (offset + sizeof *large + parts * 4ull > slab_chunk_bytes(&store->slab, class_id)
        || parts != (value_bytes + payload - 1) / payload) {
        return false;
    }
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t ref = item_load32(&large->parts[i]);
        if (ref == 0 || ref >= store->ref_end
            || slab_chunk_bytes(&store->slab, slab_class_of(&store->slab, ref))
                   < ITEM_HEADER_BYTES + store_part_bytes(store, value_bytes, i)) {
            return false;
        }
    }
    return true;
}

int store_find_locked(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                      struct store_view *view) {
    *view = (struct store_view){.home = &store->index.buckets[0]};
    struct bucket *home = index_lock(&store->index, store->proc, hash);
    if (!home) {
        return STORE_BUSY;
    }
    count(store->proc, COUNTER_optimistic_locked, 1);
    view->home = home;
    view->version = SHARED_LOAD(home->word);
    uint32_t ref = 0;
    const struct item *item = store_search(store, home, index_tag(hash), key, key_bytes, &ref);
    if (!item) {
        bool may_be_on_flash = store->flash && store_may_be_on_flash(store, hash);
        store_view_unlock(store, view, false);
        return may_be_on_flash ? STORE_ON_FLASH : STORE_MISS;
    }
    if (store_picture(store, item, ref, view) != PICTURE_GOOD) {
        // Nothing changes it under the lock. The key is looked for anew when the command is done
        // over again.
        store_view_unlock(store, view, false);
        store_drop_corrupt(store, view, hash);
        return STORE_BUSY;
    }
    int life = store_life_of(store, view);
    if (life != STORE_HIT) {
        store_view_unlock(store, view, false);
    }
    return life;
}

// Looks of store_find() without a lock.
#define FINDS_OPTIMISTIC 16

int store_find_again(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                     struct store_view *view) {
    for (uint32_t round = 0; round < FINDS_OPTIMISTIC; round++) {
        count(store->proc, COUNTER_read_retries, 1);
        uint32_t home = index_home(&store->index, hash);
        FAULT_POINT(store->proc, "store.find.homed");
        view->home = &store->index.buckets[home];
        view->version = SHARED_ACQUIRE(view->home->word);
        if (lock_is_held(view->version)) {
            view->version = 0;    // The view holds no lock.
            uint32_t patience = lock_patience(store->proc);
            if (!lock_wait_bounded(store->proc, &view->home->word, &patience)) {
                return STORE_BUSY;
            }
            continue;
        }
        uint32_t ref = 0;
        const struct item *item =
            store_search(store, view->home, index_tag(hash), key, key_bytes, &ref);
        if (!item && !view->version) {
            index_stir(&store->index, store->proc, hash);
        } else if (!item) {
            if (index_home(&store->index, hash) == home && store_holds(view)) {
                return STORE_MISS;
            }
        } else {
            enum store_picture picture = store_picture(store, item, ref, view);
            if (picture == PICTURE_GOOD) {
                return store_life_of(store, view);
            }
            if (picture == PICTURE_CORRUPT && store_drop_corrupt(store, view, hash) == STORE_BUSY) {
                return STORE_BUSY;
            }
        }
    }
    int found = store_find_locked(store, key, key_bytes, hash, view);
    store_let_go(store, view);
    return found == STORE_ON_FLASH ? STORE_MISS : found;
}

int store_look_again(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                     uint32_t round, struct store_view *view) {
    count(store->proc, COUNTER_optimistic_retries, 1);
    return round < STORE_LOOKS_OPTIMISTIC ? store_find(store, key, key_bytes, hash, view)
                                          : store_find_locked(store, key, key_bytes, hash, view);
}

void store_remove_stray(struct store *store, struct index_place place) {
    index_clear_slot(place.bucket, place.slot);
    count(store->proc, COUNTER_corrupt_items, 1);
    count(store->proc, COUNTER_items, (uint64_t)-1);
}

// Whether the chunk that the locked bucket names is one that could hold a linked item: then it can
// be freed.
static bool is_chunk(const struct store *store, uint32_t ref) {
    uint32_t class_id = slab_class_of(&store->slab, ref);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, class_id);
    uint64_t offset = ((uint64_t)ref << store->slab.unit_shift) & (SLAB_PAGE_BYTES - 1);
    uint32_t state = item_state_of(store_item(store, ref));
    return class_id && chunk_bytes && offset % chunk_bytes == 0
           && (state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED;
}

int store_drop_corrupt(struct store *store, const struct store_view *view, uint64_t hash) {
    struct store_locked locked = {
        .hash = hash, .ref = view->ref, .item = (struct item *)view->item};
    locked.home = index_lock(&store->index, store->proc, hash);
    if (!locked.home) {
        return STORE_BUSY;
    }
    struct store_view again = {.home = locked.home, .version = SHARED_LOAD(locked.home->word)};
    if (!index_find_ref_locked(&store->index, locked.home, view->ref, &locked.place)
        || store_picture(store, view->item, view->ref, &again) == PICTURE_GOOD) {
        store_unlock(store, &locked, false);
        return STORE_MISS;
    }
    store_notice_flush(store);
    if (!is_chunk(store, view->ref) || store_is_pinned(store, view->ref)) {
        // Whose memory that is nobody knows, or somebody still sends from it: only the entry goes,
        // and the chunk is lost. Killed in between, a process leaves a count that is off by one.
        store_remove_stray(store, locked.place);
        store_unlock(store, &locked, true);
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
    store_unlink_and_unlock(store, &locked);
    return STORE_MISS;
}

bool store_hold_key(struct store *store, const char *key, uint32_t key_bytes) {
    return index_lock(&store->index, store->proc, store_hash(store, key, key_bytes)) != NULL;
}

void store_release_key(struct store *store, const char *key, uint32_t key_bytes) {
    uint32_t home = index_home(&store->index, store_hash(store, key, key_bytes));
    index_unlock(store->proc, &store->index.buckets[home], true);
}

void store_meddle(struct store *store, store_meddler meddle, void *context) {
    store->meddle = meddle;
    store->meddle_context = context;
}

bool store_damage(struct store *store, const char *key, uint32_t key_bytes, uint32_t value_bytes,
                  uint32_t parts) {
    struct store_locked locked;
    if (!store_lock(store, key, key_bytes, store_hash(store, key, key_bytes), &locked)) {
        return false;
    }
    if (locked.item && (locked.state & ITEM_LARGE)) {
        struct item_large *large = item_large_of(locked.item, locked.state);
        SHARED_STORE(large->value_bytes, value_bytes);
        SHARED_STORE(large->part_count, parts ? parts : large->part_count);
    } else if (locked.item) {
        SHARED_STORE(locked.item->sizes, item_pack_sizes(value_bytes, key_bytes));
    }
    store_unlock(store, &locked, true);
    return locked.item != NULL;
}
