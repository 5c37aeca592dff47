// Overflow buckets: taken lowest first, so that the last come free and their memory goes back.
#include "base/bits_inline.h"
#include "index/index_internal.h"

#define RELEASE_BUCKETS (64 * INDEX_BUCKETS_PER_PAGE)

void index_bucket_clear(struct bucket *bucket) {
    for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
        SHARED_STORE(bucket->tags[slot], 0);
        SHARED_STORE(bucket->refs[slot], 0);
    }
    SHARED_STORE(bucket->chained, 0);
}

uint32_t index_overflow_take(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, proc->slot_index);
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t number =
        bits_lowest_missing(index->overflow_bits, root->overflow_max, &root->overflow_low);
    if (number == root->overflow_max) {
        lock_give(proc, &root->overflow_lock, false);
        return 0;
    }
    SHARED_DECIDE(local->overflow_taken, number + 1);
    FAULT_POINT(proc, "index.overflow.named");
    if (number >= root->overflow_begun) {
        SHARED_RELEASE(root->overflow_begun, number + 1);
        if (number >= root->overflow_touched) {
            SHARED_STORE(root->overflow_touched, number + 1);
        }
    }
    bits_add(index->overflow_bits, number);
    FAULT_POINT(proc, "index.overflow.taken");
    SHARED_STORE(root->overflow_used, root->overflow_used + 1);
    index_bucket_clear(&index->overflow[number]);
    lock_give(proc, &root->overflow_lock, true);
    return number + 1;
}

void index_overflow_give(struct index *index, struct proc *proc, struct index_local *local) {
    struct index_root *root = index->root;
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    // A repairer may find it given back, and forgotten, since it looked.
    uint32_t taken = local->overflow_taken;
    if (taken && bits_has(index->overflow_bits, taken - 1)) {
        bits_remove(index->overflow_bits, taken - 1);
        FAULT_POINT(proc, "index.overflow.given");
        SHARED_STORE(root->overflow_used, root->overflow_used - 1);
        SHARED_STORE(root->overflow_low,
                     (taken - 1) / 64 < root->overflow_low ? (taken - 1) / 64 : root->overflow_low);
        if (taken == root->overflow_begun) {
            SHARED_RELEASE(root->overflow_begun, bits_end(index->overflow_bits, taken));
        }
    }
    SHARED_DECIDE(local->overflow_taken, 0);
    lock_give(proc, &root->overflow_lock, true);
}

void index_overflow_repair(struct index *index, uint32_t dead_slot_index) {
    struct index_root *root = index->root;
    if (!lock_is_held_by(&root->overflow_lock, dead_slot_index)) {
        return;
    }
    // Under the lock a bucket in hand that is marked free was given back or not taken yet: the dead
    // owner of the lock may have been a repairer, so whose hand it is does not matter. No living
    // process stands between the two stores.
    for (uint32_t slot = 0; slot < root->slots; slot++) {
        struct index_local *local = index_local(index, slot);
        uint32_t taken = SHARED_LOAD(local->overflow_taken);
        if (taken && !bits_has(index->overflow_bits, taken - 1)) {
            SHARED_DECIDE(local->overflow_taken, 0);
        }
    }
    SHARED_STORE(root->overflow_low, 0);
    SHARED_RELEASE(root->overflow_begun, bits_end(index->overflow_bits, root->overflow_begun));
    SHARED_STORE(root->overflow_used, bits_count(index->overflow_bits, root->overflow_begun));
    lock_free_dead(&root->overflow_lock);
}

bool index_overflow_release(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    uint32_t last = SHARED_LOAD(root->overflow_touched);
    if (index_page_end(SHARED_LOAD(root->overflow_begun)) >= last) {
        return false;
    }
    // Nobody takes one meanwhile; who still reads one that was in a chain finds it empty, and the
    // chain changed.
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t first = index_page_end(root->overflow_begun);
    last = index_page_end(root->overflow_touched);
    first = last > first + RELEASE_BUCKETS ? last - RELEASE_BUCKETS : first;
    if (first < last) {
        arena_give_back(&index->overflow[first], (uint64_t)(last - first) * sizeof(struct bucket));
        FAULT_POINT(proc, "index.release.overflow");
        SHARED_RELEASE(root->overflow_touched, first);
    }
    lock_give(proc, &root->overflow_lock, true);
    return true;
}
