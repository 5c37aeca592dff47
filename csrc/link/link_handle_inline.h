// The handle that all rooms of the store take, what is in the arena of it, and what the clock and
// the order numbers say of an item.
#pragma once

#include "base/hash_inline.h"
#include "index/index_inline.h"
#include "item/item_inline.h"
#include "link/link.h"
#include "lru/lru_inline.h"
#include "meter/meter_inline.h"
#include "shm/live_inline.h"
#include "slab/slab_inline.h"
#include "watch/watch_inline.h"

#define LINK_PENDING 8
// Values above this size are always sent from the arena under a pin, or as a copy of their own,
// never through the reply's buffer.
#define LINK_COPY_BYTES_MAX 16384
// Values above these sizes are sent from the arena too while few pins are in use: one that is alone
// in its reply, and one that has others before it, for which sendmsg() is called anyhow. Copying a
// smaller one costs less than a pin.
#define LINK_COPY_FIRST_BYTES_MAX 8192
#define LINK_COPY_LATER_BYTES_MAX 4096
// Values up to this size are never pinned: who frees one or changes it in place need not ask.
#define LINK_UNPINNED_BYTES_MAX LINK_COPY_LATER_BYTES_MAX

// What a process is doing; link_txn_inline.h has what each means. The first five need the lock of
// the key's bucket.
enum link_txn_kind {
    TXN_NONE,
    TXN_LINK,
    TXN_UNLINK,
    TXN_IN_PLACE,
    TXN_MOVE_ITEM,
    TXN_MOVE_PART,
    TXN_ADD_PART,
    TXN_CLAIM,
    TXN_FREE
};

struct link_pending {
    uint32_t count;
    uint32_t refs[LINK_PENDING];
};

// What the counters of items are, or by how much they change.
struct link_change {
    uint64_t items;
    uint64_t bytes;
    uint64_t flushed_items;
    uint64_t flushed_bytes;
};

// What a transaction is about; a field that its kind does not have is 0.
struct link_txn_names {
    uint32_t new_ref;
    uint32_t old_ref;
    uint32_t claim;        // + 1
    uint32_t owner_ref;    // A large item ...
    uint32_t part;         // ... and the number of a part in its list.
};
// The record of what a process is doing to one item. Stored to by the verbs of link_txn_inline.h
// only.
struct link_txn {
    uint32_t kind;    // enum link_txn_kind; what arms and disarms it.
    struct link_txn_names names;
    struct link_change after;    // What the counters of items will be.
    uint64_t lost_after;         // IN_PLACE: what items_lost_to_recovery will be if it is not done.
};

// A process's own part. Only the owner writes, except a repairer after its death.
struct CACHE_ALIGNED store_local {
    struct link_txn txn;
    uint32_t pins_used;        // How many items it pins; never less than its pins that others see.
    uint32_t makings_high;     // Its claims for items being made are free from this one on.
    uint64_t flush_noticed;    // The mark of the flush that flushed_* counters stand for.
    uint64_t class_counters[SLAB_CLASSES_MAX][CLASS_COUNTER_COUNT];
    struct link_pending pending[SLAB_CLASSES_MAX];    // New items not yet in the probation queue.
};

// A cache line of pins.
#define LINK_PIN_GROUP 16
static inline uint64_t link_claims_bytes(uint32_t pin_groups, uint32_t makings_max) {
    uint64_t bytes = ((uint64_t)pin_groups * LINK_PIN_GROUP + makings_max) * sizeof(uint32_t);
    return (bytes + 63) & ~63ull;
}

// The handle's part of what it claims.
struct link_claims {
    uint32_t pins_max;
    uint32_t free_count;    // Claims for items being made.
    uint32_t *free;
    uint32_t *making_ref;    // As link_makings_at().
    uint32_t *pin_ref;       // As link_pins_at().
    uint32_t pin_count[];    // How many readers share each pin.
};

struct store_root {
    uint64_t local_offset;
    uint64_t limit_bytes_max;
    uint64_t claims_offset;    // Each slot's pins, and behind them its items being made.
    uint32_t pin_groups;
    uint32_t makings_max;
    CACHE_ALIGNED uint64_t limbo_lock;    // LOCK_LIMBO
    // Unlinked items that were pinned: a list through their time_seconds (next) and cas_low
    // (previous).
    uint32_t limbo_head;
    uint32_t limbo_count;
    uint32_t limbo_cursor;        // Where link_limbo_step() goes on, 0 for the head.
    uint64_t limbo_bytes;         // What they take, as items count it.
    uint32_t lifetime_seconds;    // How long items live now before they are evicted, 0: they are
                                  // not.
    uint64_t counters_base[COUNTER_COUNT];    // What `stats reset` subtracts.
    uint64_t class_counters_base[SLAB_CLASSES_MAX][CLASS_COUNTER_COUNT];
};

struct store {
    struct slab slab;
    struct index index;
    struct lru lru;
    struct flash *flash;    // NULL without a flash tier.
    struct arena *arena;
    struct arena_header *header;
    struct proc *proc;
    uint64_t hash_seed;
    bool has_full_chain;
    uint64_t full_chain_hash;    // Of a key whose chain was full; see space_make_chain_room().
    struct store_root *root;
    struct store_local *local;
    uint32_t ref_end;          // References from here on are none.
    uint32_t largest_class;    // Values that do not fit into its chunks have parts ...
    uint32_t part_class;       // ... in chunks of this class; the last one as small as it may be.
    // The item that the command under way works on, 0 for none: making room for the command does
    // not evict it. A word of this process alone; an item that moved, or another in its chunk, is
    // no worse off.
    uint32_t needed_ref;
    struct link_flash_local *on_flash;    // NULL without a flash tier.
    bool is_resting;
    link_interferer interfere;    // Debug builds: called after each link_look(); NULL for nothing.
    void *interfere_context;
    uint32_t bump_seconds;
    uint32_t bump_mask;         // An item in this state that is read again need not be marked.
    struct watch watch;         // What clients of `watch` are told of what this process does.
    struct space_room *room;    // What this process does to get pages for its classes.
    struct link_claims *claims;
    uint8_t class_by_units[1025];        // Class for sizes up to 8 KiB, by 8-byte units.
    uint8_t anchor[SLAB_CLASSES_MAX];    // The coarser class whose chunks stand in while a class
                                         // has few items.
};

static inline uint64_t link_hash(const struct store *store, const char *key, size_t key_bytes) {
    return hash_key(key, key_bytes, store->hash_seed);
}

static inline struct store_local *link_local_at(const struct store *store, uint32_t slot_index) {
    return (struct store_local *)(store->arena->base + store->root->local_offset
                                  + (uint64_t)slot_index * sizeof(struct store_local));
}

// A slot's pins: pin_groups groups, see link_claims.c.
static inline uint32_t *link_pins_at(const struct store *store, uint32_t slot_index) {
    const struct store_root *root = store->root;
    return (uint32_t *)(store->arena->base + root->claims_offset
                        + (uint64_t)slot_index
                              * link_claims_bytes(root->pin_groups, root->makings_max));
}

// The item that each of a slot's claims MAKING has, 0 for none.
static inline uint32_t *link_makings_at(const struct store *store, uint32_t slot_index) {
    return link_pins_at(store, slot_index) + (uint64_t)store->root->pin_groups * LINK_PIN_GROUP;
}

// The chunk in this process's hand, 0 for none.
static inline uint32_t link_hand(const struct store *store) {
    return store->slab.own->hand;
}

static inline struct item *link_item(const struct store *store, uint32_t ref) {
    return (struct item *)slab_chunk(&store->slab, ref);
}

static inline void class_count(struct store *store, uint32_t class_id, enum class_counter counter,
                               uint64_t by) {
    uint64_t *place = &store->local->class_counters[class_id][counter];
    SHARED_STORE(*place, *place + by);
}

static inline uint32_t link_class_for(const struct store *store, uint32_t bytes) {
    return LIKELY(bytes <= 8192) ? store->class_by_units[(bytes + 7) / 8]
                                 : slab_class_for(&store->slab, bytes);
}

// Order numbers are compared on a circle of 48 bits; store_turn() flushes before the way round it
// gets too long.
static inline bool link_order_is_covered(uint64_t flush_order, uint64_t order) {
    return (int64_t)((flush_order - order) << 16) >= 0;
}

// A flush covers what has an order number up to its mark: no clock is asked, since processes'
// clocks may be a moment apart.
static inline bool link_is_flushed(const struct store *store, uint64_t order) {
    return link_order_is_covered(SHARED_LOAD(store->header->flush_order), order);
}

// The 64-bit number of which items keep 48 bits. Requires: fewer than 2^48 numbers were given
// since.
static inline uint64_t link_full_order(const struct store *store, uint64_t order) {
    uint64_t last = SHARED_LOAD(store->header->order);
    return last - ((last - order) & ITEM_ORDER_MASK);
}

static inline bool link_is_expired(const struct store *store, uint32_t expiry_seconds) {
    return expiry_seconds && expiry_seconds <= store->proc->now_seconds;
}

static inline bool link_is_dead(const struct store *store, const struct item *item,
                                uint32_t state) {
    return link_is_expired(store, item_expiry(item, state))
           || link_is_flushed(store, item_order(item));
}

static inline bool link_has_cas(const struct store *store) {
    return live_get(store->arena, LIVE_cas_enabled);
}

// The CAS number that clients see: 0 under -C.
static inline uint64_t link_cas_of(const struct store *store, const struct item *item,
                                   uint32_t state) {
    if (UNLIKELY(state & ITEM_OWN_CAS)) {
        return item_own_cas(item, state);
    }
    return LIKELY(link_has_cas(store)) ? item_order(item) : 0;
}

// The numbers of a new or changed item; `cas_new` is the client's. Where the new value comes from
// the old one, or depends on its being there, they are taken before the last look whether the old
// one is flushed: a flush that this look misses covers them too. Whoever gets an order number above
// a flush's mark sees that mark, see store_flush_all().
static inline struct item_numbers link_numbers_for(struct store *store, bool has_cas_new,
                                                   uint64_t cas_new) {
    uint64_t order = SHARED_ADD(store->header->order, 1, ACQUIRE) & ITEM_ORDER_MASK;
    return (struct item_numbers){order, !link_has_cas(store) ? 0 : has_cas_new ? cas_new : order};
}
