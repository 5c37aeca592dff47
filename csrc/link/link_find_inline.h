// The lock-free look-up of one key: what every read does.
#pragma once

#include "link/link_lock_inline.h"

// A consistent picture of one item. Its value may change or move once the version does:
// link_holds() tells.
struct link_view {
    struct bucket *home;
    uint64_t version;
    const struct item *item;
    const char *value;    // Inline values; NULL for large items.
    uint32_t ref;
    uint32_t class_id;
    uint32_t state;
    uint32_t time_seconds;
    uint32_t expiry_seconds;
    uint32_t client_flags;
    uint32_t value_bytes;
    uint32_t key_bytes;
    uint64_t order;
    uint64_t cas;    // What clients see.
};

// True while nothing in the item's bucket has changed since the view was made: what was copied
// meanwhile is whole.
static inline bool link_holds(const struct link_view *view) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return LIKELY(SHARED_LOAD(view->home->word) == view->version);
}

static inline void link_prefetch_bucket(const struct store *store, uint64_t hash) {
    __builtin_prefetch(&store->index.buckets[index_home(&store->index, hash)]);
}

// Brings the first candidates' chunks nearer; a wrong guess costs nothing but the fetch.
static inline void link_prefetch_items(const struct store *store, uint64_t hash) {
    const struct bucket *bucket = &store->index.buckets[index_home(&store->index, hash)];
    uint32_t bits = index_match(bucket, index_tag(hash));
    if (bits) {
        const char *chunk =
            slab_chunk(&store->slab, SHARED_LOAD(bucket->refs[__builtin_ctz(bits)]));
        __builtin_prefetch(chunk);
        __builtin_prefetch(chunk + 64);
    }
}

static inline const struct item *link_search(const struct store *store, const struct bucket *bucket,
                                             uint8_t tag, const char *key, uint32_t key_bytes,
                                             uint32_t *ref_out) {
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t bits = index_match(bucket, tag); bits; bits &= bits - 1) {
            uint32_t ref = SHARED_LOAD(bucket->refs[__builtin_ctz(bits)]);
            if (UNLIKELY(ref >= store->ref_end)) {
                continue;    // Who locks the bucket to change the key removes it.
            }
            const struct item *item = link_item(store, ref);
            if (item_key_bytes(SHARED_LOAD(item->sizes)) == key_bytes
                && racy_equal(item_key(item, item_state_of(item)), key, key_bytes)) {
                *ref_out = ref;
                return item;
            }
        }
        bucket = index_next(&store->index, bucket);
    }
    return NULL;
}

// What came of a look at one item. PICTURE_CHANGED: it is being changed meanwhile.
// PICTURE_CORRUPT: it stands still and cannot be: it says that it is larger than its chunk, or has
// parts that are none.
enum link_picture { PICTURE_GOOD, PICTURE_CHANGED, PICTURE_CORRUPT };

// Whether the parts that a large item names can be its parts. It may be changing meanwhile.
bool link_parts_fit(const struct store *store, const struct item *item, uint32_t state,
                    uint32_t class_id);

static inline __attribute__((always_inline)) enum link_picture link_picture(
    const struct store *store, const struct item *item, uint32_t ref, struct link_view *view) {
    uint32_t sizes = SHARED_LOAD(item->sizes);
    uint32_t state = item_state_of(item);
    view->item = item;
    view->ref = ref;
    view->class_id = slab_class_of(&store->slab, ref);
    view->state = state;
    view->time_seconds = SHARED_LOAD(item->time_seconds);
    view->key_bytes = item_key_bytes(sizes);
    view->expiry_seconds = item_expiry(item, state);
    view->client_flags = item_client_flags(item, state);
    view->order = item_order(item);
    view->cas = link_cas_of(store, item, state);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, view->class_id);
    if (UNLIKELY(state & ITEM_LARGE)) {
        view->value = NULL;
        view->value_bytes = item_load32(&item_large_of(item, state)->value_bytes);
        bool fits = link_parts_fit(store, item, state, view->class_id);
        return !link_holds(view) ? PICTURE_CHANGED : fits ? PICTURE_GOOD : PICTURE_CORRUPT;
    }
    view->value_bytes = item_inline_value_bytes(sizes);
    view->value = item_inline_value(item, state, view->key_bytes);
    // A picture of half-changed sizes must not lead a copy out of the chunk.
    bool fits = (uint64_t)(view->value - (const char *)item) + view->value_bytes <= chunk_bytes;
    if (LIKELY(link_holds(view) && fits)) {
        return PICTURE_GOOD;
    }
    return fits ? PICTURE_CHANGED : link_holds(view) ? PICTURE_CORRUPT : PICTURE_CHANGED;
}

// Looks this often without a lock, in one operation; then the bucket's lock is taken for the look.
#define LINK_LOOKS_OPTIMISTIC 4
// An operation that has to let the lock go, to make room, begins so often; then it answers
// STORE_BUSY.
#define LINK_LOOKS_MAX 32

// The key under its bucket's lock. STORE_HIT: the lock is held, so that nothing changes, until
// link_let_go() or whatever takes the view and says that it lets go. All other outcomes, of which
// the view is filled as by link_find(), leave no lock: STORE_MISS also says that flash has nothing
// of the key; where it may have, STORE_ON_FLASH comes instead. STORE_BUSY: another process holds
// the bucket. Requires: no bucket locked. Locks: LOCK_BUCKET, LOCK_FLASH.
int link_find_locked(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                     struct link_view *view);
// Drops the viewed item, which is corrupt, if it still is; counted in corrupt_items. STORE_BUSY:
// its bucket is held by another. Requires: no bucket locked. Locks: LOCK_BUCKET.
int link_drop_corrupt(struct store *store, const struct link_view *view, uint64_t hash);

static inline bool link_is_locked(const struct link_view *view) {
    return lock_is_held(view->version);
}

// Unlocks the bucket of a view from link_find_locked(). Not `changed`: the view still holds.
static inline void link_view_unlock(struct store *store, struct link_view *view, bool changed) {
    index_unlock(store->proc, view->home, changed);
    view->version &= ~LOCK_OWNER_MASK;
}

// For tests, in debug builds: somebody may come in between here.
static inline void link_may_interfere(struct store *store) {
#ifdef PYMC_DEBUG
    if (store->interfere) {
        store->interfere(store->interfere_context);
    }
#else
    (void)store;
#endif
}

static inline void link_let_go(struct store *store, struct link_view *view) {
    if (UNLIKELY(link_is_locked(view))) {
        link_view_unlock(store, view, false);
        link_may_interfere(store);
    }
}

// link_find() when its first look came to nothing: looks again, in the end under the lock.
int link_find_again(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                    struct link_view *view);

// Whether the pictured item lives: STORE_HIT, STORE_MISS_EXPIRED or STORE_MISS_FLUSHED.
static inline int link_liveness_of(const struct store *store, const struct link_view *view) {
    if (UNLIKELY(link_is_flushed(store, view->order))) {
        return STORE_MISS_FLUSHED;
    }
    return UNLIKELY(link_is_expired(store, view->expiry_seconds)) ? STORE_MISS_EXPIRED : STORE_HIT;
}

// Finds a live item. Returns STORE_HIT, STORE_MISS, STORE_MISS_EXPIRED or STORE_MISS_FLUSHED; the
// view is filled for all but STORE_MISS. STORE_BUSY: a writer holds the bucket for longer than this
// process waits.
static inline int link_find(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                            struct link_view *view) {
    uint32_t home = index_home(&store->index, hash);
    FAULT_POINT(store->proc, "store.find.homed");
    view->home = &store->index.buckets[home];
    view->version = SHARED_ACQUIRE(view->home->word);
    if (LIKELY(!lock_is_held(view->version))) {
        uint32_t ref = 0;
        const struct item *item =
            link_search(store, view->home, index_tag(hash), key, key_bytes, &ref);
        if (item) {
            if (LIKELY(link_picture(store, item, ref, view) == PICTURE_GOOD)) {
                return link_liveness_of(store, view);
            }
            // In this order: the key's home was this bucket while the version was this one.
        } else if (LIKELY(view->version && index_home(&store->index, hash) == home
                          && link_holds(view))) {
            return STORE_MISS;
        }
    }
    return link_find_again(store, key, key_bytes, hash, view);
}

// One look of an operation that may have to look again: the first ones without a lock, later ones
// as link_find_locked(), so that nobody keeps it from ending.
int link_look_again(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                    uint32_t round, struct link_view *view);
static inline int link_look(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                            uint32_t round, struct link_view *view) {
    int found = LIKELY(round == 0) ? link_find(store, key, key_bytes, hash, view)
                                   : link_look_again(store, key, key_bytes, hash, round, view);
    link_may_interfere(store);
    return found;
}

// Locks the view's bucket if nothing in it has changed, or it is locked by the view: what was
// decided from the view still stands.
static inline bool link_upgrade(struct store *store, const struct link_view *view) {
    if (UNLIKELY(link_is_locked(view))) {
        return true;
    }
    uint64_t expected = view->version;
    uint32_t home = (uint32_t)(view->home - store->index.buckets);
    SHARED_RELEASE(index_local(&store->index, store->proc->slot_index)->table.held, home + 1);
    if (!SHARED_CAS(view->home->word, &expected, expected | lock_owner_bits(store->proc),
                    ACQ_REL)) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
    lock_note_rank(store->proc, LOCK_BUCKET);
    return true;
}

// Notes a read: the item was fetched and is active. A hot item is written to at most once in a
// while. Lets the view's bucket go.
void link_bump(struct store *store, struct link_view *view);
static inline bool link_wants_bump(const struct store *store, const struct link_view *view) {
    return (view->state & store->bump_mask) != store->bump_mask
           || view->time_seconds + store->bump_seconds <= store->proc->now_seconds;
}

static inline void link_count_hit(struct store *store, const struct link_view *view) {
    static const uint8_t counters[4] = {CLASS_hits_to_hot, CLASS_hits_to_warm, CLASS_hits_to_cold,
                                        CLASS_hits_to_temp};
    class_count(store, view->class_id, (enum class_counter)counters[item_queue_of(view->state)], 1);
}

// Counts a dead item that a command met, whatever the command wanted of it: so does memcached.
static inline void link_count_dead(struct store *store, int found) {
    if (found == STORE_MISS_EXPIRED) {
        count(store->proc, COUNTER_get_expired, 1);
    } else if (found == STORE_MISS_FLUSHED) {
        count(store->proc, COUNTER_get_flushed, 1);
    }
}

// A key that an operation looks at until what it decides from a look still stands.
struct link_looks {
    const char *key;
    uint32_t key_bytes;
    uint32_t round;
    uint32_t rounds_max;
    uint64_t hash;
    struct link_view view;
};
static inline void link_looks_begin(const struct store *store, const char *key, uint32_t key_bytes,
                                    struct link_looks *looks) {
    looks->key = key;
    looks->key_bytes = key_bytes;
    looks->round = 0;
    looks->rounds_max = LINK_LOOKS_MAX;
    looks->hash = link_hash(store, key, key_bytes);
}
// The next look. Returns STORE_HIT with looks->view filled, as link_look() leaves it; STORE_MISS
// when the key is nowhere, after what was met dead is counted and gone; STORE_ON_FLASH when flash
// has to be asked; STORE_BUSY also after too many looks.
int link_next_look(struct store *store, struct link_looks *looks);

// Removes a dead item that a look-up met, if it is still there unchanged.
void link_remove_dead(struct store *store, const struct link_view *view);

// The look `round` of an operation found nothing alive: what it met dead is counted and goes.
// Returns STORE_MISS when the key is nowhere, STORE_ON_FLASH when flash has to be asked,
// STORE_LOOK_AGAIN when its bucket changed meanwhile: look again. What else was found comes back as
// it is.
int link_missed(struct store *store, const struct link_view *view, int found, uint64_t hash,
                uint32_t round);
// Whether the locked item is the viewed one with the same value, marks and expiry, whatever else of
// its bucket changed.
bool link_stands(const struct link_locked *locked, const struct link_view *view);
