// Changing chains of the index.
#include "index/index.h"

#include "index/index_internal.h"

// A key's home moves when its bucket is split or merged: no key sees more of that at a time.
#define HOMES_MAX 64

struct bucket *index_lock(struct index *index, struct proc *proc, uint64_t hash) {
    struct index_local *local = index_local(index, proc->slot_index);
    for (uint32_t looks = 0; looks < HOMES_MAX; looks++) {
        uint32_t home = index_home(index, hash);
        // Named before it is taken, so that a repairer knows where to look.
        SHARED_DECIDE(local->table.held, home + 1);
        struct bucket *bucket = &index->buckets[home];
        if (UNLIKELY(!lock_take_bounded(proc, &bucket->word, LOCK_BUCKET, lock_rounds_max(proc)))) {
            return NULL;
        }
        if (LIKELY(index_home(index, hash) == home)) {
            return bucket;
        }
        lock_give(proc, &bucket->word, false);
    }
    return NULL;
}

struct bucket *index_lock_briefly(struct index *index, struct proc *proc, uint64_t hash) {
    bool avoided_waiting = proc->avoids_waiting;
    proc->avoids_waiting = true;
    struct bucket *bucket = index_lock(index, proc, hash);
    proc->avoids_waiting = avoided_waiting;
    return bucket;
}

void index_chain_commit(struct bucket *bucket, uint32_t overflow) {
    SHARED_RELEASE(bucket->tags[INDEX_CHAIN_SLOT], 0);
    SHARED_RELEASE(bucket->refs[INDEX_CHAIN_SLOT], overflow);
    SHARED_DECIDE(bucket->chained, 1);
}

uint32_t index_free_slots(const struct bucket *bucket) {
    uint32_t bits = index_match(bucket, 0);
    return bucket->chained ? bits & ~(1u << INDEX_CHAIN_SLOT) : bits;
}

void index_put(struct bucket *bucket, uint32_t slot, uint8_t tag, uint32_t ref) {
    SHARED_RELEASE(bucket->refs[slot], ref);
    SHARED_DECIDE(bucket->tags[slot], tag);
}

int index_insert_locked(struct index *index, struct proc *proc, struct bucket *home, uint8_t tag,
                        uint32_t ref) {
    struct bucket *bucket = home;
    for (uint32_t depth = 1;; depth++) {
        uint32_t bits = index_free_slots(bucket);
        if (bits) {
            index_put(bucket, (uint32_t)__builtin_ctz(bits), tag, ref);
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
    uint32_t taken = table_overflow_take(&index->table, proc);
    if (!taken) {
        return PYMC_NO_MEMORY;
    }
    struct index_local *local = index_local(index, proc->slot_index);
    struct bucket *overflow = &index->overflow[taken - 1];
    index_put(overflow, 0, bucket->tags[INDEX_CHAIN_SLOT], bucket->refs[INDEX_CHAIN_SLOT]);
    index_put(overflow, 1, tag, ref);
    SHARED_DECIDE(local->chain_bucket, (uint64_t)((char *)bucket - index->arena_base));
    FAULT_POINT(proc, "index.chain.before");
    index_chain_commit(bucket, taken);
    FAULT_POINT(proc, "index.chain.after");
    SHARED_DECIDE(local->table.overflow_taken, 0);
    SHARED_DECIDE(local->chain_bucket, 0);
    return PYMC_OK;
}

void index_clear_slot(struct bucket *bucket, uint32_t slot) {
    SHARED_RELEASE(bucket->tags[slot], 0);
    SHARED_RELEASE(bucket->refs[slot], 0);
}

void index_trim_chain(struct index *index, struct proc *proc, struct bucket *home) {
    struct table_local *local = &index_local(index, proc->slot_index)->table;
    for (uint32_t depth = 0; depth < INDEX_CHAIN_MAX && home->chained; depth++) {
        struct bucket *before = home;
        struct bucket *last = (struct bucket *)index_next(index, before);
        for (uint32_t behind = 0; behind < INDEX_CHAIN_MAX && last->chained; behind++) {
            before = last;
            last = (struct bucket *)index_next(index, before);
        }
        if (index_match(last, 0) != INDEX_ALL_SLOTS) {
            return;
        }
        SHARED_DECIDE(local->overflow_taken, before->refs[INDEX_CHAIN_SLOT]);
        FAULT_POINT(proc, "index.trim.named");
        SHARED_RELEASE(before->chained, 0);
        SHARED_RELEASE(before->refs[INDEX_CHAIN_SLOT], 0);
        FAULT_POINT(proc, "index.trim.detached");
        table_overflow_give(&index->table, proc, local);
    }
}

void index_remove_locked(struct index *index, struct proc *proc, struct bucket *home,
                         struct index_place place) {
    index_clear_slot(place.bucket, place.slot);
    if (UNLIKELY(home->chained)) {
        index_trim_chain(index, proc, home);
    }
}

uint32_t index_chain_refs(const struct index *index, struct bucket *home, uint32_t *refs) {
    uint32_t found = 0;
    uint32_t depth = 0;
    for (struct bucket *bucket = home; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        uint32_t bits = INDEX_ALL_SLOTS & ~index_free_slots(bucket);
        bits &= bucket->chained ? ~(1u << INDEX_CHAIN_SLOT) : ~0u;
        for (; bits; bits &= bits - 1) {
            refs[found++] = bucket->refs[__builtin_ctz(bits)];
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
    return found;
}

bool index_find_ref_locked(const struct index *index, struct bucket *home, uint32_t ref,
                           struct index_place *out) {
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

void index_move_version(struct index *index, struct proc *proc, uint64_t hash) {
    struct bucket *home = index_lock(index, proc, hash);
    if (home) {
        index_unlock(proc, home, true);
    }
}
