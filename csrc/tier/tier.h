// Write-out and compaction, for the keeper: items to records in write buffers, each step bounded.
//
// A record that was put into a write buffer (flash_buffers.h) is on flash for everybody: the index
// names it at once. Crash at any point: items and entries are as before, or as after, each by
// itself.
#pragma once

#include "flash/flash_scan.h"
#include "lru/lru.h"
#include "space/space.h"

// A sealed buffer was written, with what flash_buffer_write() returned: it is free again. After an
// error its records are gone, and their entries with them. Returns how many entries that were. See
// flash_buffer_finish().
uint32_t tier_buffer_finish(struct store *store, uint32_t number, int status);

// Where the write-out of one class stands. Zero it to begin.
struct tier_ahead {
    struct lru_place probation;    // The next entry to look at on probation.
    uint32_t page;                 // The next chunk to look at before the hand, ...
    uint32_t chunk;
    uint32_t distance;     // ... so many chunks from it ...
    uint32_t hand_page;    // ... when the hand was here.
    uint32_t hand_chunk;
};

struct tier_writeout_result {
    int full_bucket;    // The stream whose buffers have no room; -1: none.
    uint32_t examined;
    uint32_t added;
    uint32_t no_memory;    // For which the index had no room.
    uint32_t too_small;
    uint32_t too_young;
    uint32_t too_short_lived;
    uint32_t never_read;
    uint32_t too_large;
    uint32_t clean;    // Have their copy on flash already.
    bool is_ahead;     // All that will be evicted next has been looked at.
};
// Looks at up to `chunks` items of the class in the order in which they would be evicted, as far as
// `ahead_chunks` of each kind, and copies what may go into write buffers.
void tier_writeout_step(struct store *store, uint32_t class_id, struct tier_ahead *ahead,
                        const struct space_admission *admission, uint32_t ahead_chunks,
                        uint32_t chunks, struct tier_writeout_result *out);

struct tier_compaction {
    bool read_only;    // Rescue only what was read since it was written; the rest is dropped.
};
struct tier_compact_result {
    bool needs_buffer;    // No buffer of the stream has room: go on when one has.
    bool needs_load;      // flash_scan_load() the next piece.
    uint32_t rescued;
    uint32_t dropped;    // Wanted ones that were let go.
    uint32_t dead;       // Entries of expired and flushed items that were removed.
    uint64_t rescued_bytes;
};
// Goes through up to `records` records of the scanned page and copies to `bucket`'s buffers what is
// rescued.
void tier_compact_step(struct store *store, struct flash_scan *scan, int bucket,
                       const struct tier_compaction *rules, uint32_t records,
                       struct tier_compact_result *out);

// Takes all items that have their copy on flash out of memory; returns how many. For tests and
// tools.
uint64_t tier_drop_clean(struct store *store);

// Forgets a record that waited for room: the scan is given up or begins anew.
void tier_compact_stop(struct store *store);

// True when all records of the page were stored before the last flush_all, or are expired.
bool tier_page_is_dead(const struct store *store, uint32_t page);

// Items that are on flash only, for dumps: lines like store_dump_step()'s from the scanned page's
// loaded records. *more_out is false when the next piece has to be loaded. Requires: place_bytes >=
// 4096.
uint32_t tier_dump_step(struct store *store, struct flash_scan *scan, int kind, char *place,
                        uint32_t place_bytes, bool *more_out);

// Looks at up to `chunks` chunks and takes items out of memory that have their copy on flash and
// were not used for `idle_seconds_min`, counted in the cursor's items_reclaimed. They are not lost:
// each stays on flash, and no eviction is counted. Returns false when the walk is complete.
// Requires: no lock held. Locks: the bucket of each such item; one that is busy is passed by.
// Crash: an item has left or it has not.
bool tier_leave_step(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                     uint32_t idle_seconds_min);
