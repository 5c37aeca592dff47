// Tables of buckets that grow and shrink one bucket at a time (linear hashing), for the indexes.
//
//   home buckets:       | 0 | 1 | ... | bucket_count - 1 |   each begins with its lock word
//   overflow buckets:   | 0 | 1 | ... |                      chained behind full ones
//
// Bucket s splits into s and s + 2^level when there are too many entries, and the two are merged
// when there are few; no table is ever copied. Which bits an entry has, how a bucket holds entries
// and where it keeps the link to an overflow bucket is for each index to say: struct table_format.
// Looking up, adding and removing are the index's own; what happens to buckets is done here.
//
// Changes in a chain are made under the home bucket's word and move its version; readers take no
// lock, they read the word, look, and read the word again. See csrc/README.md, "Rules for buckets
// that come and go".
#pragma once

#include "shm/lock_inline.h"

// More overflow buckets than this in one chain cannot be; a loop would be a bug.
#define TABLE_CHAIN_MAX 64
// So that the numbers of whole system pages of buckets have 32 bits, too.
#define TABLE_BUCKETS_MAX 0xffffff00u
// A process counts so many entries by itself before it tells the others.
#define TABLE_COUNT_BATCH 32

// In the arena.
struct table_root {
    uint64_t buckets_offset;
    uint64_t overflow_offset;
    uint64_t overflow_bits_offset;
    uint64_t local_offset;    // struct table_local of slot 0.
    uint32_t slots;
    uint32_t bucket_min;
    uint32_t bucket_max;
    uint32_t overflow_max;
    CACHE_ALIGNED uint32_t bucket_count;    // Atomic; the commit of a split and of a merge.
    CACHE_ALIGNED uint64_t grow_lock;       // Of the format's grow_rank.
    uint64_t version_floor;      // Higher than any version of a bucket that was merged away.
    uint64_t merges;             // Atomic; counted before the entries' move shows.
    int64_t entries;             // Atomic; exact to within TABLE_COUNT_BATCH per process.
    uint32_t buckets_touched;    // Beyond these no memory is in use; whole system pages.
    CACHE_ALIGNED uint64_t overflow_lock;    // LOCK_LEAF
    uint32_t overflow_low;      // No bucket is free in the words of overflow_bits before this one.
    uint32_t overflow_begun;    // One more than the highest in use.
    uint32_t overflow_used;
    uint32_t overflow_touched;    // Beyond these no memory is in use.
};

// What a process is doing to a table; for the repairer.
struct table_local {
    uint32_t held;              // Home bucket this process may hold, + 1.
    uint32_t pair;              // Bucket that a split makes or a merge removes just now, + 1.
    uint32_t release_first;     // Buckets whose memory is being given back ...
    uint32_t release_end;       // ... up to here, 0 for none.
    uint32_t overflow_taken;    // Overflow bucket in hand, + 1: taken and not chained, or unchained
                                // and not freed.
    int32_t entries_pending;    // Not yet added to root->entries.
};

struct table;

// What is particular to an index. Chains that functions change are locked, or nobody can reach
// them. A bucket of a chain is given by its memory and whether it is the home bucket.
struct table_format {
    uint32_t bucket_bytes;          // Of a home bucket; a power of two, as the next.
    uint32_t overflow_bytes;        // Of an overflow bucket.
    uint32_t entries_per_bucket;    // Average load at which the next bucket splits. At half of it
                                    // buckets are merged, so that the two do not chase each other.
    uint32_t splits_max;            // By one process at a time.
    enum lock_rank grow_rank;
    enum lock_rank bucket_rank;
    enum lock_rank split_rank;    // Of the second bucket of a split or merge.
    // The overflow bucket behind this one, + 1; 0 when there is none.
    uint32_t (*link)(const void *bucket, bool is_home);
    // Gives a bucket that nobody can reach another overflow bucket behind it, or none.
    void (*relink)(void *bucket, bool is_home, uint32_t link);
    // Empties a bucket but for its lock word.
    void (*clear)(void *bucket, bool is_home);
    // Copies the entries of a chain that belong into `to` when it is the last bucket, or all of
    // them; false when the other chain has no room.
    bool (*copy)(struct table *table, struct proc *proc, uint32_t from, uint32_t to, bool all);
    // Removes the entries that belong into `to` when it is the last bucket.
    void (*remove_moved)(struct table *table, struct proc *proc, uint32_t from, uint32_t to);
    // Moves entries forward into holes of the chain and frees overflow buckets it does not need.
    void (*compact)(struct table *table, struct proc *proc, uint32_t home);
    // Removes the second copies of entries that a dead process was moving inside the chain.
    void (*remove_duplicates)(struct table *table, uint32_t home);
};

// A process's handle: addresses only.
struct table {
    char *buckets;
    char *overflow;
    uint64_t *overflow_bits;    // A bit per overflow bucket that is in use; under overflow_lock.
    struct table_root *root;
    char *locals;
    uint32_t local_bytes;    // From one slot's struct table_local to the next.
    const struct table_format *format;
    void *owner;    // The index, for the functions of the format.
};

struct table_shape {
    uint32_t bucket_start;
    uint32_t bucket_min;
    uint32_t bucket_max;
    uint32_t overflow_max;
    uint64_t buckets_align;
    const char *buckets_label;    // Rows of the arena's ledger.
    const char *overflow_label;
    uint64_t local_offset;    // Of the struct table_local of slot 0, which the index reserves.
};

// What table_create() reserves at most.
uint64_t table_reserve_bytes(const struct table_format *format, const struct table_shape *shape);
MUST_CHECK int table_create(struct arena *arena, struct table_root *root,
                            const struct table_format *format, const struct table_shape *shape);
void table_attach(struct table *table, struct arena *arena, struct table_root *root,
                  const struct table_format *format, uint32_t local_bytes, void *owner);

// The home bucket's number when there are `count` buckets.
static inline uint32_t table_home_of(uint64_t hash, uint32_t count) {
    uint32_t mask = UINT32_MAX >> __builtin_clz(count);
    uint32_t home = (uint32_t)hash & mask;
    return home < count ? home : home & (mask >> 1);
}
static inline uint32_t table_home(const struct table_root *root, uint64_t hash) {
    return table_home_of(hash, SHARED_ACQUIRE(root->bucket_count));
}
static inline struct table_local *table_local(const struct table *table, uint32_t slot_index) {
    return (struct table_local *)(table->locals + (uint64_t)slot_index * table->local_bytes);
}

// Takes an overflow bucket in hand and empties it; returns its number + 1, 0 when there is none.
uint32_t table_overflow_take(struct table *table, struct proc *proc);
// Frees the overflow bucket in a hand, the process's own or a dead one's.
void table_overflow_give(struct table *table, struct proc *proc, struct table_local *hand);

// Adds what the process has counted to the number of entries and splits a few buckets when the
// average load is too high. Locks: the grow lock if nobody holds it, both buckets of a split if
// nobody holds them, LOCK_LEAF. Crash: a split is done or undone.
void table_grow_if_needed(struct table *table, struct proc *proc);

// Counts entries that were added or removed, and grows the table now and then. Requires: no lock
// held whose rank is above the grow lock's.
static inline void table_count(struct table *table, struct proc *proc, struct table_local *local,
                               int32_t by) {
    int32_t pending = local->entries_pending + by;
    SHARED_STORE(local->entries_pending, pending);
    if (UNLIKELY(pending >= TABLE_COUNT_BATCH || pending <= -TABLE_COUNT_BATCH)) {
        table_grow_if_needed(table, proc);
    }
}

// Merges up to `buckets_max` buckets away when there are few entries, and gives a bounded part of
// the memory behind the last bucket back. Returns false when there is nothing left to do now.
// Locks and crash: as table_grow_if_needed().
bool table_shrink_step(struct table *table, struct proc *proc, uint32_t buckets_max);

// How often a bucket has changed, counted on over the times when there is no such bucket: a number
// is never met twice. Takes no lock. Requires: there is this bucket.
uint64_t table_version(const struct table *table, uint32_t number);
// Memory in use, in bytes.
uint64_t table_bytes(const struct table *table);

// Restores what a dead process left half done and frees its locks, but for the home bucket named
// in `held`: that one is made sound, stays locked, and is returned; NULL when the dead process
// holds none. May be done again.
void *table_repair(struct table *table, struct proc *self, uint32_t dead_slot_index);

typedef void (*table_visit)(void *context, uint32_t home, const void *bucket, bool is_home);
// Calls `visit` for every bucket of every chain; aborts on a contradiction. Requires: nobody else
// works in the arena.
void table_check(const struct table *table, table_visit visit, void *context);
