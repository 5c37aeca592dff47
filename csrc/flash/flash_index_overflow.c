// Overflow buckets of the fingerprint index: taken lowest first, so that the last come free.
#include "base/bits_inline.h"
#include "flash/flash_index_internal.h"

#define RELEASE_BUCKETS (64 * FLASH_OVERFLOWS_PER_PAGE)

uint32_t flash_overflow_take(struct flash *flash, struct proc *proc) {
    struct flash_index_root *root = flash->index;
    struct flash_local *local = flash_local(flash, proc->slot_index);
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t number =
        bits_lowest_missing(flash_overflow_bits(flash), root->overflow_max, &root->overflow_low);
    if (number == root->overflow_max) {
        lock_give(proc, &root->overflow_lock, false);
        return 0;
    }
    SHARED_RELEASE(local->overflow_taken, number + 1);
    FAULT_POINT(proc, "flash.index.overflow.named");
    if (number >= root->overflow_begun) {
        SHARED_RELEASE(root->overflow_begun, number + 1);
        if (number >= root->overflow_touched) {
            SHARED_STORE(root->overflow_touched, number + 1);
        }
        FAULT_POINT(proc, "flash.index.overflow.begun");
    }
    bits_add(flash_overflow_bits(flash), number);
    FAULT_POINT(proc, "flash.index.overflow.taken");
    lock_give(proc, &root->overflow_lock, true);
    uint64_t *words = flash_overflow_at(flash, number)->words;
    for (uint32_t i = 0; i < FLASH_OVERFLOW_WORDS; i++) {
        SHARED_STORE(words[i], 0);
    }
    return number + 1;
}

void flash_overflow_give(struct flash *flash, struct proc *proc, struct flash_local *local) {
    struct flash_index_root *root = flash->index;
    uint64_t *bits = flash_overflow_bits(flash);
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    // A repairer may find it given back, and forgotten, since it looked.
    uint32_t taken = (uint32_t)local->overflow_taken;
    if (taken && bits_has(bits, taken - 1)) {
        bits_remove(bits, taken - 1);
        FAULT_POINT(proc, "flash.index.overflow.given");
        SHARED_STORE(root->overflow_low,
                     (taken - 1) / 64 < root->overflow_low ? (taken - 1) / 64 : root->overflow_low);
        if (taken == root->overflow_begun) {
            SHARED_RELEASE(root->overflow_begun, bits_end(bits, taken));
        }
    }
    SHARED_RELEASE(local->overflow_taken, 0);
    lock_give(proc, &root->overflow_lock, true);
}

void flash_overflow_repair(struct flash *flash, uint32_t dead_slot_index) {
    struct flash_index_root *root = flash->index;
    const uint64_t *bits = flash_overflow_bits(flash);
    if (!lock_is_held_by(&root->overflow_lock, dead_slot_index)) {
        return;
    }
    // Under the lock a bucket in hand that is marked free was given back or not taken yet: the dead
    // owner of the lock may have been a repairer, so whose hand it is does not matter. No living
    // process stands between the two stores.
    for (uint32_t i = 0; i < flash->arena->header->slots; i++) {
        struct flash_local *local = flash_local(flash, i);
        uint64_t taken = SHARED_LOAD(local->overflow_taken);
        if (taken && !bits_has(bits, (uint32_t)taken - 1)) {
            SHARED_RELEASE(local->overflow_taken, 0);
        }
    }
    SHARED_STORE(root->overflow_low, 0);
    SHARED_RELEASE(root->overflow_begun, bits_end(bits, root->overflow_begun));
    lock_free_dead(&root->overflow_lock);
}

bool flash_overflow_release(struct flash *flash, struct proc *proc) {
    struct flash_index_root *root = flash->index;
    if (flash_overflows_end(SHARED_LOAD(root->overflow_begun))
        >= SHARED_LOAD(root->overflow_touched)) {
        return false;
    }
    // Nobody takes one meanwhile; who still reads one that was in a chain finds it empty, and the
    // chain changed.
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t first = flash_overflows_end(root->overflow_begun);
    uint32_t last = flash_overflows_end(root->overflow_touched);
    first = last > first + RELEASE_BUCKETS ? last - RELEASE_BUCKETS : first;
    if (first < last) {
        uint64_t bytes = (uint64_t)(last - first) * sizeof(struct flash_overflow);
        arena_give_back(flash_overflow_at(flash, first), bytes);
        FAULT_POINT(proc, "flash.index.release.overflow");
        SHARED_RELEASE(root->overflow_touched, first);
    }
    lock_give(proc, &root->overflow_lock, true);
    return true;
}
