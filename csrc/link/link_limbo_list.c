// The list of limbo: unlinked items that somebody still reads. Every change is under its lock.
#include "link/link_limbo_internal.h"

// Entries looked at in one hold of limbo's lock, each with a look at the pins of all processes.
#define LOOKS_PER_HOLD 8

void link_limbo_take_out(struct store *store, uint32_t ref) {
    struct store_root *root = store->root;
    struct item *item = link_item(store, ref);
    uint32_t next = item->time_seconds;
    uint32_t previous = item->order_low;
    link_txn_arm(store, TXN_FREE, (struct link_txn_names){.old_ref = ref});
    FAULT_POINT(store->proc, "store.limbo.named");
    SHARED_DECIDE(*(previous ? &link_item(store, previous)->time_seconds : &root->limbo_head),
                  next);
    FAULT_POINT(store->proc, "store.limbo.popped");
    if (next) {
        SHARED_STORE(link_item(store, next)->order_low, previous);
    }
    if (root->limbo_cursor == ref) {
        SHARED_STORE(root->limbo_cursor, next);
    }
    item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LIMBO);
    SHARED_STORE(root->limbo_count, root->limbo_count - 1);
    SHARED_STORE(root->limbo_bytes,
                 root->limbo_bytes - item_total_bytes(item, item_state_of(item)));
}

bool link_limbo_put(struct store *store, uint32_t ref) {
    struct store_root *root = store->root;
    lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
    bool is_pinned = link_is_pinned(store, ref);
    if (is_pinned) {
        struct item *item = link_item(store, ref);
        uint32_t next = root->limbo_head;
        SHARED_STORE(item->time_seconds, next);
        SHARED_STORE(item->order_low, 0);
        item_set_state(item, item_state_of(item) | ITEM_LIMBO);
        FAULT_POINT(store->proc, "store.limbo.marked");
        if (next) {
            SHARED_STORE(link_item(store, next)->order_low, ref);
        }
        FAULT_POINT(store->proc, "store.limbo.joined");
        SHARED_DECIDE(root->limbo_head, ref);
        FAULT_POINT(store->proc, "store.limbo.pushed");
        SHARED_STORE(root->limbo_count, root->limbo_count + 1);
        SHARED_STORE(root->limbo_bytes,
                     root->limbo_bytes + item_total_bytes(item, item_state_of(item)));
        // Under the lock still: only while it is held a repairer asks whether the list has the
        // item.
        link_txn_disarm(store);
    }
    lock_give(store->proc, &root->limbo_lock, true);
    return is_pinned;
}

uint32_t link_limbo_look(struct store *store, uint32_t ref, uint32_t *looks) {
    for (uint32_t i = 0; ref && i < LOOKS_PER_HOLD && *looks > 0; i++) {
        uint32_t next = link_item(store, ref)->time_seconds;
        --*looks;
        if (!link_is_pinned(store, ref)) {
            link_limbo_take_out(store, ref);
            return next;
        }
        ref = next;
    }
    return ref;
}

void link_limbo_repair(struct store *store, struct proc *self, uint32_t dead_slot_index) {
    struct store_root *root = store->root;
    if (!lock_is_held_by(&root->limbo_lock, dead_slot_index)) {
        return;
    }
    const struct link_txn *txn = &link_local_at(store, dead_slot_index)->txn;
    uint32_t ref_freed = txn->kind == TXN_FREE ? txn->names.old_ref : 0;
    uint32_t listed = 0;
    uint64_t bytes = 0;
    uint32_t previous = 0;
    bool is_listed = false;
    // What can be reached from the head is in the list, whatever was under way.
    for (uint32_t ref = root->limbo_head; ref; ref = link_item(store, ref)->time_seconds) {
        listed++;
        bytes += item_total_bytes(link_item(store, ref), item_state_of(link_item(store, ref)));
        is_listed |= ref == ref_freed;
        SHARED_STORE(link_item(store, ref)->order_low, previous);
        previous = ref;
    }
    if (ref_freed && !is_listed && link_is_in_limbo(link_item(store, ref_freed))) {
        struct item *item = link_item(store, ref_freed);
        item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LIMBO);
    }
    SHARED_STORE(root->limbo_count, listed);
    SHARED_STORE(root->limbo_bytes, bytes);
    SHARED_STORE(root->limbo_cursor, 0);
    FAULT_POINT(self, "store.repair.limbo");
    if (is_listed) {
        link_txn_forget(store, dead_slot_index);
    }
    FAULT_POINT(self, "store.repair.limbo_named");
    lock_free_dead(&root->limbo_lock);
}
