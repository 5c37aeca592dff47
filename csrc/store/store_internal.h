// The store's own structures in the arena, its process-local handle, and what its files share.
#pragma once

#include "index/index_internal.h"
#include "lru/lru_internal.h"
#include "shm/live_inline.h"
#include "slab/slab_internal.h"
#include "store/item_inline.h"
#include "store/store_maintain.h"

enum class_counter {
#define COUNTER(name) CLASS_##name,
#define GAUGE(name) CLASS_##name,
#include "store/class_counters.def"
#undef COUNTER
#undef GAUGE
    CLASS_COUNTER_COUNT
};

#define STORE_CLAIMS 8192
#define STORE_PENDING 8
// So many pages there are under any limit: fewer would not let items of different sizes in.
#define STORE_PAGES_MIN 2
// Values above this size are sent from the arena under a pin instead of being copied into the reply.
#define STORE_COPY_BYTES_MAX 16384
// An active item's time is renewed this often, or more often where items live a short time.
#define STORE_BUMP_SECONDS_MAX 60

// What a process is doing to one key. Names new_ref and old_ref; see store_repair() for what each step means.
enum store_step { STEP_NONE, STEP_FILL, STEP_LINK, STEP_UNLINK, STEP_IN_PLACE, STEP_FREE, STEP_RESCUE,
                  STEP_RESCUE_PART };
enum store_claim_kind { CLAIM_NONE, CLAIM_PIN, CLAIM_MAKING, CLAIM_DISMANTLE };

struct store_pending {
    uint32_t count;
    uint32_t refs[STORE_PENDING];
};

// A process's own part. Only the owner writes, except a repairer after its death.
struct CACHE_ALIGNED store_local {
    uint32_t step;
    uint32_t new_ref;           // Chunk in hand: being filled, not linked yet.
    uint32_t old_ref;           // Chunk in hand: being unlinked, or to be freed.
    uint32_t hand;              // Chunk in hand: a part on its way into or out of a large item.
    uint32_t link_claim;        // With STEP_LINK: new item is that claim's, + 1.
    uint32_t claims_high;       // Claims at or above this index were never used.
    uint64_t items_after;       // What the item counters will be when the step is done.
    uint64_t item_bytes_after;
    uint64_t class_counters[SLAB_CLASSES_MAX][CLASS_COUNTER_COUNT];
    struct store_pending pending[SLAB_CLASSES_MAX];     // New items not yet in the probation ring.
    uint8_t claim_kind[STORE_CLAIMS];
    uint32_t claim_ref[STORE_CLAIMS];
};

struct store_root {
    uint64_t local_offset;
    uint64_t limit_bytes_max;
    CACHE_ALIGNED uint64_t limbo_lock;      // LOCK_LIMBO
    uint32_t limbo_head;                    // Unlinked items that were pinned; list through time_seconds.
    uint32_t limbo_count;
    uint32_t lifetime_seconds;              // How long items live now before they are evicted, 0: they are not.
    uint64_t counters_base[COUNTER_COUNT];  // What `stats reset` subtracts.
    uint64_t class_counters_base[SLAB_CLASSES_MAX][CLASS_COUNTER_COUNT];
};

struct store {
    struct slab slab;
    struct index index;
    struct lru lru;
    struct flash *flash;        // NULL without a flash tier.
    struct arena *arena;
    struct arena_header *header;
    struct proc *proc;
    struct store_root *root;
    struct store_local *local;
    uint32_t part_class;                    // Largest class, for the parts of large items.
    struct store_flash_local *on_flash;     // NULL without a flash tier.
    bool is_resting;
    uint32_t bump_seconds;
    uint32_t needed_ref;                    // What the command in progress needs: this process does not evict it.
    struct store_room *room;                // What this process does to get pages for its classes.
    uint32_t claims_free_count;
    uint16_t claims_free[STORE_CLAIMS];
    uint8_t class_by_units[1025];           // Class for sizes up to 8 KiB, by 8-byte units.
    uint8_t anchor[SLAB_CLASSES_MAX];       // The coarser class whose chunks stand in while a class has few items.
};

static inline struct store_local *store_local_at(const struct store *store, uint32_t slot_index) {
    return (struct store_local *)(store->arena->base + store->root->local_offset
                                  + (uint64_t)slot_index * sizeof(struct store_local));
}
static inline struct item *store_item(const struct store *store, uint32_t ref) {
    return (struct item *)slab_chunk(&store->slab, ref);
}
static inline void class_count(struct store *store, uint32_t class_id, enum class_counter counter, uint64_t by) {
    uint64_t *place = &store->local->class_counters[class_id][counter];
    SHARED_STORE(*place, *place + by);
}
static inline uint32_t store_class_for(const struct store *store, uint32_t bytes) {
    return LIKELY(bytes <= 8192) ? store->class_by_units[(bytes + 7) / 8] : slab_class_for(&store->slab, bytes);
}

// A flush at once hits what has a CAS number up to the one it read: no clock is asked, since processes' clocks may be
// a moment apart. Where the number says nothing about the order the second decides, and items stored in the flush's
// second are stamped with the next one. A flush that was scheduled hits what is older than its second.
static inline uint32_t store_stamp(const struct store *store, uint32_t state) {
    uint32_t now = store->proc->now_seconds;
    uint32_t flushed = SHARED_LOAD(store->header->flush_seconds);
    return UNLIKELY((state & ITEM_FOREIGN_CAS) && flushed >= now) ? flushed + 1 : now;
}
static inline bool store_is_flushed(const struct store *store, uint32_t time_seconds, uint32_t state, uint64_t cas) {
    const struct arena_header *header = store->header;
    if (UNLIKELY(time_seconds < SHARED_LOAD(header->flush_before_seconds))) {
        return true;
    }
    return UNLIKELY(state & ITEM_FOREIGN_CAS) ? time_seconds <= SHARED_LOAD(header->flush_seconds)
                                              : cas <= SHARED_LOAD(header->flush_cas);
}
static inline bool store_is_expired(const struct store *store, uint32_t expiry_seconds) {
    return expiry_seconds && expiry_seconds <= store->proc->now_seconds;
}
static inline bool store_is_dead(const struct store *store, const struct item *item, uint32_t state) {
    return store_is_expired(store, item_expiry(item, state))
           || store_is_flushed(store, SHARED_LOAD(item->time_seconds), state, item_cas(item, state));
}
static inline uint64_t store_next_cas(struct store *store) {
    if (!live_get(store->arena, LIVE_cas_enabled)) {
        return 0;
    }
    return __atomic_add_fetch(&store->header->cas, 1, __ATOMIC_RELAXED);
}

// The number of a changed item. Where the new value comes from the old one it is taken before the last look whether the
// old one is flushed: a flush that this look misses has read a number at least as high, and covers the new one too.
static inline uint64_t store_number_for(struct store *store, bool has_cas_new, uint64_t cas_new) {
    return has_cas_new ? cas_new : store_next_cas(store);
}
// An item in place that gets a number from a client: from now on its second says what a flush means for it.
static inline uint32_t store_state_renumbered(struct store *store, struct item *item, uint32_t state, bool is_foreign) {
    if (is_foreign && !(state & ITEM_FOREIGN_CAS)) {
        state |= ITEM_FOREIGN_CAS;
        SHARED_STORE(item->time_seconds, store_stamp(store, state));
    }
    return state;
}

// A key found under its locked bucket, or the place where it is missing.
struct store_locked {
    struct bucket *home;
    struct index_place place;
    struct item *item;          // NULL when the key is missing.
    uint32_t ref;
    uint32_t state;
    uint32_t class_id;
    bool is_dead;               // Present but expired or flushed.
};
void store_lock(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash, struct store_locked *out);
// Locks the bucket in which `ref` is linked; false when it is not (any more).
bool store_lock_ref(struct store *store, uint32_t ref, struct store_locked *out);
static inline void store_unlock(struct store *store, struct store_locked *locked, bool changed) {
    index_unlock(store->proc, locked->home, changed);
}

// Unlinks the locked item, unlocks its bucket and frees its memory; what is on flash of it is forgotten.
// Crash: done, or undone, or finished by repair.
void store_unlink_and_unlock(struct store *store, struct store_locked *locked);
// The same, but a copy on flash stays.
void store_evict_and_unlock(struct store *store, struct store_locked *locked);

// What is on flash of a key is or will be out of date: its entries go before anything else changes. Returns the item's
// state (0 without an item) without the marks of a copy. Locks: the caller holds the key's bucket.
uint32_t store_spoil_copy(struct store *store, struct item *item, uint32_t state, uint64_t hash);
// Whether an item that nobody has read since it was stored is among the `percent` that go to flash all the same: always
// the same answer for one stored value, so that it is not asked until it says yes.
static inline bool store_is_in_luck(uint32_t state, uint64_t cas, uint64_t hash, uint32_t percent) {
    return (state & ITEM_FETCHED) || ((hash ^ cas * 0x9e3779b97f4a7c15ull) >> 40) % 100 < percent;
}
// Whether a key that was just found missing in memory may be on flash. When not, the caller must still see that its
// bucket has not changed since it was found missing.
bool store_may_be_on_flash(struct store *store, uint64_t hash);
void store_flash_close(struct store *store);
MUST_CHECK int store_flash_open(struct store *store);
// Frees an unlinked item or an unlinked chunk named by a word of the process's own; clears the word.
void store_free(struct store *store, uint32_t *hand);
// Bytes an item occupies, parts included.
uint64_t store_item_bytes(const struct store *store, const struct item *item, uint32_t state);
uint32_t store_value_bytes(const struct item *item, uint32_t state);

// Counts an item in or out (`sign`) that lives in a chunk of a larger class than its size asks for.
static inline void store_count_borrowed(struct store *store, uint32_t ref, uint64_t bytes, int sign) {
    uint32_t own = bytes <= SLAB_PAGE_BYTES ? store_class_for(store, (uint32_t)bytes) : 0;
    if (UNLIKELY(own && own != slab_class_of(&store->slab, ref))) {
        __atomic_fetch_add(&store->slab.root->class[own].borrowed_bytes, sign * (int64_t)bytes, __ATOMIC_RELAXED);
    }
}

// Takes a chunk for `bytes` into *hand, evicting if need be. Returns false when there is no memory.
bool store_take(struct store *store, uint32_t bytes, uint32_t *hand);
// Frees at least one chunk of the class (they come to the process's magazine). Requires: no lock held.
bool store_evict(struct store *store, uint32_t class_id);
// Counts and evicts a live item, or counts and frees a dead one; unlocks it.
void store_evict_counted(struct store *store, struct store_locked *locked);
void store_reap_locked(struct store *store, struct store_locked *locked);
// Counts an item into (by 1) or out of (by -1) the class of its chunk.
void store_count_class_items(struct store *store, uint32_t ref, uint32_t state, uint64_t bytes, uint64_t by);

// Room for a class that has no free chunk: takes a chunk into *hand from wherever that costs least: a free page of
// anybody, a page of which little is in use, a page of another class whose items are dead or older, the class itself.
// `has_few`: the items that want it are few, and may share the chunks of a larger class. Returns false when nothing can
// be evicted anywhere. Requires: no lock held, new_ref and old_ref not in use.
bool store_room_take(struct store *store, uint32_t class_id, bool has_few, uint32_t *hand);
// Goes on with the page that is on its way to the class, if there is one, as fast as the class uses up what it has.
void store_room_pace(struct store *store, uint32_t class_id);
// Gives back a page that nobody has asked for lately.
void store_room_turn(struct store *store);
int store_room_open(struct store *store);
void store_room_close(struct store *store);
// The page of the class of which least is wanted, of those looked at; 0 when it has none.
uint32_t store_move_page_of(struct store *store, uint32_t class_id);
void store_push_pending(struct store *store, uint32_t class_id);
void store_update_pages_limit(struct store *store);

// What a new item looks like before its value is there.
struct store_shape {
    uint32_t state;
    uint32_t head_bytes;        // Header, optional fields and key.
    uint32_t total_bytes;       // Inline: the whole; large: the main chunk.
    bool is_large;
};
int store_shape_of(const struct store *store, const struct store_write *write, uint32_t value_bytes,
                   uint32_t extra_state, struct store_shape *out);
// Writes everything but the value into a fresh chunk.
void store_fill_head(struct store *store, uint32_t ref, const struct store_write *write, uint32_t value_bytes,
                     const struct store_shape *shape);

// Links the item in local->new_ref (or the claim's) in place of `locked`, or as a new entry, and unlocks.
// Returns PYMC_NO_MEMORY when the index is full; then nothing is linked.
MUST_CHECK int store_link_and_unlock(struct store *store, struct store_locked *locked, uint32_t new_ref,
                                     uint32_t claim_plus_one, uint64_t hash, uint64_t cas);

// How many bytes of a large value are in its part number `part`.
uint32_t store_part_bytes(const struct store *store, uint32_t value_bytes, uint32_t part);
// Lets the parts of a large item know that it is in this chunk now; for others it does nothing.
void store_adopt_parts(struct store *store, uint32_t ref);

// Claims: a process's pins and half-made items, released by whoever cleans up after it.
#define STORE_NO_CLAIM UINT32_MAX
uint32_t store_claim(struct store *store, uint32_t ref, enum store_claim_kind kind);
void store_unclaim(struct store *store, uint32_t claim);
// Makes all claims free. Requires: none is in use.
void store_claims_reset(struct store *store);
bool store_is_pinned(const struct store *store, uint32_t ref);
// Frees a claimed item with all its parts, then the claim.
void store_dismantle(struct store *store, uint32_t claim);
void store_limbo_push(struct store *store, uint32_t *hand);

// One piece of a value: inline values have one, large ones a piece per part. Bounds are checked, contents may be
// changing: the caller checks the version. Returns the bytes at *place_out, 0 past the end.
uint32_t store_value_span(const struct store *store, const struct item *item, uint32_t state, uint32_t class_id,
                          uint32_t offset, const char **place_out);

// Repairs what a dead process left, takes no lock but leaf ones; gives nothing back yet.
void store_repair(void *context, struct proc *self, uint32_t dead_slot_index);
// Gives back what the slot's words and claims name. Requires: the slot is repaired and belongs to the caller, or is
// held dead by it.
void store_reclaim(struct store *store, struct store_local *local, uint32_t slot_index);
