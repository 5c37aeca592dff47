// Limbo: memory that nobody can find any more but somebody still reads is freed by the last reader.
//
// Who unlinks a large item and sees it pinned puts it into limbo; who unpins an unlinked item takes
// it out again and frees it, unless somebody else has it pinned. Neither waits for the other, so
// each looks a second time: the one looks at the pins again under limbo's lock, the other at
// whether that lock was held or given meanwhile. What both miss, since a reader died or the answer
// was not clear, link_limbo_step() finds later.
#include "link/link_limbo_internal.h"

// Entries looked at, newest first, by who does not know whether it was the last reader of one of
// them.
#define LOOKS_NEWEST_MAX 16

uint32_t link_limbo_step(struct store *store, uint32_t items_max) {
    struct store_root *root = store->root;
    uint32_t waiting = SHARED_LOAD(root->limbo_count);
    uint32_t looks = items_max < waiting ? items_max : waiting;
    while (looks > 0) {
        lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
        uint32_t from = root->limbo_cursor ? root->limbo_cursor : root->limbo_head;
        SHARED_STORE(root->limbo_cursor, link_limbo_look(store, from, &looks));
        lock_give(store->proc, &root->limbo_lock, true);
        link_txn_free(store);
        if (!from) {
            break;
        }
    }
    return SHARED_LOAD(root->limbo_count);
}

// Whoever unlinked an item may have taken a pin that is gone now for a reader's.
static __attribute__((noinline)) void look_at_newest(struct store *store) {
    struct store_root *root = store->root;
    uint32_t looks = LOOKS_NEWEST_MAX;
    bool has_found = true;
    while (has_found && looks > 0) {
        lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
        link_limbo_look(store, root->limbo_head, &looks);
        lock_give(store->proc, &root->limbo_lock, true);
        has_found = store->local->txn.kind == TXN_FREE;
        link_txn_free(store);
    }
}

uint32_t link_pin(struct store *store, const struct link_view *view) {
    uint32_t pin = link_pin_take(store, view->ref);
    if (LIKELY(pin == LINK_NO_PIN || link_holds(view))) {
        return pin;
    }
    link_pin_give(store, pin);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (lock_is_held(SHARED_ACQUIRE(store->root->limbo_lock))
        || SHARED_LOAD(store->root->limbo_count)) {
        look_at_newest(store);
    }
    return LINK_NO_CLAIM;
}

// The pinned item was unlinked. It is in limbo, or who unlinked it has yet to look at the pins
// under limbo's lock.
static __attribute__((noinline)) void unpin_unlinked(struct store *store, uint32_t pin,
                                                     uint32_t ref) {
    struct store_root *root = store->root;
    lock_take(store->proc, &root->limbo_lock, LOCK_LIMBO);
    bool is_listed = link_is_in_limbo(link_item(store, ref));
    link_pin_give(store, pin);
    FAULT_POINT(store->proc, "store.unpin.unclaimed");
    if (is_listed && !link_is_pinned(store, ref)) {
        link_limbo_take_out(store, ref);
    }
    lock_give(store->proc, &root->limbo_lock, true);
    link_txn_free(store);
}

void link_unpin(struct store *store, uint32_t pin) {
    if (store->claims->pin_count[pin] > 1) {
        link_pin_give(store, pin);
        return;
    }
    uint32_t ref = store->claims->pin_ref[pin];
    uint64_t limbo_before = SHARED_ACQUIRE(store->root->limbo_lock);
    if (UNLIKELY(link_is_unlinked(store, ref))) {
        unpin_unlinked(store, pin, ref);
        return;
    }
    link_pin_give(store, pin);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (UNLIKELY(lock_is_held(limbo_before)
                 || SHARED_ACQUIRE(store->root->limbo_lock) != limbo_before)) {
        look_at_newest(store);
    }
}
