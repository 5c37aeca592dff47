// The store's own structures in the arena, its process-local handle, and what its files share.
#pragma once

#include "base/hash_inline.h"
#include "index/index_internal.h"
#include "lru/lru_internal.h"
#include "meter/meter_inline.h"
#include "shm/live_inline.h"
#include "slab/slab_internal.h"
#include "store/item_inline.h"
#include "store/store_maintain.h"

#define STORE_PENDING 8
// So many pages there are under any limit: fewer would not let items of different sizes in.
#define STORE_PAGES_MIN 2
// Values above this size are always sent from the arena under a pin, or as a copy of their own,
// never through the reply's buffer.
#define STORE_COPY_BYTES_MAX 16384
// Values above these sizes are sent from the arena too while few pins are in use: one that is alone
// in its reply, and one that has others before it, for which sendmsg() is called anyhow. Copying a
// smaller one costs less than a pin.
#define STORE_COPY_ALONE_BYTES_MAX 8192
#define STORE_COPY_AMONG_BYTES_MAX 4096
// Values up to this size are never pinned: who frees one or changes it in place need not ask.
#define STORE_UNPINNED_BYTES_MAX STORE_COPY_AMONG_BYTES_MAX
// An active item's time is renewed this often, or more often where items live a short time.
#define STORE_BUMP_SECONDS_MAX 60

// What a process is doing; store_txn_inline.h has what each means. The first five need the lock of
// the key's bucket.
enum store_txn_kind {
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

struct store_pending {
    uint32_t count;
    uint32_t refs[STORE_PENDING];
};

// What the counters of items are, or by how much they change.
struct store_change {
    uint64_t items;
    uint64_t bytes;
    uint64_t flushed_items;
    uint64_t flushed_bytes;
};

// What a transaction is about; a field that its kind does not have is 0.
struct store_txn_names {
    uint32_t new_ref;
    uint32_t old_ref;
    uint32_t claim;        // + 1
    uint32_t owner_ref;    // A large item ...
    uint32_t part;         // ... and the number of a part in its list.
};
// The record of what a process is doing to one item. Stored to by the verbs of store_txn_inline.h
// only.
struct store_txn {
    uint32_t kind;    // enum store_txn_kind; what arms and disarms it.
    struct store_txn_names names;
    struct store_change after;    // What the counters of items will be.
    uint64_t lost_after;    // IN_PLACE: what items_lost_to_recovery will be if it is not done.
};

// A process's own part. Only the owner writes, except a repairer after its death.
struct CACHE_ALIGNED store_local {
    struct store_txn txn;
    uint32_t pins_used;        // How many items it pins; never less than its pins that others see.
    uint32_t makings_high;     // Its claims for items being made are free from this one on.
    uint64_t flush_noticed;    // The mark of the flush that flushed_* counters stand for.
    uint64_t class_counters[SLAB_CLASSES_MAX][CLASS_COUNTER_COUNT];
    struct store_pending pending[SLAB_CLASSES_MAX];    // New items not yet in the probation queue.
};

// A cache line of pins.
#define STORE_PIN_GROUP 16
static inline uint64_t store_claims_bytes(uint32_t pin_groups, uint32_t makings_max) {
    uint64_t bytes = ((uint64_t)pin_groups * STORE_PIN_GROUP + makings_max) * sizeof(uint32_t);
    return (bytes + 63) & ~63ull;
}
// The handle's part of what it claims.
struct store_claims {
    uint32_t pins_max;
    uint32_t free_count;    // Claims for items being made.
    uint32_t *free;
    uint32_t *making_ref;    // As store_makings_at().
    uint32_t *pin_ref;       // As store_pins_at().
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
    uint32_t limbo_cursor;        // Where store_limbo_step() goes on, 0 for the head.
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
    uint64_t full_chain_hash;    // Of a key whose chain was full; see store_make_chain_room().
    struct store_root *root;
    struct store_local *local;
    uint32_t ref_end;          // References from here on are none.
    uint32_t largest_class;    // Values that do not fit into its chunks have parts ...
    uint32_t part_class;       // ... in chunks of this class; the last one as small as it may be.
    // The item that the command under way works on, 0 for none: making room for the command does
    // not evict it. A word of this process alone; an item that moved, or another in its chunk, is
    // no worse off.
    uint32_t needed_ref;
    struct store_flash_local *on_flash;    // NULL without a flash tier.
    bool is_resting;
    store_meddler meddle;    // Debug builds: called after each store_look(); NULL for nothing.
    void *meddle_context;
    uint32_t bump_seconds;
    uint32_t bump_mask;         // An item in this state that is read again need not be told.
    struct store_room *room;    // What this process does to get pages for its classes.
    struct store_claims *claims;
    uint8_t class_by_units[1025];        // Class for sizes up to 8 KiB, by 8-byte units.
    uint8_t anchor[SLAB_CLASSES_MAX];    // The coarser class whose chunks stand in while a class
                                         // has few items.
};

static inline uint64_t store_hash(const struct store *store, const char *key, size_t key_bytes) {
    return hash_key(key, key_bytes, store->hash_seed);
}
static inline struct store_local *store_local_at(const struct store *store, uint32_t slot_index) {
    return (struct store_local *)(store->arena->base + store->root->local_offset
                                  + (uint64_t)slot_index * sizeof(struct store_local));
}
// A slot's pins: pin_groups groups, see store_claims.c.
static inline uint32_t *store_pins_at(const struct store *store, uint32_t slot_index) {
    const struct store_root *root = store->root;
    return (uint32_t *)(store->arena->base + root->claims_offset
                        + (uint64_t)slot_index
                              * store_claims_bytes(root->pin_groups, root->makings_max));
}
// The item that each of a slot's claims MAKING has, 0 for none.
static inline uint32_t *store_makings_at(const struct store *store, uint32_t slot_index) {
    return store_pins_at(store, slot_index) + (uint64_t)store->root->pin_groups * STORE_PIN_GROUP;
}
// The chunk in this process's hand, 0 for none.
static inline uint32_t store_hand(const struct store *store) {
    return store->slab.own->hand;
}
static inline struct item *store_item(const struct store *store, uint32_t ref) {
    return (struct item *)slab_chunk(&store->slab, ref);
}
static inline void class_count(struct store *store, uint32_t class_id, enum class_counter counter,
                               uint64_t by) {
    uint64_t *place = &store->local->class_counters[class_id][counter];
    SHARED_STORE(*place, *place + by);
}
static inline uint32_t store_class_for(const struct store *store, uint32_t bytes) {
    return LIKELY(bytes <= 8192) ? store->class_by_units[(bytes + 7) / 8]
                                 : slab_class_for(&store->slab, bytes);
}

// Order numbers are compared on a circle of 48 bits; store_turn() flushes before the way round it
// gets too long.
static inline bool store_order_is_covered(uint64_t flush_order, uint64_t order) {
    return (int64_t)((flush_order - order) << 16) >= 0;
}
// A flush covers what has an order number up to its mark: no clock is asked, since processes'
// clocks may be a moment apart.
static inline bool store_is_flushed(const struct store *store, uint64_t order) {
    return store_order_is_covered(SHARED_LOAD(store->header->flush_order), order);
}
// The 64-bit number of which items keep 48 bits. Requires: fewer than 2^48 numbers were given
// since.
static inline uint64_t store_full_order(const struct store *store, uint64_t order) {
    uint64_t last = SHARED_LOAD(store->header->order);
    return last - ((last - order) & ITEM_ORDER_MASK);
}
static inline bool store_is_expired(const struct store *store, uint32_t expiry_seconds) {
    return expiry_seconds && expiry_seconds <= store->proc->now_seconds;
}
static inline bool store_is_dead(const struct store *store, const struct item *item,
                                 uint32_t state) {
    return store_is_expired(store, item_expiry(item, state))
           || store_is_flushed(store, item_order(item));
}

static inline bool store_has_cas(const struct store *store) {
    return live_get(store->arena, LIVE_cas_enabled);
}
// The CAS number that clients see: 0 under -C.
static inline uint64_t store_cas_of(const struct store *store, const struct item *item,
                                    uint32_t state) {
    if (UNLIKELY(state & ITEM_OWN_CAS)) {
        return item_own_cas(item, state);
    }
    return LIKELY(store_has_cas(store)) ? item_order(item) : 0;
}

// The numbers of a new or changed item; `cas_new` is the client's. Where the new value comes from
// the old one, or depends on its being there, they are taken before the last look whether the old
// one is flushed: a flush that this look misses covers them too. Whoever gets an order number above
// a flush's mark sees that mark, see store_flush_all().
static inline struct item_numbers store_numbers_for(struct store *store, bool has_cas_new,
                                                    uint64_t cas_new) {
    uint64_t order = SHARED_ADD(store->header->order, 1, ACQUIRE) & ITEM_ORDER_MASK;
    return (struct item_numbers){order, !store_has_cas(store) ? 0 : has_cas_new ? cas_new : order};
}

// Counting the flushed. The counters of items count what is linked, flushed or not; the flushed_*
// ones count how much of that is flushed, by the flush that this process has noticed last. When it
// notices another, all that it ever linked is flushed. Of a process that has not noticed the
// present flush everything counts as flushed, so that the sums are right from the flush on, and
// exact whenever nobody is at work.
void store_notice_flush_now(struct store *store, uint64_t flush_order);
// Locks: a bucket, so that no item that is younger than the flush can be met without noticing the
// flush. Requires: no counters are under way (items_after).
static inline void store_notice_flush(struct store *store) {
    uint64_t flush_order = SHARED_LOAD(store->header->flush_order);
    if (UNLIKELY(flush_order != store->local->flush_noticed)) {
        store_notice_flush_now(store, flush_order);
    }
}
static inline bool store_counts_as_flushed(const struct store *store, uint64_t order) {
    return UNLIKELY(store_order_is_covered(store->local->flush_noticed, order));
}
static inline void store_change_add(const struct store *store, struct store_change *change,
                                    uint64_t order, uint64_t bytes, uint64_t sign) {
    change->items += sign;
    change->bytes += sign * bytes;
    if (store_counts_as_flushed(store, order)) {
        change->flushed_items += sign;
        change->flushed_bytes += sign * bytes;
    }
}
// Counts an item into (`sign` 1) or out of (-1) its class.
void store_count_in_class(struct store *store, uint32_t ref, uint64_t order, uint32_t state,
                          uint64_t bytes, int sign);
// Counts an item that gets or loses the mark ITEM_ON_FLASH.
static inline void store_count_copy(struct store *store, uint64_t order, int sign) {
    count(store->proc, COUNTER_items_with_copy, (uint64_t)(int64_t)sign);
    if (store_counts_as_flushed(store, order)) {
        count(store->proc, COUNTER_flushed_with_copy, (uint64_t)(int64_t)sign);
    }
}

// A key found under its locked bucket, or the place where it is missing.
struct store_locked {
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
MUST_CHECK bool store_lock(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                           struct store_locked *out);
// Locks the bucket in which `ref` is linked; false when it is not (any more), or somebody is at
// that bucket: what is done for its own sake goes on with others.
bool store_lock_ref(struct store *store, uint32_t ref, struct store_locked *out);
// The same, with index_lock()'s patience.
bool store_lock_ref_patiently(struct store *store, uint32_t ref, struct store_locked *out);
// Removes an entry of a locked bucket that names no chunk; counted.
void store_remove_stray(struct store *store, struct index_place place);
// The command is to be done over again, for flash or for a busy bucket: it has changed and counted
// nothing.
static inline bool store_is_put_off(int outcome) {
    return UNLIKELY(outcome >= STORE_ON_FLASH);
}
static inline void store_unlock(struct store *store, struct store_locked *locked, bool changed) {
    index_unlock(store->proc, locked->home, changed);
}

// Unlinks the locked item, unlocks its bucket and frees its memory; what is on flash of it is
// forgotten. Crash: done, or undone, or finished by repair.
void store_unlink_and_unlock(struct store *store, struct store_locked *locked);
// The same, but a copy on flash stays.
void store_evict_and_unlock(struct store *store, struct store_locked *locked);

// What is on flash of a key is or will be out of date: its entries go before anything else changes.
// Returns the item's state (0 without an item) without the marks of a copy. Locks: the caller holds
// the key's bucket.
uint32_t store_spoil_copy(struct store *store, struct item *item, uint32_t state, uint64_t hash);
// Whether an item that nobody has read since it was stored is among the `percent` that go to flash
// all the same: always the same answer for one stored value, so that it is not asked until it says
// yes.
static inline bool store_is_in_luck(uint32_t state, uint64_t order, uint64_t hash,
                                    uint32_t percent) {
    return (state & ITEM_FETCHED) || ((hash ^ order * 0x9e3779b97f4a7c15ull) >> 40) % 100 < percent;
}
// Whether a key that was just found missing in memory may be on flash. When not, the caller must
// still see that its bucket has not changed since it was found missing.
bool store_may_be_on_flash(struct store *store, uint64_t hash);
void store_flash_close(struct store *store);
MUST_CHECK int store_flash_open(struct store *store);
// Bytes an item occupies, parts included.
uint64_t store_item_bytes(const struct store *store, const struct item *item, uint32_t state);
uint32_t store_value_bytes(const struct item *item, uint32_t state);

// Counts an item in or out (`sign`) that lives in a chunk of a larger class than its size asks for.
static inline void store_count_borrowed(struct store *store, uint32_t ref, uint64_t bytes,
                                        int sign) {
    uint32_t own = bytes <= SLAB_PAGE_BYTES ? store_class_for(store, (uint32_t)bytes) : 0;
    if (UNLIKELY(own && own != slab_class_of(&store->slab, ref))) {
        SHARED_ADD(store->slab.root->class[own].borrowed_bytes, sign * (int64_t)bytes, RELAXED);
    }
}

// Takes a chunk for `bytes` into the hand, evicting if need be, and returns it; 0 when there is no
// memory. Requires: the hand is empty, no transaction is armed, no lock held. Crash: as
// slab_take().
uint32_t store_take(struct store *store, uint32_t bytes);
// The same, and looks into limbo before it says no.
uint32_t store_take_room(struct store *store, uint32_t bytes);
// The same, sparing the item `needed_ref`, which the command is about to replace.
uint32_t store_take_beside(struct store *store, uint32_t needed_ref, uint32_t bytes);
// Ends a time in which `needed_ref` was spared instead of `before`: where both are the same item it
// may have moved.
static inline void store_need_again(struct store *store, uint32_t before, uint32_t needed_ref) {
    store->needed_ref = before == needed_ref ? store->needed_ref : before;
}
// Counts a refused store under its reason, and among all of them. Returns STORE_NO_MEMORY.
int store_refused(struct store *store, enum counter reason);
// Frees at least one chunk of the class (they come to the process's magazine). Requires: no lock
// held.
bool store_evict(struct store *store, uint32_t class_id);
// A chain of the index could not take one more entry, and who wanted to link is put off
// (full_chain_hash): evicts the oldest item of that chain, which counts as an eviction and under
// chain_evictions. Requires: no lock held, no transaction armed, nothing in hand.
void store_make_chain_room(struct store *store);
// Counts and evicts a live item, or counts and frees a dead one; unlocks it.
void store_evict_counted(struct store *store, struct store_locked *locked);
void store_reap_locked(struct store *store, struct store_locked *locked);

// Room for a class that has no free chunk: takes a chunk into the hand from wherever that costs
// least: a free page of anybody, a page of which little is in use, a page of another class whose
// items are dead or older, the class itself. `has_few`: the items that want it are few, and may
// share the chunks of a larger class. Returns false when nothing can be evicted anywhere. Requires:
// no lock held, nothing in hand, no transaction armed.
bool store_room_take(struct store *store, uint32_t class_id, bool has_few);
// Goes on with the page that is on its way to the class, if there is one, as fast as the class uses
// up what it has.
void store_room_pace(struct store *store, uint32_t class_id);
// Gives back a page that nobody has asked for lately.
void store_room_turn(struct store *store);
int store_room_open(struct store *store);
void store_room_close(struct store *store);
// Pages that did not get empty; store_move_begin_beside() is store_move_begin() with another page
// than these.
#define STORE_MOVE_AVOID_MAX 12
struct store_move_avoid {
    uint32_t count;
    uint32_t pages[STORE_MOVE_AVOID_MAX];
};
int store_move_begin_beside(struct store *store, uint32_t from_class, uint32_t to_class,
                            const struct store_move_avoid *avoid, struct store_move *move);
// Hands the page on when it is empty: true. Gives its memory back to the system if that is what all
// have too much.
bool store_move_end(struct store *store, struct store_move *move);
void store_push_pending(struct store *store, uint32_t class_id);
void store_update_pages_limit(struct store *store);
// An item that was read so often is past probation at its end.
#define STORE_READS_PROVEN 1u
// How many entries may stay on probation when something has to go, and quarters of an entry by
// which that moves.
uint64_t store_probation_target(const struct store *store, uint32_t class_id);
void store_adapt_probation(struct store *store, uint32_t class_id, int32_t quarters);
// How many entries the class's probation queue may have, for the pages it has now.
uint64_t store_probation_cap(const struct store *store, uint32_t class_id);
// Sets right the queues a dead process was changing. Requires: the class locks it holds are not
// freed yet.
void store_repair_probation(struct store *store, struct proc *self, uint32_t dead_slot_index);

// What a new item looks like before its value is there.
struct store_shape {
    uint32_t state;
    uint32_t head_bytes;     // Header, optional fields and key.
    uint32_t total_bytes;    // Inline: the whole; large: the main chunk.
    bool is_large;
};
int store_shape_of(const struct store *store, const struct store_write *write, uint32_t value_bytes,
                   uint32_t extra_state, struct store_shape *out);
// Writes everything but the value into a fresh chunk.
void store_fill_head(struct store *store, uint32_t ref, const struct store_write *write,
                     uint32_t value_bytes, const struct store_shape *shape);

// Links the item in hand (or the claim's) in place of `locked`, or as a new entry, and unlocks.
// Returns PYMC_NO_MEMORY when the index is full; then nothing is linked, and hand or claim still
// has the item. Crash: it is linked and the other goes, or neither.
MUST_CHECK int store_link_and_unlock(struct store *store, struct store_locked *locked,
                                     uint32_t new_ref, uint32_t claim_plus_one, uint64_t hash,
                                     struct item_numbers numbers);

// How a piece to append or prepend is shaped: it may have to become an item of its own, with an
// expiry field then.
static inline struct store_write store_write_shaped(const struct store_write *write) {
    struct store_write shaped = *write;
    if (write->mode >= STORE_APPEND) {
        shaped.expiry_seconds = write->vivify ? write->vivify_expiry_seconds : 0;
        shaped.client_flags = write->vivify ? write->client_flags : 0;
    }
    return shaped;
}

static inline uint32_t store_part_payload_bytes(const struct store *store) {
    return slab_chunk_bytes(&store->slab, store->part_class) - ITEM_HEADER_BYTES;
}
// Takes all parts that the value will need, for one whose bytes are there already. Returns false
// when there is no room; what was taken stays with the making. Requires: as store_take().
bool store_take_parts(struct store *store, const struct store_making *making);
// How many bytes of a large value are in its part number `part`.
uint32_t store_part_bytes(const struct store *store, uint32_t value_bytes, uint32_t part);
// Lets the parts of a large item know that it is in this chunk now; for others it does nothing.
void store_adopt_parts(struct store *store, uint32_t ref);

// Claims: what keeps an item's memory that is no longer, or not yet, in the index. A process's pins
// are its readers', one for each item, shared by all of its replies that send it; its claims MAKING
// are half-made items. Either ends with the process. Sizes per process for so many connections (0:
// as many as are usual).
uint32_t store_pin_groups_for(uint32_t connections_max);
uint32_t store_makings_for(uint32_t connections_max);
// What the handle knows of its claims. store_claims_begin() makes all claims MAKING free, once
// store_txn_reclaim() has freed what they had.
MUST_CHECK int store_claims_open(struct store *store);
void store_claims_begin(struct store *store);
void store_claims_close(struct store *store);

// No claim MAKING is free; or, from store_pin(), the item changed meanwhile.
#define STORE_NO_CLAIM UINT32_MAX
// Both groups in which the item's pin could be are full.
#define STORE_NO_PIN (UINT32_MAX - 1)
// Moves the item in hand to a claim MAKING; it stays in hand when there is none. Crash: the one or
// the other has it.
uint32_t store_claim_hand(struct store *store);
// Notes that a claim MAKING whose word is 0 may be used again.
void store_claim_is_free(struct store *store, uint32_t claim);
// One more reader has the item. Returns its pin, or STORE_NO_PIN. Others see it from here on, after
// a full fence.
uint32_t store_pin_take(struct store *store, uint32_t ref);
// One reader less.
void store_pin_give(struct store *store, uint32_t pin);
// Ends the pins of this process's dead predecessor.
void store_pins_forget(struct store *store);
// Whether any process has the item pinned.
bool store_is_pinned(const struct store *store, uint32_t ref);
// For store_check(): aborts on a contradiction in a slot's pins. Returns how many there are.
uint32_t store_pins_check(const struct store *store, uint32_t slot_index);
static inline bool store_is_in_limbo(const struct item *item) {
    return (item_state_of(item) & (ITEM_LINKED | ITEM_LIMBO)) == ITEM_LIMBO;
}
// Whether a value that could be copied may be pinned as well: these have a quarter of the pins.
static inline bool store_may_pin_small(const struct store *store) {
    return store->local->pins_used < store->claims->pins_max / 4;
}
// Half of the pins are in use: each reply may have a few from here on, so that there are some for
// every connection.
static inline bool store_pins_are_tight(const struct store *store) {
    return store->local->pins_used > store->claims->pins_max / 2;
}
// Less than a quarter of them is left.
static inline bool store_pins_are_scarce(const struct store *store) {
    return store->local->pins_used > store->claims->pins_max / 4 * 3;
}
// What unlinked items take that readers keep from being freed.
static inline uint64_t store_limbo_bytes(const struct store *store) {
    return SHARED_LOAD(store->root->limbo_bytes);
}
// Whether an item that is pinned is no longer in the index.
static inline bool store_is_unlinked(const struct store *store, uint32_t ref) {
    return !(item_state_of(store_item(store, ref)) & ITEM_LINKED);
}
// Puts the item of the armed FREE into limbo and disarms. Returns false when nobody pins it (any
// more). Locks: LOCK_LIMBO.
bool store_limbo_put(struct store *store, uint32_t ref);
// What a dead slot did under limbo's lock: the list is made sound, and has what can be reached from
// its head; then the lock is freed. Requires: its transaction is repaired.
void store_limbo_repair(struct store *store, struct proc *self, uint32_t dead_slot_index);

// One piece of a value: inline values have one, large ones a piece per part. Bounds are checked,
// contents may be changing: the caller checks the version. Returns the bytes at *place_out, 0 past
// the end.
uint32_t store_value_span(const struct store *store, const struct item *item, uint32_t state,
                          uint32_t class_id, uint32_t offset, const char **place_out);

// Calls `visit` for the carved chunks from the cursor on, `chunks` at most; false at the end of the
// last page. The mask has a bit per class, NULL means all.
typedef void (*store_visit)(void *context, uint32_t ref, uint32_t class_id);
bool store_walk_chunks(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                       const uint64_t *class_mask, store_visit visit, void *context);

// Repairs what a dead process left, takes no lock but leaf ones; gives nothing back yet.
void store_repair(void *context, struct proc *self, uint32_t dead_slot_index);
