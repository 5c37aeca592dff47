// Background work on the store: bounded steps for the keeper, snapshots for the policies, dumps.
#pragma once

#include "store/store.h"

// A place in a walk over all chunks, or over all keys. Zero it to begin.
struct store_cursor {
    uint32_t page;
    uint32_t chunk;
    uint64_t position;    // Of a walk over keys: reversed bits of a hash, everything below is done.
    uint64_t items_seen;
    uint64_t items_reclaimed;
};

// Looks at up to `chunks` chunks and frees expired and flushed items. Returns false when the walk
// is complete. `class_mask` has a bit per class (bit i%64 of word i/64); NULL means all.
bool store_crawl_step(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                      const uint64_t *class_mask);

// Looks at up to `chunks` chunks and takes items out of memory that have their copy on flash and
// were not used for `idle_seconds_min`, counted in the cursor's items_reclaimed. They are not lost:
// each stays on flash, and no eviction is counted. Returns false when the walk is complete.
// Requires: no lock held. Locks: the bucket of each such item; one that is busy is passed by.
// Crash: an item has left or it has not.
bool store_leave_step(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                      uint32_t idle_seconds_min);

// How many items, and dead ones, a look at some chunks met in each class (by class number).
struct store_dead_sample {
    uint32_t items[256];
    uint32_t dead[256];
};
// Looks at `chunks_per_page` chunks of at most `pages` pages, spread over all of them; other ones
// for another seed.
void store_sample_dead(struct store *store, uint32_t pages, uint32_t chunks_per_page, uint32_t seed,
                       struct store_dead_sample *out);

enum store_dump_kind { STORE_DUMP_META, STORE_DUMP_MG, STORE_DUMP_CACHE };

// Writes dump lines of live items into `place` until it is full or some `chunks` chunks and buckets
// were looked at. Returns the bytes written; *more_out is false when the walk is complete.
// Requires: place_bytes >= 4096. Who is there from the first step to the last is named once
// (STORE_DUMP_CACHE, which goes page by page: unless it moves). Locks: none, or a bucket that
// changes all the time (STORE_DUMP_CACHE: each item's bucket).
uint32_t store_dump_step(struct store *store, struct store_cursor *cursor, int kind,
                         uint32_t chunks, const uint64_t *class_mask, char *place,
                         uint32_t place_bytes, bool *more_out);

// Moving one page from a class to another (0: to the pool of free pages).
struct store_move {
    uint32_t page;
    uint32_t from_class;
    uint32_t to_class;
    uint32_t chunk;
    uint32_t passes;    // How often all of the page was looked at.
    uint32_t stays;     // What had to stay: it is being sent, or may not be evicted.
    bool may_evict;
    bool swaps;    // What is wanted stays, and a colder one of the class goes in its place.
};
#define STORE_MOVE_PASSES_MAX 60
// Starts to empty a page of `from_class`: the one in which least is wanted, of those looked at.
// Returns PYMC_NOT_FOUND when the class has no page to give. Owns: the caller owes steps until the
// page has moved, or a cancel. Crash: whoever takes the slot next gives the page back to its class.
int store_move_begin(struct store *store, uint32_t from_class, uint32_t to_class,
                     struct store_move *move);
// Looks at up to `chunks` chunks. Items that are dead go; others are copied to free chunks of the
// class, or of one up to twice as large; where there are none, a wanted item takes the place of a
// colder one of its class, and the rest is evicted. Returns true when the page has moved. After
// STORE_MOVE_PASSES_MAX passes the caller should cancel.
bool store_move_step(struct store *store, struct store_move *move, uint32_t chunks);
void store_move_cancel(struct store *store, struct store_move *move);

// Cuts the probation queues to what their classes' pages allow, fits the ghost to the items there
// are, and gives the memory that neither needs back to the system. Returns true while there is more
// to do. For one process, the keeper. Locks: LOCK_CLASS, one class after the other, LOCK_LEAF.
bool store_fit_probation_step(struct store *store);
// Looks anew at what each class would evict next. Returns how long items live now before they are
// evicted, in seconds, 0 when nothing is evicted.
uint32_t store_frontiers_step(struct store *store);

// Frees unlinked large items whose last reader is done. Returns how many still wait.
uint32_t store_limbo_step(struct store *store, uint32_t items_max);

// Lets the index of memory, and that of flash too if wanted, shrink by up to `buckets_max` buckets
// where it has room for many more entries than there are, and lets items have the memory. Returns
// false when there is nothing left to do now. A sweep over the index of flash begins anew when that
// shrinks, so the two take turns. Requires: no lock held.
bool store_shrink_step(struct store *store, uint32_t buckets_max, bool flash_too);

// Gives back what dead owners of slots left, for slots that nobody takes again. Returns true when
// one was dead.
bool store_reclaim_slot(struct store *store, uint32_t slot_index);

// Ages in seconds: of the oldest item on probation, and the oldest seen near the eviction hand.
struct store_ages {
    uint32_t hot_seconds;
    uint32_t warm_seconds;
    uint32_t cold_seconds;
    uint64_t hot_items;
};
void store_class_ages(struct store *store, uint32_t class_id, struct store_ages *out);

// What `stats items` and `stats slabs` show of one class beside its counters.
struct store_class_state {
    struct slab_class_snapshot slab;
    struct store_ages ages;
};
// Finds the first class from `class_id` on that has pages, and reads it. Returns its number, 0 when
// there is none. Takes no lock. Crash: nothing changes.
uint32_t store_class_read_next(struct store *store, uint32_t class_id,
                               struct store_class_state *out);

// Sums one class's counters over all slots into values[meter_class_count()]. Gauges are sums
// modulo 2^64.
void class_counters_read(struct store *store, uint32_t class_id, uint64_t *values);
// The same for classes `first` to `last` together (evicted_age_seconds: the highest of all). One
// call costs some 10 us. Requires: 1 <= first, last <= slab_snapshot.classes.
void class_counters_sum(struct store *store, uint32_t first, uint32_t last, uint64_t *values);
// Sums the process counters of all slots into values[meter_count()].
void store_counters_read(struct store *store, uint64_t *values);

// `stats reset`: what was counted until now no longer shows. The reading functions below subtract
// it.
void store_counters_reset(struct store *store);

// Number of live items per value of item bytes / 32, for `stats sizes`: walks like a crawl, adds
// into counts[buckets].
bool store_sizes_step(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                      uint32_t *counts, uint32_t buckets);
