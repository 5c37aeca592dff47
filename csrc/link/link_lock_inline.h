// A key under its locked bucket: locking, linking another item in its place, unlinking it.
#pragma once

#include "link/link_counts_inline.h"

// A key found under its locked bucket, or the place where it is missing.
struct link_locked {
    struct bucket *home;
    struct index_place place;
    uint64_t hash;        // Of the key.
    struct item *item;    // NULL when the key is missing.
    uint32_t ref;
    uint32_t state;
    uint32_t class_id;
    bool is_dead;    // Present but expired or flushed.
};
// False when another process holds the bucket beyond the bound of index_lock(): nothing is locked
// then. An entry for the key that cannot be one is removed (corrupt_items).
MUST_CHECK bool link_lock(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                          struct link_locked *out);
// Locks the bucket in which `ref` is linked; false when it is not (any more), or somebody is at
// that bucket: what is done for its own sake goes on with others.
bool link_lock_ref(struct store *store, uint32_t ref, struct link_locked *out);
// The same, waiting as long as index_lock() does.
bool link_lock_ref_waiting(struct store *store, uint32_t ref, struct link_locked *out);
// Removes an entry of a locked bucket that names no chunk; counted.
void link_remove_dangling(struct store *store, struct index_place place);
// The command is to be done over again, for flash or for a busy bucket: it has changed and counted
// nothing.
static inline bool store_is_put_off(int outcome) {
    return UNLIKELY(outcome >= STORE_ON_FLASH);
}

static inline void link_unlock(struct store *store, struct link_locked *locked, bool changed) {
    index_unlock(store->proc, locked->home, changed);
}

// Unlinks the locked item, unlocks its bucket and frees its memory; what is on flash of it is
// forgotten. Crash: done, or undone, or finished by repair.
void link_unlink_and_unlock(struct store *store, struct link_locked *locked);
// The same, but a copy on flash stays.
void link_evict_and_unlock(struct store *store, struct link_locked *locked);

// Links the item in hand (or the claim's) in place of `locked`, or as a new entry, and unlocks.
// Returns PYMC_NO_MEMORY when the index is full; then nothing is linked, and hand or claim still
// has the item. Crash: it is linked and the other goes, or neither.
MUST_CHECK int link_insert_and_unlock(struct store *store, struct link_locked *locked,
                                      uint32_t new_ref, uint32_t claim_plus_one, uint64_t hash,
                                      struct item_numbers numbers);
