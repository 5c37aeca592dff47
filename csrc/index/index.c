// Changing chains of the index and splitting buckets.
#include "index/index.h"

#include <string.h>

#include "index/index_internal.h"

#define SPLITS_PER_CALL 16

struct bucket *index_lock(struct index *index, struct proc *proc, uint64_t hash) {
    struct index_local *local = index_local(index, proc->slot_index);
    for (;;) {
        uint32_t home = index_home(index, hash);
        // Named before it is taken, so that a repairer knows where to look.
        SHARED_RELEASE(local->held, home + 1);
        struct bucket *bucket = &index->buckets[home];
        lock_take(proc, &bucket->word, LOCK_BUCKET);
        if (LIKELY(index_home(index, hash) == home)) {
            return bucket;
        }
        lock_give(proc, &bucket->word, false);
    }
}

// Takes an overflow bucket into local->overflow_taken; returns its number + 1, 0 when there is none.
static uint32_t overflow_take(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, proc->slot_index);
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t taken = root->overflow_free;
    if (taken) {
        SHARED_RELEASE(local->overflow_taken, taken);
        FAULT_POINT(proc, "index.overflow.named");
        SHARED_RELEASE(root->overflow_free, index->overflow[taken - 1].refs[0]);
    } else if (root->overflow_begun < root->overflow_max) {
        taken = root->overflow_begun + 1;
        SHARED_RELEASE(local->overflow_taken, taken);
        SHARED_RELEASE(root->overflow_begun, taken);
    }
    FAULT_POINT(proc, "index.overflow.taken");
    if (taken) {
        root->overflow_used++;
        memset(&index->overflow[taken - 1], 0, sizeof(struct bucket));
    }
    lock_give(proc, &root->overflow_lock, true);
    return taken;
}

// Puts the bucket in local->overflow_taken on the free list.
static void overflow_give(struct index *index, struct proc *proc, struct index_local *local) {
    struct index_root *root = index->root;
    uint32_t taken = local->overflow_taken;
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    if (root->overflow_free != taken) {
        memset(&index->overflow[taken - 1], 0, sizeof(struct bucket));
        index->overflow[taken - 1].refs[0] = root->overflow_free;
        SHARED_RELEASE(root->overflow_free, taken);
        FAULT_POINT(proc, "index.overflow.given");
        root->overflow_used--;
    }
    SHARED_RELEASE(local->overflow_taken, 0);
    lock_give(proc, &root->overflow_lock, true);
}

void index_chain_commit(struct bucket *bucket, uint32_t overflow) {
    SHARED_RELEASE(bucket->tags[INDEX_CHAIN_SLOT], 0);
    SHARED_RELEASE(bucket->refs[INDEX_CHAIN_SLOT], overflow);
    SHARED_RELEASE(bucket->chained, 1);
}

static uint32_t free_slots(const struct bucket *bucket) {
    uint32_t bits = index_match(bucket, 0);
    return bucket->chained ? bits & ~(1u << INDEX_CHAIN_SLOT) : bits;
}

static void put(struct bucket *bucket, uint32_t slot, uint8_t tag, uint32_t ref) {
    SHARED_RELEASE(bucket->refs[slot], ref);
    SHARED_RELEASE(bucket->tags[slot], tag);
}

int index_insert_locked(struct index *index, struct proc *proc, struct bucket *home, uint8_t tag, uint32_t ref) {
    struct bucket *bucket = home;
    for (uint32_t depth = 1;; depth++) {
        uint32_t bits = free_slots(bucket);
        if (bits) {
            put(bucket, (uint32_t)__builtin_ctz(bits), tag, ref);
            return PYMC_OK;
        }
        // Readers look no further than this.
        if (depth == INDEX_CHAIN_MAX) {
            return PYMC_NO_MEMORY;
        }
        if (!bucket->chained) {
            break;
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
    uint32_t taken = overflow_take(index, proc);
    if (!taken) {
        return PYMC_NO_MEMORY;
    }
    struct index_local *local = index_local(index, proc->slot_index);
    struct bucket *overflow = &index->overflow[taken - 1];
    put(overflow, 0, bucket->tags[INDEX_CHAIN_SLOT], bucket->refs[INDEX_CHAIN_SLOT]);
    put(overflow, 1, tag, ref);
    SHARED_RELEASE(local->chain_bucket, (uint64_t)((char *)bucket - index->arena_base));
    FAULT_POINT(proc, "index.chain.before");
    index_chain_commit(bucket, taken);
    FAULT_POINT(proc, "index.chain.after");
    SHARED_RELEASE(local->overflow_taken, 0);
    SHARED_RELEASE(local->chain_bucket, 0);
    return PYMC_OK;
}

static void clear_slot(struct bucket *bucket, uint32_t slot) {
    SHARED_RELEASE(bucket->tags[slot], 0);
    SHARED_RELEASE(bucket->refs[slot], 0);
}

// Unhangs and frees the last overflow bucket of the chain while it is empty.
static void trim_chain(struct index *index, struct proc *proc, struct bucket *home) {
    struct index_local *local = index_local(index, proc->slot_index);
    for (uint32_t depth = 0; depth < INDEX_CHAIN_MAX && home->chained; depth++) {
        struct bucket *before = home;
        struct bucket *last = (struct bucket *)index_next(index, before);
        while (last->chained) {
            before = last;
            last = (struct bucket *)index_next(index, before);
        }
        if (index_match(last, 0) != INDEX_ALL_SLOTS) {
            return;
        }
        SHARED_RELEASE(local->unhang_bucket, (uint64_t)((char *)before - index->arena_base));
        SHARED_RELEASE(local->overflow_taken, before->refs[INDEX_CHAIN_SLOT]);
        FAULT_POINT(proc, "index.trim.named");
        SHARED_RELEASE(before->chained, 0);
        SHARED_RELEASE(before->refs[INDEX_CHAIN_SLOT], 0);
        FAULT_POINT(proc, "index.trim.unhung");
        SHARED_RELEASE(local->unhang_bucket, 0);
        overflow_give(index, proc, local);
    }
}

void index_remove_locked(struct index *index, struct proc *proc, struct bucket *home, struct index_place place) {
    clear_slot(place.bucket, place.slot);
    if (UNLIKELY(home->chained)) {
        trim_chain(index, proc, home);
    }
}

bool index_find_ref_locked(const struct index *index, struct bucket *home, uint32_t ref, struct index_place *out) {
    uint32_t depth = 0;
    for (struct bucket *bucket = home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (bucket->tags[slot] && bucket->refs[slot] == ref) {
                out->bucket = bucket;
                out->slot = slot;
                return true;
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
    return false;
}

// Copies the entries that belong into the new bucket; false when overflow buckets run out.
static bool copy_to_new(struct index *index, struct proc *proc, struct bucket *from, uint32_t to) {
    struct bucket *bucket = from;
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (!bucket->tags[slot]) {
                continue;
            }
            uint64_t hash = index->hash_of(index->hash_context, bucket->refs[slot]);
            if (index_home_of(hash, to + 1) == to
                && index_insert_locked(index, proc, &index->buckets[to], bucket->tags[slot], bucket->refs[slot])) {
                return false;
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
    return true;
}

// Removes what now lives in bucket `to`, and moves entries from the end of the chain into the holes.
static void remove_moved(struct index *index, struct proc *proc, struct bucket *from, uint32_t to) {
    struct bucket *bucket = from;
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (bucket->tags[slot]
                && index_home_of(index->hash_of(index->hash_context, bucket->refs[slot]), to + 1) == to) {
                clear_slot(bucket, slot);
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
    for (bucket = (struct bucket *)index_next(index, from); bucket;
         bucket = (struct bucket *)index_next(index, bucket)) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            uint32_t holes = free_slots(from);
            if (bucket->tags[slot] && holes) {
                // In both places for an instant; a repairer removes the second.
                put(from, (uint32_t)__builtin_ctz(holes), bucket->tags[slot], bucket->refs[slot]);
                FAULT_POINT(proc, "index.split.pulled");
                clear_slot(bucket, slot);
            }
        }
    }
    trim_chain(index, proc, from);
}

// Frees the chain of a bucket nobody can reach and empties it.
static void clear_new(struct index *index, struct proc *proc, struct bucket *bucket) {
    struct bucket *after = (struct bucket *)index_next(index, bucket);
    struct index_local *local = index_local(index, proc->slot_index);
    while (after) {
        uint32_t number = bucket->refs[INDEX_CHAIN_SLOT];
        uint32_t chained = after->chained;
        uint32_t next = after->refs[INDEX_CHAIN_SLOT];
        SHARED_RELEASE(local->overflow_taken, number);
        bucket->refs[INDEX_CHAIN_SLOT] = next;
        SHARED_RELEASE(bucket->chained, (uint8_t)chained);
        overflow_give(index, proc, local);
        after = chained ? &index->overflow[next - 1] : NULL;
    }
    memset(bucket->tags, 0, sizeof(struct bucket) - offsetof(struct bucket, tags));
}

// Splits the next bucket. Holds LOCK_GROW.
static bool split_one(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, proc->slot_index);
    uint32_t to = root->bucket_count;
    if (to >= root->bucket_max) {
        return false;
    }
    uint32_t from = to - (1u << (31 - __builtin_clz(to)));
    struct bucket *bucket = &index->buckets[from];
    SHARED_RELEASE(local->split_to, to);
    SHARED_RELEASE(local->split_from, from + 1);
    lock_take(proc, &bucket->word, LOCK_BUCKET);
    // Until the moved entries have left the old chain nobody may remove one of them from the new bucket: its chunk
    // could be another item's by the time we ask for its hash.
    lock_take(proc, &index->buckets[to].word, LOCK_SPLIT);
    bool copied = copy_to_new(index, proc, bucket, to);
    FAULT_POINT(proc, "index.split.copied");
    if (copied) {
        SHARED_RELEASE(root->bucket_count, to + 1);
        FAULT_POINT(proc, "index.split.published");
        remove_moved(index, proc, bucket, to);
    } else {
        clear_new(index, proc, &index->buckets[to]);
    }
    lock_give(proc, &index->buckets[to].word, true);
    FAULT_POINT(proc, "index.split.half_unlocked");
    lock_give(proc, &bucket->word, true);
    SHARED_RELEASE(local->split_from, 0);
    return copied;
}

void index_grow_if_needed(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, proc->slot_index);
    int64_t entries = __atomic_add_fetch(&root->entries, local->entries_pending, __ATOMIC_RELAXED);
    local->entries_pending = 0;
    int64_t room = (int64_t)SHARED_LOAD(root->bucket_count) * INDEX_ENTRIES_PER_BUCKET;
    if (LIKELY(entries <= room) || !lock_try(proc, &root->grow_lock, LOCK_GROW)) {
        return;
    }
    for (int i = 0; i < SPLITS_PER_CALL && entries > (int64_t)root->bucket_count * INDEX_ENTRIES_PER_BUCKET; i++) {
        if (!split_one(index, proc)) {
            break;
        }
    }
    lock_give(proc, &root->grow_lock, true);
}

uint64_t index_bytes(const struct index *index) {
    return ((uint64_t)SHARED_LOAD(index->root->bucket_count) + SHARED_LOAD(index->root->overflow_begun))
           * sizeof(struct bucket);
}
