// Room in memory: walks over chunks, page moves, what is evicted next. Bounded steps for the
// keeper, snapshots for the policies.
#pragma once

#include "link/link.h"

// A place in a walk over all chunks, or over all keys. Zero it to begin.
struct space_cursor {
    uint32_t page;
    uint32_t chunk;
    uint64_t position;    // Of a walk over keys: reversed bits of a hash, everything below is done.
    uint64_t items_seen;
    uint64_t items_reclaimed;
};

// How many items, and dead ones, a look at some chunks met in each class (by class number).
struct space_dead_sample {
    uint32_t items[256];
    uint32_t dead[256];
};
// Looks at `chunks_per_page` chunks of at most `pages` pages, spread over all of them; other ones
// for another seed.
void space_sample_dead(struct store *store, uint32_t pages, uint32_t chunks_per_page, uint32_t seed,
                       struct space_dead_sample *out);

// Moving one page from a class to another (0: to the pool of free pages).
struct space_move {
    uint32_t page;
    uint32_t from_class;
    uint32_t to_class;
    uint32_t chunk;
    uint32_t passes;    // How often all of the page was looked at.
    uint32_t stays;     // What had to stay: it is being sent, or may not be evicted.
    bool may_evict;
    bool swaps;    // What is wanted stays, and a colder one of the class goes in its place.
};
#define SPACE_MOVE_PASSES_MAX 60
// Starts to empty a page of `from_class`: the one in which least is wanted, of those looked at.
// Returns PYMC_NOT_FOUND when the class has no page to give. Owns: the caller has to go on with
// steps until the page has moved, or a cancel. Crash: whoever takes the slot next gives the page
// back to its class.
int space_move_begin(struct store *store, uint32_t from_class, uint32_t to_class,
                     struct space_move *move);
// Looks at up to `chunks` chunks. Items that are dead go; others are copied to free chunks of the
// class, or of one up to twice as large; where there are none, a wanted item takes the place of a
// colder one of its class, and the rest is evicted. Returns true when the page has moved. After
// SPACE_MOVE_PASSES_MAX passes the caller should cancel.
bool space_move_step(struct store *store, struct space_move *move, uint32_t chunks);
void space_move_cancel(struct store *store, struct space_move *move);

// Cuts the probation queues to what their classes' pages allow, fits the ghost to the items there
// are, and gives the memory that neither needs back to the system. Returns true while there is more
// to do. For one process, the keeper. Locks: LOCK_CLASS, one class after the other, LOCK_LEAF.
bool space_fit_probation_step(struct store *store);
// Looks anew at what each class would evict next. Returns how long items live now before they are
// evicted, in seconds, 0 when nothing is evicted.
uint32_t space_frontiers_step(struct store *store);

// Lets the index of memory, and that of flash too if wanted, shrink by up to `buckets_max` buckets
// where it has room for many more entries than there are, and lets items have the memory. Returns
// false when there is nothing left to do now. A sweep over the index of flash begins anew when that
// shrinks, so the two take turns. Requires: no lock held.
bool space_shrink_step(struct store *store, uint32_t buckets_max, bool flash_too);

// Ages in seconds: of the oldest item on probation, and the oldest seen near the eviction hand.
struct space_ages {
    uint32_t hot_seconds;
    uint32_t warm_seconds;
    uint32_t cold_seconds;
    uint64_t hot_items;
};
void space_class_ages(struct store *store, uint32_t class_id, struct space_ages *out);

// What may go to flash.
struct space_admission {
    uint64_t item_bytes_min;
    uint32_t idle_seconds_min;      // Only items not read for so long.
    uint32_t ttl_seconds_min;       // Items with fewer seconds to live stay in memory.
    uint32_t low_ttl_seconds;       // Items with fewer seconds to live go to the low TTL stream.
    uint32_t compress_bytes_min;    // Values of at least this many bytes are compressed where it
                                    // saves space; 0: none.
    uint32_t unread_percent;        // Of the items not read since they were stored, this part.
    bool active_too;                // Also items that eviction would pass over.
};

// The rules that the live settings give, for items of any age.
void space_admission_now(const struct store *store, struct space_admission *out);
