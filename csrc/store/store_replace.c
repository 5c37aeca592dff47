// The last step of whoever made an item without a lock: lock its key, compare, link it or give it
// back.
#include "store/store_shape_inline.h"

bool store_is_unchanged(void *context, struct link_locked *locked) {
    return link_stands(locked, context);
}

int store_replace(struct store *store, const struct store_replacement *made) {
    struct link_locked locked;
    bool is_locked = link_lock(store, made->key, made->key_bytes, made->hash, &locked);
    bool may_link = is_locked && made->may_link(made->context, &locked);
    if (may_link
        && link_insert_and_unlock(store, &locked, made->ref, made->claim_plus_one, made->hash,
                                  made->numbers)
               == PYMC_OK) {
        return STORE_STORED;
    }
    if (is_locked && !may_link) {
        link_unlock(store, &locked, false);
    }
    if (made->claim_plus_one) {
        link_txn_free_claim(store, made->claim_plus_one - 1);
    } else {
        link_give_hand(store);
    }
    return is_locked && !may_link ? STORE_LOOK_AGAIN : STORE_BUSY;
}
