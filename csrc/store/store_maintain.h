// Background work on the store: bounded steps for the keeper, sums and snapshots for `stats`.
#pragma once

#include "space/space.h"
#include "store/store.h"

// Looks at up to `chunks` chunks and frees expired and flushed items. Returns false when the walk
// is complete. `class_mask` has a bit per class (bit i%64 of word i/64); NULL means all.
bool store_crawl_step(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                      const uint64_t *class_mask);

// Gives back what dead owners of slots left, for slots that nobody takes again. Returns true when
// one was dead.
bool store_reclaim_slot(struct store *store, uint32_t slot_index);

// What `stats items` and `stats slabs` show of one class beside its counters.
struct store_class_state {
    struct slab_class_snapshot slab;
    struct space_ages ages;
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

// `stats reset`: what was counted until now no longer shows. The reading functions above subtract
// it.
void store_counters_reset(struct store *store);

// Number of live items per value of item bytes / 32, for `stats sizes`: walks like a crawl, adds
// into counts[buckets].
bool store_sizes_step(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                      uint32_t *counts, uint32_t buckets);

// Tells those who watch events of this class (enum watch_class) a line: the words behind `type=`.
// Nothing is done while nobody does. Requires: called between the turns of this process.
void store_note_text(struct store *store, uint32_t watch_class, const char *text,
                     uint32_t text_bytes);
