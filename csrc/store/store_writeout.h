// Write-out and compaction, for the keeper: items to records, in batches, each step bounded.
//
// A batch is a write buffer with a note of whose records are in it. Fill it by store_writeout_step() or
// store_compact_step(), seal it, write it (flash_buffer_write() in any thread), commit it. Items stay in memory and
// records stay where they are until the commit; only then the index names the new ones. Crash at any point: items and
// entries are as before the commit, or as after it, each by itself.
#pragma once

#include "flash/flash_writer.h"
#include "lru/lru.h"
#include "store/store.h"

struct store_batch;

int store_batch_create(struct store *store, struct store_batch **batch_out);
void store_batch_destroy(struct store_batch *batch);
// Begins to fill for a stream. Returns PYMC_NOT_FOUND when no page is free.
int store_batch_begin(struct store_batch *batch, int bucket);
struct flash_buffer *store_batch_buffer(struct store_batch *batch);
uint32_t store_batch_records(const struct store_batch *batch);
// Ends filling; the bytes to write, 0 when there are none (then the batch may begin again).
uint64_t store_batch_seal(struct store_batch *batch);

struct store_commit_result {
    uint32_t linked;            // Records that the index names now.
    uint32_t changed;           // Whose item or entry changed meanwhile: wasted.
    uint32_t no_memory;         // For which the index had no room.
    uint32_t lost;              // Rescued ones that could not be written: their page goes, and they with it.
};
// `write_status` is what flash_buffer_write() returned. The batch may begin again.
void store_batch_commit(struct store_batch *batch, int write_status, struct store_commit_result *out);

// What may go to flash now; decided by a policy from what it sees of cache and device.
struct store_admission {
    uint64_t item_bytes_min;
    uint32_t idle_seconds_min;  // Only items not read for so long.
    uint32_t ttl_seconds_min;   // Items with fewer seconds to live stay in memory.
    uint32_t low_ttl_seconds;   // Items with fewer seconds to live go to the low TTL stream.
    uint32_t compress_bytes_min;// Values of at least this many bytes are compressed where it saves space; 0: none.
    uint32_t unread_percent;    // Of the items not read since they were stored, this part.
    bool active_too;            // Also items that eviction would pass over; for tests and tools.
};

// Where the write-out of one class stands. Zero it to begin.
struct store_ahead {
    struct lru_place probation; // The next entry to look at on probation.
    uint32_t page;              // The next chunk to look at before the hand, ...
    uint32_t chunk;
    uint32_t distance;          // ... so many chunks from it ...
    uint32_t hand_page;         // ... when the hand was here.
    uint32_t hand_chunk;
};

struct store_writeout_result {
    int full_bucket;            // The stream whose batch is full or missing; -1: none.
    uint32_t examined;
    uint32_t added;
    uint64_t added_bytes;
    uint32_t too_small;
    uint32_t too_young;
    uint32_t too_short_lived;
    uint32_t never_read;
    uint32_t too_large;
    uint32_t clean;             // Have their copy on flash already.
    bool is_ahead;              // All that will be evicted next has been looked at.
};
// Looks at up to `chunks` items of the class in the order in which they would be evicted, as far as `ahead_chunks` of
// each kind, and copies what may go into the batches (one per enum flash_bucket, NULL where none is open).
void store_writeout_step(struct store *store, struct store_batch **batches, uint32_t class_id,
                         struct store_ahead *ahead, const struct store_admission *admission, uint32_t ahead_chunks,
                         uint32_t chunks, struct store_writeout_result *out);

struct store_compaction {
    bool read_only;             // Rescue only what was read since it was written; the rest is dropped.
};
struct store_compact_result {
    bool needs_batch;           // The batch is full: seal, write and commit it, then go on.
    bool needs_load;            // flash_scan_load() the next piece.
    uint32_t rescued;
    uint32_t dropped;           // Wanted ones that were let go.
    uint32_t dead;              // Entries of expired and flushed items that were removed.
    uint64_t rescued_bytes;
};
// Goes through up to `records` records of the scanned page and copies into the batch what is rescued.
void store_compact_step(struct store *store, struct flash_scan *scan, struct store_batch *batch,
                        const struct store_compaction *rules, uint32_t records, struct store_compact_result *out);

// Takes all items that have their copy on flash out of memory; returns how many. For tests and tools.
uint64_t store_drop_clean(struct store *store);

// Forgets a record that waited for room: the scan is given up or begins anew.
void store_compact_stop(struct store *store);

// True when all records of the page were stored before the last flush_all, or are expired.
bool store_flash_page_is_dead(const struct store *store, uint32_t page);

// Items that are on flash only, for dumps: lines like store_dump_step()'s from the scanned page's loaded records.
// *more_out is false when the next piece has to be loaded. Requires: place_bytes >= 4096.
uint32_t store_flash_dump_step(struct store *store, struct flash_scan *scan, int kind, char *place,
                               uint32_t place_bytes, bool *more_out);
