// Locking the bucket of a key, or of an item.
#include "link/link_lock_inline.h"

void link_remove_dangling(struct store *store, struct index_place place) {
    index_clear_slot(place.bucket, place.slot);
    count(store->proc, COUNTER_corrupt_items, 1);
    count(store->proc, COUNTER_items, (uint64_t)-1);
}

bool link_lock(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
               struct link_locked *out) {
    uint8_t tag = index_tag(hash);
    out->item = NULL;
    out->home = index_lock(&store->index, store->proc, hash);
    out->hash = hash;
    if (UNLIKELY(!out->home)) {
        return false;
    }
    link_notice_flush(store);
    out->ref = 0;
    out->is_dead = false;
    uint32_t depth = 0;
    for (struct bucket *bucket = out->home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t bits = index_match(bucket, tag); bits; bits &= bits - 1) {
            uint32_t slot = (uint32_t)__builtin_ctz(bits);
            if (UNLIKELY(bucket->refs[slot] >= store->ref_end)) {
                link_remove_dangling(store, (struct index_place){bucket, slot});
                continue;
            }
            struct item *item = link_item(store, bucket->refs[slot]);
            uint32_t state = item_state_of(item);
            if (item_key_bytes(item->sizes) == key_bytes
                && memcmp(item_key(item, state), key, key_bytes) == 0) {
                out->place = (struct index_place){bucket, slot};
                out->item = item;
                out->ref = bucket->refs[slot];
                out->state = state;
                out->class_id = slab_class_of(&store->slab, out->ref);
                out->is_dead = link_is_dead(store, item, state);
                return true;
            }
        }
        bucket = (struct bucket *)index_next(&store->index, bucket);
    }
    return true;
}

bool link_lock_ref(struct store *store, uint32_t ref, struct link_locked *out) {
    bool avoided_waiting = store->proc->avoids_waiting;
    store->proc->avoids_waiting = true;
    bool is_locked = link_lock_ref_waiting(store, ref, out);
    store->proc->avoids_waiting = avoided_waiting;
    return is_locked;
}

bool link_lock_ref_waiting(struct store *store, uint32_t ref, struct link_locked *out) {
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    uint32_t key_bytes = item_key_bytes(SHARED_LOAD(item->sizes));
    // This look saves the hash and the lock of what is no item; what the locked bucket names
    // decides.
    if (!(state & ITEM_LINKED) || (state & ITEM_PART) || key_bytes == 0) {
        return false;
    }
    char key[256];
    racy_copy(key, item_key(item, state), key_bytes);
    out->hash = link_hash(store, key, key_bytes);
    out->home = index_lock(&store->index, store->proc, out->hash);
    if (UNLIKELY(!out->home)) {
        return false;
    }
    if (!index_find_ref_locked(&store->index, out->home, ref, &out->place)) {
        index_unlock(store->proc, out->home, false);
        return false;
    }
    link_notice_flush(store);
    out->item = link_item(store, ref);
    out->ref = ref;
    out->state = item_state_of(out->item);
    out->class_id = slab_class_of(&store->slab, ref);
    out->is_dead = link_is_dead(store, out->item, out->state);
    return true;
}
