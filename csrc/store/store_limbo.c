// Limbo: memory that nobody can find any more but somebody still reads is freed by the last reader.
//
// Who unlinks a large item and sees it pinned puts it into limbo; who unpins an unlinked item takes
// it out again and frees it, unless somebody else has it pinned. Neither waits for the other, so
// each looks a second time: the one looks at the pins again under limbo's lock, the other at
// whether that lock was held or given meanwhile. What both miss, since a reader died or the answer
// was not clear, store_limbo_step() finds later.
#include "store/store_find_inline.h"
#include "store/store_txn_inline.h"

// Entries looked at in one hold of limbo's lock, each with a look at the pins of all processes.
#define LOOKS_PER_HOLD 8
// Entries looked at, newest first, by who does not know whether it was the last reader of one of
// them.
#define LOOKS_UNSURE 16
// Entries looked at before a store is refused.
#define LOOKS_FOR_ROOM 256

// Takes a listed item out of limbo, into a FREE. Locks: the caller holds LOCK_LIMBO.
static void take_out_locked(struct store *store, uint32_t ref) {
    struct store_root *root = store->root;
    struct item *item = store_item(store, ref);
    uint32_t next = item->time_seconds;
    uint32_t previous = item->order_low;
    store_txn_arm(store, TXN_FREE, (struct store_txn_names){.old_ref = ref});
    FAULT_POINT(store->proc, "store.limbo.named");
    SHARED_DECIDE(*(previous ? &store_item(store, previous)->time_seconds : &root->limbo_head),
                  next);
    FAULT_POINT(store->proc, "store.limbo.popped");
    if (next) {
        SHARED_STORE(store_item(store, next)->order_low, previous);
    }
    if (root->limbo_cursor == ref) {
        SHARED_STORE(root->limbo_cursor, next);
    }
    item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LIMBO);
    SHARED_STORE(root->limbo_count, root->limbo_count - 1);
    SHARED_STORE(root->limbo_bytes,
                 root->limbo_bytes - store_item_bytes(store, item, item_state_of(item)));
}

bool store_limbo_put(struct store *store, uint32_t ref) {
    struct store_root *root = store->root;
    lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
    bool is_pinned = store_is_pinned(store, ref);
    if (is_pinned) {
        struct item *item = store_item(store, ref);
        uint32_t next = root->limbo_head;
        SHARED_STORE(item->time_seconds, next);
        SHARED_STORE(item->order_low, 0);
        item_set_state(item, item_state_of(item) | ITEM_LIMBO);
        FAULT_POINT(store->proc, "store.limbo.marked");
        if (next) {
            SHARED_STORE(store_item(store, next)->order_low, ref);
        }
        FAULT_POINT(store->proc, "store.limbo.joined");
        SHARED_DECIDE(root->limbo_head, ref);
        FAULT_POINT(store->proc, "store.limbo.pushed");
        SHARED_STORE(root->limbo_count, root->limbo_count + 1);
        SHARED_STORE(root->limbo_bytes,
                     root->limbo_bytes + store_item_bytes(store, item, item_state_of(item)));
        // Under the lock still: only while it is held a repairer asks whether the list has the
        // item.
        store_txn_disarm(store);
    }
    lock_give(store->proc, &root->limbo_lock, true);
    return is_pinned;
}

// Looks at some entries from `ref` on and takes the first that nobody pins into a FREE. Returns
// where to go on, 0 at the end; *looks goes down. Locks: the caller holds LOCK_LIMBO.
static uint32_t look_locked(struct store *store, uint32_t ref, uint32_t *looks) {
    for (uint32_t i = 0; ref && i < LOOKS_PER_HOLD && *looks > 0; i++) {
        uint32_t next = store_item(store, ref)->time_seconds;
        --*looks;
        if (!store_is_pinned(store, ref)) {
            take_out_locked(store, ref);
            return next;
        }
        ref = next;
    }
    return ref;
}

uint32_t store_limbo_step(struct store *store, uint32_t items_max) {
    struct store_root *root = store->root;
    uint32_t waiting = SHARED_LOAD(root->limbo_count);
    uint32_t looks = items_max < waiting ? items_max : waiting;
    while (looks > 0) {
        lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
        uint32_t from = root->limbo_cursor ? root->limbo_cursor : root->limbo_head;
        SHARED_STORE(root->limbo_cursor, look_locked(store, from, &looks));
        lock_give(store->proc, &root->limbo_lock, true);
        store_txn_free(store);
        if (!from) {
            break;
        }
    }
    return SHARED_LOAD(root->limbo_count);
}

// Whoever unlinked an item may have taken a pin that is gone now for a reader's.
static __attribute__((noinline)) void look_unsure(struct store *store) {
    struct store_root *root = store->root;
    uint32_t looks = LOOKS_UNSURE;
    bool has_found = true;
    while (has_found && looks > 0) {
        lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
        look_locked(store, root->limbo_head, &looks);
        lock_give(store->proc, &root->limbo_lock, true);
        has_found = store->local->txn.kind == TXN_FREE;
        store_txn_free(store);
    }
}

uint32_t store_pin(struct store *store, const struct store_view *view) {
    uint32_t pin = store_pin_take(store, view->ref);
    if (LIKELY(pin == STORE_NO_PIN || store_holds(view))) {
        return pin;
    }
    store_pin_give(store, pin);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (lock_is_held(SHARED_ACQUIRE(store->root->limbo_lock))
        || SHARED_LOAD(store->root->limbo_count)) {
        look_unsure(store);
    }
    return STORE_NO_CLAIM;
}

// The pinned item was unlinked. It is in limbo, or who unlinked it has yet to look at the pins
// under limbo's lock.
static __attribute__((noinline)) void unpin_unlinked(struct store *store, uint32_t pin,
                                                     uint32_t ref) {
    struct store_root *root = store->root;
    lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
    bool is_listed = store_is_in_limbo(store_item(store, ref));
    store_pin_give(store, pin);
    FAULT_POINT(store->proc, "store.unpin.unclaimed");
    if (is_listed && !store_is_pinned(store, ref)) {
        take_out_locked(store, ref);
    }
    lock_give(store->proc, &root->limbo_lock, true);
    store_txn_free(store);
}

void store_unpin(struct store *store, uint32_t pin) {
    if (store->claims->pin_count[pin] > 1) {
        store_pin_give(store, pin);
        return;
    }
    uint32_t ref = store->claims->pin_ref[pin];
    uint64_t limbo_before = SHARED_ACQUIRE(store->root->limbo_lock);
    if (UNLIKELY(store_is_unlinked(store, ref))) {
        unpin_unlinked(store, pin, ref);
        return;
    }
    store_pin_give(store, pin);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (UNLIKELY(lock_is_held(limbo_before)
                 || SHARED_ACQUIRE(store->root->limbo_lock) != limbo_before)) {
        look_unsure(store);
    }
}

void store_limbo_repair(struct store *store, struct proc *self, uint32_t dead_slot_index) {
    struct store_root *root = store->root;
    if (!lock_is_held_by(&root->limbo_lock, dead_slot_index)) {
        return;
    }
    const struct store_txn *txn = &store_local_at(store, dead_slot_index)->txn;
    uint32_t ref_freed = txn->kind == TXN_FREE ? txn->names.old_ref : 0;
    uint32_t listed = 0;
    uint64_t bytes = 0;
    uint32_t previous = 0;
    bool is_listed = false;
    // What can be reached from the head is in the list, whatever was under way.
    for (uint32_t ref = root->limbo_head; ref; ref = store_item(store, ref)->time_seconds) {
        listed++;
        bytes +=
            store_item_bytes(store, store_item(store, ref), item_state_of(store_item(store, ref)));
        is_listed |= ref == ref_freed;
        SHARED_STORE(store_item(store, ref)->order_low, previous);
        previous = ref;
    }
    if (ref_freed && !is_listed && store_is_in_limbo(store_item(store, ref_freed))) {
        struct item *item = store_item(store, ref_freed);
        item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_LIMBO);
    }
    SHARED_STORE(root->limbo_count, listed);
    SHARED_STORE(root->limbo_bytes, bytes);
    SHARED_STORE(root->limbo_cursor, 0);
    FAULT_POINT(self, "store.repair.limbo");
    if (is_listed) {
        store_txn_forget(store, dead_slot_index);
    }
    FAULT_POINT(self, "store.repair.limbo_named");
    lock_free_dead(&root->limbo_lock);
}

uint32_t store_take_room(struct store *store, uint32_t bytes) {
    uint32_t ref = store_take(store, bytes);
    uint32_t waiting = ref ? 0 : SHARED_LOAD(store->root->limbo_count);
    if (UNLIKELY(waiting > 0) && store_limbo_step(store, LOOKS_FOR_ROOM) < waiting) {
        ref = store_take(store, bytes);
    }
    return ref;
}

uint32_t store_take_beside(struct store *store, uint32_t needed_ref, uint32_t bytes) {
    uint32_t before = store->needed_ref;
    store->needed_ref = needed_ref;
    uint32_t ref = store_take_room(store, bytes);
    store_need_again(store, before, needed_ref);
    return ref;
}

int store_refused(struct store *store, enum counter reason) {
    count(store->proc, COUNTER_store_no_memory, 1);
    count(store->proc, reason, 1);
    return STORE_NO_MEMORY;
}
