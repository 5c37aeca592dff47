// Entry points for tests: buckets that are held, looks that are disturbed, items that are damaged.
#include "link/link_lock_inline.h"

bool link_hold_key(struct store *store, const char *key, uint32_t key_bytes) {
    return index_lock(&store->index, store->proc, link_hash(store, key, key_bytes)) != NULL;
}

void link_release_key(struct store *store, const char *key, uint32_t key_bytes) {
    uint32_t home = index_home(&store->index, link_hash(store, key, key_bytes));
    index_unlock(store->proc, &store->index.buckets[home], true);
}

void link_set_interferer(struct store *store, link_interferer interfere, void *context) {
    store->interfere = interfere;
    store->interfere_context = context;
}

bool link_damage(struct store *store, const char *key, uint32_t key_bytes, uint32_t value_bytes,
                 uint32_t parts) {
    struct link_locked locked;
    if (!link_lock(store, key, key_bytes, link_hash(store, key, key_bytes), &locked)) {
        return false;
    }
    if (locked.item && (locked.state & ITEM_LARGE)) {
        struct item_large *large = item_large_of(locked.item, locked.state);
        SHARED_STORE(large->value_bytes, value_bytes);
        SHARED_STORE(large->part_count, parts ? parts : large->part_count);
    } else if (locked.item) {
        SHARED_STORE(locked.item->sizes, item_pack_sizes(value_bytes, key_bytes));
    }
    link_unlock(store, &locked, true);
    return locked.item != NULL;
}
