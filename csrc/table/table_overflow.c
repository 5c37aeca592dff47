// Overflow buckets: taken lowest first, so that the last come free and their memory goes back.
#include "base/bits_inline.h"
#include "table/table_internal.h"

uint32_t table_overflow_take(struct table *table, struct proc *proc) {
    struct table_root *root = table->root;
    struct table_local *local = table_local(table, proc->slot_index);
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t number =
        bits_lowest_missing(table->overflow_bits, root->overflow_max, &root->overflow_low);
    if (number == root->overflow_max) {
        lock_give(proc, &root->overflow_lock, false);
        return 0;
    }
    SHARED_DECIDE(local->overflow_taken, number + 1);
    FAULT_POINT(proc, "table.overflow.named");
    if (number >= root->overflow_begun) {
        SHARED_RELEASE(root->overflow_begun, number + 1);
        if (number >= root->overflow_touched) {
            SHARED_STORE(root->overflow_touched, number + 1);
        }
        FAULT_POINT(proc, "table.overflow.begun");
    }
    bits_add(table->overflow_bits, number);
    FAULT_POINT(proc, "table.overflow.taken");
    SHARED_STORE(root->overflow_used, root->overflow_used + 1);
    table->format->clear(table_overflow(table, number), false);
    lock_give(proc, &root->overflow_lock, true);
    return number + 1;
}

void table_overflow_give(struct table *table, struct proc *proc, struct table_local *hand) {
    struct table_root *root = table->root;
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    // A repairer may find it given back, and forgotten, since it looked.
    uint32_t taken = hand->overflow_taken;
    if (taken && bits_has(table->overflow_bits, taken - 1)) {
        bits_remove(table->overflow_bits, taken - 1);
        FAULT_POINT(proc, "table.overflow.given");
        SHARED_STORE(root->overflow_used, root->overflow_used - 1);
        SHARED_STORE(root->overflow_low,
                     (taken - 1) / 64 < root->overflow_low ? (taken - 1) / 64 : root->overflow_low);
        if (taken == root->overflow_begun) {
            SHARED_RELEASE(root->overflow_begun, bits_end(table->overflow_bits, taken));
        }
    }
    SHARED_DECIDE(hand->overflow_taken, 0);
    lock_give(proc, &root->overflow_lock, true);
}

void table_overflow_repair(struct table *table, uint32_t dead_slot_index) {
    struct table_root *root = table->root;
    if (!lock_is_held_by(&root->overflow_lock, dead_slot_index)) {
        return;
    }
    // Under the lock a bucket in hand that is marked free was given back or not taken yet: the dead
    // owner of the lock may have been a repairer, so whose hand it is does not matter. No living
    // process stands between the two stores.
    for (uint32_t slot = 0; slot < root->slots; slot++) {
        struct table_local *local = table_local(table, slot);
        uint32_t taken = SHARED_LOAD(local->overflow_taken);
        if (taken && !bits_has(table->overflow_bits, taken - 1)) {
            SHARED_DECIDE(local->overflow_taken, 0);
        }
    }
    SHARED_STORE(root->overflow_low, 0);
    SHARED_RELEASE(root->overflow_begun, bits_end(table->overflow_bits, root->overflow_begun));
    SHARED_STORE(root->overflow_used, bits_count(table->overflow_bits, root->overflow_begun));
    lock_free_dead(&root->overflow_lock);
}

static uint32_t whole_pages(const struct table *table, uint32_t count) {
    return table_page_end(count, table->format->overflow_bytes);
}

bool table_overflow_release(struct table *table, struct proc *proc) {
    struct table_root *root = table->root;
    uint32_t bytes = table->format->overflow_bytes;
    uint32_t most = TABLE_RELEASE_PAGES * (ARENA_SYSTEM_PAGE_BYTES / bytes);
    if (whole_pages(table, SHARED_LOAD(root->overflow_begun))
        >= SHARED_LOAD(root->overflow_touched)) {
        return false;
    }
    // Nobody takes one meanwhile; who still reads one that was in a chain finds it empty, and the
    // chain changed.
    lock_take(proc, &root->overflow_lock, LOCK_LEAF);
    uint32_t first = whole_pages(table, root->overflow_begun);
    uint32_t last = whole_pages(table, root->overflow_touched);
    first = last > first + most ? last - most : first;
    if (first < last) {
        arena_give_back(table_overflow(table, first), (uint64_t)(last - first) * bytes);
        FAULT_POINT(proc, "table.release.overflow");
        SHARED_RELEASE(root->overflow_touched, first);
    }
    lock_give(proc, &root->overflow_lock, true);
    return true;
}
