// Making, repairing and checking the index.
#include "base/bits_inline.h"
#include "index/index_internal.h"

static uint32_t overflow_max_of(uint32_t bucket_max) {
    return bucket_max / 2 + 64;
}

// A table of buckets fills whole system pages, so that what is given back is nothing else's.
static uint64_t table_bytes(uint32_t buckets) {
    return (uint64_t)index_page_end(buckets) * sizeof(struct bucket);
}

uint64_t index_reserve_bytes(uint32_t bucket_max, uint32_t slots) {
    uint32_t overflow_max = overflow_max_of(bucket_max);
    return table_bytes(bucket_max) + table_bytes(overflow_max)
           + bits_words(overflow_max) * sizeof(uint64_t) + sizeof(struct index_root)
           + (uint64_t)slots * sizeof(struct index_local) + ARENA_HUGE_PAGE_BYTES
           + 3 * ARENA_SYSTEM_PAGE_BYTES;
}

int index_create(struct arena *arena, uint32_t bucket_start, uint32_t bucket_max) {
    if (bucket_start == 0 || bucket_start > bucket_max) {
        return PYMC_INVALID;
    }
    uint64_t root_offset = arena_reserve(arena, sizeof(struct index_root), 64, "index_local");
    if (!root_offset) {
        return PYMC_NO_MEMORY;
    }
    struct index_root *root = (struct index_root *)(arena->base + root_offset);
    root->bucket_count = bucket_start;
    root->bucket_min = bucket_start < INDEX_BUCKETS_MIN ? bucket_start : INDEX_BUCKETS_MIN;
    root->bucket_max = bucket_max;
    root->buckets_touched = index_page_end(bucket_start);
    root->overflow_max = overflow_max_of(bucket_max);
    root->slots = arena->header->slots;
    root->buckets_offset =
        arena_reserve(arena, table_bytes(bucket_max), ARENA_HUGE_PAGE_BYTES, "index_buckets");
    root->overflow_offset = arena_reserve(arena, table_bytes(root->overflow_max),
                                          ARENA_SYSTEM_PAGE_BYTES, "index_overflow");
    uint64_t bits_bytes = bits_words(root->overflow_max) * sizeof(uint64_t);
    root->overflow_bits_offset = arena_reserve(arena, bits_bytes, 64, "index_overflow");
    root->local_offset =
        arena_reserve(arena, (uint64_t)root->slots * sizeof(struct index_local), 64, "index_local");
    if (!root->buckets_offset || !root->overflow_offset || !root->overflow_bits_offset
        || !root->local_offset) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_INDEX] = root_offset;
    return PYMC_OK;
}

void index_attach(struct arena *arena, struct index *index, index_hash_of hash_of,
                  void *hash_context) {
    index->arena_base = arena->base;
    index->root = (struct index_root *)(arena->base + arena->header->roots[ARENA_ROOT_INDEX]);
    index->buckets = (struct bucket *)(arena->base + index->root->buckets_offset);
    index->overflow = (struct bucket *)(arena->base + index->root->overflow_offset);
    index->overflow_bits = (uint64_t *)(arena->base + index->root->overflow_bits_offset);
    index->locals = arena->base + index->root->local_offset;
    index->hash_of = hash_of;
    index->hash_context = hash_context;
}

uint64_t index_version(const struct index *index, uint32_t number) {
    PYMC_CHECK(number < SHARED_LOAD(index->root->bucket_count));
    return SHARED_LOAD(index->buckets[number].word) / LOCK_VERSION_STEP;
}

void index_read(const struct index *index, struct index_snapshot *out) {
    out->buckets = SHARED_LOAD(index->root->bucket_count);
    out->overflow_buckets = SHARED_LOAD(index->root->overflow_used);
    int64_t entries = SHARED_LOAD(index->root->entries);
    out->entries = entries > 0 ? (uint64_t)entries : 0;
    out->bytes = index_bytes(index);
}

// Finishes hanging an overflow bucket into a chain, or taking it out.
static void redo_chaining(struct index *index, struct index_local *local) {
    if (local->chain_bucket && local->overflow_taken) {
        index_chain_commit((struct bucket *)(index->arena_base + local->chain_bucket),
                           local->overflow_taken);
        SHARED_DECIDE(local->overflow_taken, 0);
    }
    SHARED_DECIDE(local->chain_bucket, 0);
    if (local->unhang_bucket) {
        struct bucket *bucket = (struct bucket *)(index->arena_base + local->unhang_bucket);
        if (bucket->chained && bucket->refs[INDEX_CHAIN_SLOT] == local->overflow_taken) {
            SHARED_RELEASE(bucket->chained, 0);
            SHARED_RELEASE(bucket->refs[INDEX_CHAIN_SLOT], 0);
        }
        SHARED_DECIDE(local->unhang_bucket, 0);
    }
}

// The hand names a bucket that still hangs in the chain of one that nobody can reach: it goes with
// that chain.
static bool chain_has(const struct index *index, const struct bucket *home, uint32_t overflow) {
    const struct bucket *bucket = home;
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        if (bucket->chained && bucket->refs[INDEX_CHAIN_SLOT] == overflow) {
            return true;
        }
        bucket = index_next(index, bucket);
    }
    return false;
}

// An entry that was being moved inside its chain may be there twice: the later one goes.
static void remove_twins(struct index *index, struct bucket *home) {
    uint32_t depth = 0;
    for (struct bucket *bucket = home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            struct index_place first;
            if (bucket->tags[slot] && index_find_ref_locked(index, home, bucket->refs[slot], &first)
                && (first.bucket != bucket || first.slot != slot)) {
                SHARED_RELEASE(bucket->tags[slot], 0);
                SHARED_RELEASE(bucket->refs[slot], 0);
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
}

// Finishes a split or merge that was decided and undoes one that was not: the bucket that is not
// counted is emptied, and what belongs into one that is leaves the other.
static void repair_pair(struct index *index, struct proc *self, struct index_local *local,
                        uint32_t dead_slot_index) {
    struct bucket *from = &index->buckets[local->split_from - 1];
    struct bucket *to = &index->buckets[local->split_to];
    bool is_counted = index->root->bucket_count > local->split_to;
    bool holds_both = lock_is_held_by(&to->word, dead_slot_index);
    if (!is_counted && chain_has(index, to, local->overflow_taken)) {
        SHARED_DECIDE(local->overflow_taken, 0);
    }
    if (local->overflow_taken) {
        index_overflow_give(index, self, local);
    }
    FAULT_POINT(self, "index.repair.hand");
    if (is_counted) {
        index_remove_moved(index, from, local->split_to);
    } else {
        index_clear_unreachable(index, self, to, local);
    }
    remove_twins(index, from);
    FAULT_POINT(self, "index.repair.pair");
    if (holds_both) {
        lock_free_dead(&to->word);
    }
    FAULT_POINT(self, "index.repair.half_freed");
    lock_free_dead(&from->word);
}

struct bucket *index_repair(struct index *index, struct proc *self, uint32_t dead_slot_index) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, dead_slot_index);
    index_overflow_repair(index, dead_slot_index);
    index_release_repair(index, dead_slot_index);
    redo_chaining(index, local);
    if (local->split_from) {
        if (lock_is_held_by(&index->buckets[local->split_from - 1].word, dead_slot_index)) {
            repair_pair(index, self, local, dead_slot_index);
        }
        SHARED_DECIDE(local->split_from, 0);
    }
    if (local->overflow_taken) {
        index_overflow_give(index, self, local);
    }
    FAULT_POINT(self, "index.repair.done");
    if (lock_is_held_by(&root->grow_lock, dead_slot_index)) {
        lock_free_dead(&root->grow_lock);
    }
    if (!local->held || !lock_is_held_by(&index->buckets[local->held - 1].word, dead_slot_index)) {
        return NULL;
    }
    struct bucket *home = &index->buckets[local->held - 1];
    remove_twins(index, home);
    return home;
}

void index_repair_done(struct bucket *home) {
    lock_free_dead(&home->word);
}

void index_check(const struct index *index, index_visit visit, void *context) {
    const struct index_root *root = index->root;
    uint32_t overflow_seen = 0;
    PYMC_CHECK(root->bucket_count <= root->buckets_touched
               && root->bucket_count >= root->bucket_min);
    for (uint32_t home = 0; home < root->bucket_count; home++) {
        const struct bucket *bucket = &index->buckets[home];
        PYMC_CHECK(!lock_is_held(bucket->word));
        uint32_t depth = 0;
        while (bucket) {
            PYMC_CHECK(depth++ < INDEX_CHAIN_MAX);
            for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
                if (bucket->tags[slot]) {
                    uint64_t hash = index->hash_of(index->hash_context, bucket->refs[slot]);
                    PYMC_CHECK(index_home_of(hash, root->bucket_count) == home);
                    PYMC_CHECK(index_tag(hash) == bucket->tags[slot]);
                    visit(context, bucket->refs[slot], home);
                }
            }
            overflow_seen += bucket->chained;
            bucket = index_next(index, bucket);
        }
    }
    PYMC_CHECK(overflow_seen == root->overflow_used);
    PYMC_CHECK(overflow_seen == bits_count(index->overflow_bits, root->overflow_max));
    PYMC_CHECK(bits_end(index->overflow_bits, root->overflow_max) <= root->overflow_begun);
}
