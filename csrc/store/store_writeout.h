// Write-out and compaction, for the keeper: items to records in write buffers, each step bounded.
//
// A record that was put into a write buffer (flash_buffers.h) is on flash for everybody: the index
// names it at once. Crash at any point: items and entries are as before, or as after, each by
// itself.
#pragma once

#include "flash/flash_scan.h"
#include "lru/lru.h"
#include "store/store.h"

// A sealed buffer was written, with what flash_buffer_write() returned: it is free again. After an
// error its records are gone, and their entries with them. Returns how many entries that were. See
// flash_buffer_finish().
uint32_t store_buffer_finish(struct store *store, uint32_t number, int status);

// What may go to flash.
struct store_admission {
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
void store_admission_now(const struct store *store, struct store_admission *out);

// Where the write-out of one class stands. Zero it to begin.
struct store_ahead {
    struct lru_place probation;    // The next entry to look at on probation.
    uint32_t page;                 // The next chunk to look at before the hand, ...
    uint32_t chunk;
    uint32_t distance;     // ... so many chunks from it ...
    uint32_t hand_page;    // ... when the hand was here.
    uint32_t hand_chunk;
};

struct store_writeout_result {
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
void store_writeout_step(struct store *store, uint32_t class_id, struct store_ahead *ahead,
                         const struct store_admission *admission, uint32_t ahead_chunks,
                         uint32_t chunks, struct store_writeout_result *out);

struct store_compaction {
    bool read_only;    // Rescue only what was read since it was written; the rest is dropped.
};
struct store_compact_result {
    bool needs_buffer;    // No buffer of the stream has room: go on when one has.
    bool needs_load;      // flash_scan_load() the next piece.
    uint32_t rescued;
    uint32_t dropped;    // Wanted ones that were let go.
    uint32_t dead;       // Entries of expired and flushed items that were removed.
    uint64_t rescued_bytes;
};
// Goes through up to `records` records of the scanned page and copies to `bucket`'s buffers what is
// rescued.
void store_compact_step(struct store *store, struct flash_scan *scan, int bucket,
                        const struct store_compaction *rules, uint32_t records,
                        struct store_compact_result *out);

// Takes all items that have their copy on flash out of memory; returns how many. For tests and
// tools.
uint64_t store_drop_clean(struct store *store);

// Forgets a record that waited for room: the scan is given up or begins anew.
void store_compact_stop(struct store *store);

// True when all records of the page were stored before the last flush_all, or are expired.
bool store_flash_page_is_dead(const struct store *store, uint32_t page);

// Items that are on flash only, for dumps: lines like store_dump_step()'s from the scanned page's
// loaded records. *more_out is false when the next piece has to be loaded. Requires: place_bytes >=
// 4096.
uint32_t store_flash_dump_step(struct store *store, struct flash_scan *scan, int kind, char *place,
                               uint32_t place_bytes, bool *more_out);
