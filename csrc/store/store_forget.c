// Removing a key without a word.
#include "link/link_copy_inline.h"
#include "store/store.h"

int store_forget(struct store *store, const char *key, uint32_t key_bytes) {
    struct link_locked locked;
    uint64_t hash = link_hash(store, key, key_bytes);
    if (!link_lock(store, key, key_bytes, hash, &locked)) {
        return STORE_BUSY;
    }
    if (!locked.item) {
        link_invalidate_copy(store, NULL, 0, hash);
        link_unlock(store, &locked, false);
        return STORE_NOT_FOUND;
    }
    link_unlink_and_unlock(store, &locked);
    return STORE_DELETED;
}
