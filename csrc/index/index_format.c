// Entries of the index on their way between buckets: what a split, a merge and a repair do to them.
#include "index/index_internal.h"

static struct index *index_of(struct table *table) {
    return table->owner;
}

static struct bucket *next_of(const struct index *index, const struct bucket *bucket) {
    return (struct bucket *)index_next(index, bucket);
}

static uint32_t link_of(const void *memory, bool is_home) {
    const struct bucket *bucket = memory;
    return bucket->chained ? bucket->refs[INDEX_CHAIN_SLOT] : 0;
}

static void relink(void *memory, bool is_home, uint32_t link) {
    struct bucket *bucket = memory;
    SHARED_RELEASE(bucket->refs[INDEX_CHAIN_SLOT], link);
    SHARED_RELEASE(bucket->chained, link != 0);
}

static void clear(void *memory, bool is_home) {
    struct bucket *bucket = memory;
    for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
        SHARED_STORE(bucket->tags[slot], 0);
        SHARED_STORE(bucket->refs[slot], 0);
    }
    SHARED_STORE(bucket->chained, 0);
}

static bool belongs(const struct index *index, uint32_t ref, uint32_t to) {
    return table_home_of(index->hash_of(index->hash_context, ref), to + 1) == to;
}

static bool copy(struct table *table, struct proc *proc, uint32_t from, uint32_t to, bool all) {
    struct index *index = index_of(table);
    struct bucket *bucket = &index->buckets[from];
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (!bucket->tags[slot]) {
                continue;
            }
            uint32_t ref = bucket->refs[slot];
            if ((all || belongs(index, ref, to))
                && index_insert_locked(index, proc, &index->buckets[to], bucket->tags[slot], ref)) {
                return false;
            }
        }
        bucket = next_of(index, bucket);
    }
    return true;
}

static void remove_moved(struct table *table, struct proc *proc, uint32_t from, uint32_t to) {
    struct index *index = index_of(table);
    struct bucket *bucket = &index->buckets[from];
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (bucket->tags[slot] && belongs(index, bucket->refs[slot], to)) {
                index_clear_slot(bucket, slot);
            }
        }
        bucket = next_of(index, bucket);
    }
}

// Moves entries from the end of the chain into the holes of its home bucket only: few chains are
// longer than two buckets.
static void compact(struct table *table, struct proc *proc, uint32_t number) {
    struct index *index = index_of(table);
    struct bucket *home = &index->buckets[number];
    uint32_t depth = 0;
    for (struct bucket *bucket = next_of(index, home); bucket && depth < INDEX_CHAIN_MAX;
         bucket = next_of(index, bucket), depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            uint32_t holes = index_free_slots(home);
            if (bucket->tags[slot] && holes) {
                // In both places for an instant; a repairer removes the second.
                index_put(home, (uint32_t)__builtin_ctz(holes), bucket->tags[slot],
                          bucket->refs[slot]);
                FAULT_POINT(proc, "index.split.pulled");
                index_clear_slot(bucket, slot);
            }
        }
    }
    index_trim_chain(index, proc, home);
}

static void remove_duplicates(struct table *table, uint32_t number) {
    struct index *index = index_of(table);
    struct bucket *home = &index->buckets[number];
    uint32_t depth = 0;
    for (struct bucket *bucket = home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            struct index_place first;
            if (bucket->tags[slot] && index_find_ref_locked(index, home, bucket->refs[slot], &first)
                && (first.bucket != bucket || first.slot != slot)) {
                index_clear_slot(bucket, slot);
            }
        }
        bucket = next_of(index, bucket);
    }
}

const struct table_format index_format = {
    .bucket_bytes = sizeof(struct bucket),
    .overflow_bytes = sizeof(struct bucket),
    .entries_per_bucket = INDEX_ENTRIES_PER_BUCKET,
    .splits_max = 16,
    .grow_rank = LOCK_GROW,
    .bucket_rank = LOCK_BUCKET,
    .split_rank = LOCK_SPLIT,
    .link = link_of,
    .relink = relink,
    .clear = clear,
    .copy = copy,
    .remove_moved = remove_moved,
    .compact = compact,
    .remove_duplicates = remove_duplicates,
};
