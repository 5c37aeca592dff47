// Removing a key without a word, also when a value for it is refused.
#include "link/link_copy_inline.h"
#include "space/space_take_inline.h"
#include "store/store_write_internal.h"

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

int store_refuse(struct store *store, const struct store_write *write, int outcome,
                 enum counter reason) {
    if (write->mode == STORE_SET && !write->has_cas_compare
        && store_forget(store, write->key, write->key_bytes) == STORE_BUSY) {
        return STORE_BUSY;
    }
    if (outcome == STORE_TOO_LARGE) {
        count(store->proc, COUNTER_store_too_large, 1);
    } else {
        space_refused(store, reason);
    }
    return outcome;
}
