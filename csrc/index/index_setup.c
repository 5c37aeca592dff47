// Making, repairing and checking the index.
#include <string.h>

#include "index/index_internal.h"

uint64_t index_reserve_bytes(uint32_t bucket_max, uint32_t slots) {
    return (uint64_t)bucket_max * sizeof(struct bucket) + (uint64_t)(bucket_max / 2 + 64) * sizeof(struct bucket)
           + sizeof(struct index_root) + (uint64_t)slots * sizeof(struct index_local)
           + ARENA_HUGE_PAGE_BYTES + 4096;
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
    root->bucket_max = bucket_max;
    root->overflow_max = bucket_max / 2 + 64;
    root->buckets_offset = arena_reserve(arena, (uint64_t)bucket_max * sizeof(struct bucket), ARENA_HUGE_PAGE_BYTES,
                                         "index_buckets");
    root->overflow_offset = arena_reserve(arena, (uint64_t)root->overflow_max * sizeof(struct bucket), 64,
                                          "index_overflow");
    root->local_offset = arena_reserve(arena, (uint64_t)arena->header->slots * sizeof(struct index_local), 64,
                                       "index_local");
    if (!root->buckets_offset || !root->overflow_offset || !root->local_offset) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_INDEX] = root_offset;
    return PYMC_OK;
}

void index_attach(struct arena *arena, struct index *index, index_hash_of hash_of, void *hash_context) {
    index->arena_base = arena->base;
    index->root = (struct index_root *)(arena->base + arena->header->roots[ARENA_ROOT_INDEX]);
    index->buckets = (struct bucket *)(arena->base + index->root->buckets_offset);
    index->overflow = (struct bucket *)(arena->base + index->root->overflow_offset);
    index->locals = arena->base + index->root->local_offset;
    index->hash_of = hash_of;
    index->hash_context = hash_context;
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
        index_chain_commit((struct bucket *)(index->arena_base + local->chain_bucket), local->overflow_taken);
        SHARED_RELEASE(local->overflow_taken, 0);
    }
    SHARED_RELEASE(local->chain_bucket, 0);
    if (local->unhang_bucket) {
        struct bucket *bucket = (struct bucket *)(index->arena_base + local->unhang_bucket);
        if (bucket->chained && bucket->refs[INDEX_CHAIN_SLOT] == local->overflow_taken) {
            SHARED_RELEASE(bucket->chained, 0);
            SHARED_RELEASE(bucket->refs[INDEX_CHAIN_SLOT], 0);
        }
        SHARED_RELEASE(local->unhang_bucket, 0);
    }
}

static void overflow_recount(struct index *index) {
    struct index_root *root = index->root;
    uint32_t listed = 0;
    for (uint32_t next = root->overflow_free; next; next = index->overflow[next - 1].refs[0]) {
        listed++;
    }
    root->overflow_used = root->overflow_begun - listed;
}

// Frees the overflow bucket a dead process had in hand. Nobody else can hold the lock of a dead process's list
// operation, and a live holder is waited for as usual.
static void overflow_return(struct index *index, struct proc *self, struct index_local *local) {
    struct index_root *root = index->root;
    uint32_t taken = local->overflow_taken;
    if (!taken) {
        return;
    }
    lock_take(self, &root->overflow_lock, LOCK_LEAF);
    bool listed = false;
    for (uint32_t next = root->overflow_free; next && !listed; next = index->overflow[next - 1].refs[0]) {
        listed = next == taken;
    }
    // Forgotten first: a repairer that dies here leaks the bucket; its successor might list one that is in use again.
    SHARED_RELEASE(local->overflow_taken, 0);
    if (!listed && taken <= root->overflow_begun) {
        memset(&index->overflow[taken - 1], 0, sizeof(struct bucket));
        index->overflow[taken - 1].refs[0] = root->overflow_free;
        SHARED_RELEASE(root->overflow_free, taken);
    }
    overflow_recount(index);
    lock_give(self, &root->overflow_lock, true);
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

// Whatever the chain of an unpublished bucket took goes back to the list; the bucket is empty again.
static void drop_unpublished(struct index *index, struct proc *self, struct bucket *bucket) {
    struct index_root *root = index->root;
    lock_take(self, &root->overflow_lock, LOCK_LEAF);
    uint32_t number = bucket->chained ? bucket->refs[INDEX_CHAIN_SLOT] : 0;
    while (number) {
        struct bucket *overflow = &index->overflow[number - 1];
        uint32_t next = overflow->chained ? overflow->refs[INDEX_CHAIN_SLOT] : 0;
        bucket->refs[INDEX_CHAIN_SLOT] = next;
        SHARED_RELEASE(bucket->chained, next != 0);
        memset(overflow, 0, sizeof *overflow);
        overflow->refs[0] = root->overflow_free;
        SHARED_RELEASE(root->overflow_free, number);
        number = next;
    }
    memset(bucket->tags, 0, sizeof *bucket - offsetof(struct bucket, tags));
    overflow_recount(index);
    lock_give(self, &root->overflow_lock, true);
}

static void finish_split(struct index *index, struct bucket *from, uint32_t to) {
    uint32_t depth = 0;
    for (struct bucket *bucket = from; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (bucket->tags[slot]
                && index_home_of(index->hash_of(index->hash_context, bucket->refs[slot]), to + 1) == to) {
                SHARED_RELEASE(bucket->tags[slot], 0);
                SHARED_RELEASE(bucket->refs[slot], 0);
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
}

struct bucket *index_repair(struct index *index, struct proc *self, uint32_t dead_slot_index) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, dead_slot_index);
    if (lock_is_held_by(&root->overflow_lock, dead_slot_index)) {
        overflow_recount(index);
        lock_free_dead(&root->overflow_lock);
    }
    redo_chaining(index, local);
    if (local->split_from) {
        struct bucket *from = &index->buckets[local->split_from - 1];
        if (lock_is_held_by(&from->word, dead_slot_index)) {
            if (root->bucket_count == local->split_to) {
                drop_unpublished(index, self, &index->buckets[local->split_to]);
            } else {
                finish_split(index, from, local->split_to);
            }
            remove_twins(index, from);
            struct bucket *into = &index->buckets[local->split_to];
            if (lock_is_held_by(&into->word, dead_slot_index)) {
                lock_free_dead(&into->word);
            }
            lock_free_dead(&from->word);
        }
        SHARED_RELEASE(local->split_from, 0);
    }
    // After the split: an unpublished bucket's chain may still name the one in hand.
    overflow_return(index, self, local);
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
    uint32_t listed = 0;
    for (uint32_t next = root->overflow_free; next; next = index->overflow[next - 1].refs[0]) {
        PYMC_CHECK(++listed <= root->overflow_begun);
    }
    PYMC_CHECK(overflow_seen == root->overflow_used);
    PYMC_CHECK(listed + overflow_seen == root->overflow_begun);
}
