// Flushing by order number, at once or at a later second.
#include "store/store_internal.h"

// The mark never goes back, or flushed items would show again. Returns with *word >= least.
static void raise_word(uint64_t *word, uint64_t least) {
    uint64_t seen = SHARED_LOAD(*word);
    while (seen < least && !SHARED_CAS(*word, &seen, least, RELEASE)) {
    }
}

// How far the mark of a flush is ahead of the numbers given out, so that it is there before they
// reach it.
#define FLUSH_AHEAD 1024
#define FLUSH_AHEAD_DOUBLINGS 20
// Order numbers are compared on a circle of 2^48: a cache that is not flushed for nearly 2^47
// stores (4 years at a million a second) flushes itself, so that no number of a new item is so far
// ahead of the mark that it looks flushed.
#define FLUSH_REACH ((1ull << 47) - (1ull << 40))

// The mark goes up first, beyond all numbers given out, and then the numbers: whoever gets one
// above the mark sees the mark too. Crash: between the two, new items are flushed as soon as they
// are stored, until the next turn of any process.
static void flush_now(struct store *store, uint32_t seconds) {
    struct arena_header *header = store->header;
    uint64_t mark = 0;
    for (uint32_t i = 0; i < FLUSH_AHEAD_DOUBLINGS; i++) {
        mark = SHARED_LOAD(header->order) + ((uint64_t)FLUSH_AHEAD << i);
        raise_word(&header->flush_order, mark);
        FAULT_POINT(store->proc, "store.flush.marked");
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (SHARED_LOAD(header->order) <= mark) {
            break;
        }
    }
    raise_word(&header->order, mark);
    FAULT_POINT(store->proc, "store.flush.numbered");
    SHARED_STORE(header->flush_seconds, seconds);
    // Keys that went before say nothing about what will be asked for after.
    ghost_empty(&store->lru);
}

void store_flush_all(struct store *store, uint32_t at_seconds) {
    struct arena_header *header = store->header;
    // One second early, as memcached has it: what was stored in the second of its time stays.
    if (at_seconds > store->proc->now_seconds + 1) {
        SHARED_STORE(header->flush_scheduled_seconds, at_seconds);
        return;
    }
    flush_now(store, store->proc->now_seconds);
    SHARED_STORE(header->flush_scheduled_seconds, 0);
}

void store_flush_turn(struct store *store) {
    struct arena_header *header = store->header;
    uint32_t due = SHARED_LOAD(header->flush_scheduled_seconds);
    if (UNLIKELY(due && due <= store->proc->now_seconds + 1)) {
        // Flushed before it is forgotten: who dies between leaves another flush to the next one,
        // and nobody who sees no flush waiting can look at an item before the mark is up.
        flush_now(store, store->proc->now_seconds);
        SHARED_CAS(header->flush_scheduled_seconds, &due, 0, RELEASE);
    }
    uint64_t flushed = SHARED_LOAD(header->flush_order);
    uint64_t given = SHARED_LOAD(header->order);
    if (UNLIKELY(given < flushed)) {
        raise_word(&header->order, flushed);
    } else if (UNLIKELY(given - flushed >= FLUSH_REACH)) {
        flush_now(store, store->proc->now_seconds);
    }
}
