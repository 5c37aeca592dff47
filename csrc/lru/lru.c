// The queues: pushing, popping, forgetting, and looking ahead without a lock.
#include "lru/lru_internal.h"

// What one push forgets at most when the cap was lowered: the queue shrinks faster than it is
// filled.
#define PUSH_DISCARDS (4 * LRU_SEGMENT_ENTRIES)
// What lru_set_cap_locked() forgets at most at a time.
#define CAP_DISCARDS (64 * LRU_SEGMENT_ENTRIES)
// Of a share in parts of 2^32, rounded up so that whole percents of whole hundreds come out whole.
#define PERCENT (((1ll << 32) + 99) / 100)

static struct lru_queue *queue_of(const struct lru *lru, uint32_t class_id) {
    PYMC_DEBUG_CHECK(class_id >= 1 && class_id <= lru->root->classes);
    return &lru->root->queue[class_id];
}

// The oldest segment has no entry any more.
static void drop_head(struct lru *lru, struct lru_queue *queue) {
    uint32_t number = queue->head;
    uint32_t next = lru->link[number - 1].next;
    SHARED_STORE(queue->head, next);
    if (!next) {
        SHARED_STORE(queue->tail, 0);
    }
    FAULT_POINT(lru->proc, "lru.head.unlinked");
    lru_segment_give(lru, lru->proc, number);
}

static void discard(struct lru *lru, struct lru_queue *queue, uint64_t entries) {
    while (entries > 0 && queue->popped < queue->pushed) {
        uint64_t here = LRU_SEGMENT_ENTRIES - queue->popped % LRU_SEGMENT_ENTRIES;
        uint64_t left = queue->pushed - queue->popped;
        uint64_t step = entries < here ? entries : here;
        step = step < left ? step : left;
        SHARED_STORE(queue->popped, queue->popped + step);
        if (queue->popped % LRU_SEGMENT_ENTRIES == 0) {
            drop_head(lru, queue);
        }
        entries -= step;
    }
}

// Hangs a free segment behind the last one. Returns false when there is none.
static bool extend(struct lru *lru, struct lru_queue *queue, uint32_t class_id) {
    uint32_t number = lru_segment_take(lru, class_id, queue->tail == 0);
    if (UNLIKELY(!number) && queue->head) {
        discard(lru, queue, LRU_SEGMENT_ENTRIES - queue->popped % LRU_SEGMENT_ENTRIES);
        number = lru_segment_take(lru, class_id, queue->tail == 0);
    }
    if (!number) {
        return false;
    }
    struct lru_link *link = &lru->link[number - 1];
    SHARED_STORE(link->next, 0);
    SHARED_STORE(link->sequence, (uint32_t)(queue->pushed >> LRU_SEGMENT_SHIFT));
    FAULT_POINT(lru->proc, "lru.tail.taken");
    if (queue->tail) {
        SHARED_RELEASE(lru->link[queue->tail - 1].next, number);
    } else {
        SHARED_RELEASE(queue->head, number);
    }
    FAULT_POINT(lru->proc, "lru.tail.linked");
    SHARED_STORE(queue->tail, number);
    return true;
}

void lru_push_locked(struct lru *lru, uint32_t class_id, uint32_t ref) {
    struct lru_queue *queue = queue_of(lru, class_id);
    uint64_t length = queue->pushed - queue->popped;
    if (UNLIKELY(queue->cap && length >= queue->cap)) {
        uint64_t over = length + 1 - queue->cap;
        discard(lru, queue, over < PUSH_DISCARDS ? over : PUSH_DISCARDS);
    }
    if (UNLIKELY(queue->pushed % LRU_SEGMENT_ENTRIES == 0) && !extend(lru, queue, class_id)) {
        return;
    }
    SHARED_STORE(*lru_entry(lru, queue->tail, queue->pushed), ref);
    SHARED_RELEASE(queue->pushed, queue->pushed + 1);
}

uint32_t lru_pop_locked(struct lru *lru, uint32_t class_id) {
    struct lru_queue *queue = queue_of(lru, class_id);
    if (queue->popped >= queue->pushed) {
        return 0;
    }
    uint32_t ref = *lru_entry(lru, queue->head, queue->popped);
    discard(lru, queue, 1);
    return ref;
}

void lru_clear_locked(struct lru *lru, uint32_t class_id) {
    struct lru_queue *queue = queue_of(lru, class_id);
    discard(lru, queue, queue->pushed - queue->popped);
    if (queue->head) {
        // A segment begun and not finished: the positions go on behind it.
        uint64_t next = (queue->pushed | (LRU_SEGMENT_ENTRIES - 1)) + 1;
        SHARED_STORE(queue->pushed, next);
        SHARED_STORE(queue->popped, next);
        drop_head(lru, queue);
    }
}

bool lru_set_cap_locked(struct lru *lru, uint32_t class_id, uint64_t entries) {
    struct lru_queue *queue = queue_of(lru, class_id);
    SHARED_STORE(queue->cap, entries);
    uint64_t length = queue->pushed - queue->popped;
    if (entries && length > entries) {
        discard(lru, queue, length - entries < CAP_DISCARDS ? length - entries : CAP_DISCARDS);
        length = queue->pushed - queue->popped;
    }
    return !entries || length <= entries;
}

uint64_t lru_cap(const struct lru *lru, uint32_t class_id) {
    return SHARED_LOAD(queue_of(lru, class_id)->cap);
}

// A share in parts of 2^32, within the bounds or as far beyond them as it begins.
static int64_t bounded(int64_t share, uint32_t start_percent) {
    int64_t least = LRU_SHARE_LEAST_PERCENT;
    int64_t most = LRU_SHARE_MOST_PERCENT;
    least = start_percent < least ? start_percent : least;
    most = start_percent > most ? start_percent : most;
    share = share < least * PERCENT ? least * PERCENT : share;
    return share > most * PERCENT ? most * PERCENT : share;
}

static int64_t share_of(const struct lru_queue *queue, uint32_t start_percent) {
    return bounded(start_percent * PERCENT + SHARED_LOAD(queue->share_offset), start_percent);
}

uint64_t lru_target(const struct lru *lru, uint32_t class_id, uint64_t slots,
                    uint32_t start_percent) {
    // The product does not overflow below 2^32 slots, as many as there are references.
    return slots * (uint64_t)share_of(queue_of(lru, class_id), start_percent) >> 32;
}

void lru_adapt(struct lru *lru, uint32_t class_id, int32_t quarters, uint64_t slots,
               uint32_t start_percent) {
    struct lru_queue *queue = queue_of(lru, class_id);
    int64_t by = quarters * ((1ll << 30) / (int64_t)slots);
    int64_t share = bounded(share_of(queue, start_percent) + by, start_percent);
    SHARED_STORE(queue->share_offset, share - start_percent * PERCENT);
}

uint64_t lru_length(const struct lru *lru, uint32_t class_id) {
    const struct lru_queue *queue = queue_of(lru, class_id);
    uint64_t popped = SHARED_LOAD(queue->popped);
    uint64_t pushed = SHARED_LOAD(queue->pushed);
    return pushed > popped ? pushed - popped : 0;
}

static bool holds(const struct lru *lru, uint32_t number, uint32_t class_id, uint32_t sequence) {
    return number - 1 < lru->root->segments && SHARED_LOAD(lru->owner[number - 1]) == class_id
           && SHARED_LOAD(lru->link[number - 1].sequence) == sequence;
}

// The segment with the entry at `position`, + 1: the hinted one, the one behind it, or found from
// the head on.
static uint32_t seek(const struct lru *lru, uint32_t class_id, uint32_t hint, uint64_t position) {
    uint32_t sequence = (uint32_t)(position >> LRU_SEGMENT_SHIFT);
    if (holds(lru, hint, class_id, sequence)) {
        return hint;
    }
    if (holds(lru, hint, class_id, sequence - 1)) {
        uint32_t next = SHARED_LOAD(lru->link[hint - 1].next);
        return holds(lru, next, class_id, sequence) ? next : 0;
    }
    uint32_t number = SHARED_ACQUIRE(queue_of(lru, class_id)->head);
    for (uint32_t steps = 0; steps < lru->root->segments; steps++) {
        if (holds(lru, number, class_id, sequence)) {
            return number;
        }
        if (number - 1 >= lru->root->segments || SHARED_LOAD(lru->owner[number - 1]) != class_id) {
            return 0;
        }
        number = SHARED_ACQUIRE(lru->link[number - 1].next);
    }
    return 0;
}

uint32_t lru_peek(const struct lru *lru, uint32_t class_id, struct lru_place *place, uint64_t ahead,
                  uint32_t *refs, uint32_t count) {
    const struct lru_queue *queue = queue_of(lru, class_id);
    uint64_t popped = SHARED_LOAD(queue->popped);
    uint64_t end = SHARED_ACQUIRE(queue->pushed);
    end = end > popped && end - popped > ahead ? popped + ahead : end;
    if (place->position < popped || place->position > end) {
        place->position = popped;
    }
    uint32_t number = 0;
    uint32_t found = 0;
    for (uint64_t at = place->position; at < end && found < count; at++) {
        if (found == 0) {
            number = place->segment = seek(lru, class_id, place->segment, at);
        } else if (at % LRU_SEGMENT_ENTRIES == 0) {
            number = seek(lru, class_id, number, at);
        }
        if (!number) {
            break;
        }
        refs[found++] = SHARED_LOAD(*lru_entry(lru, number, at));
    }
    return found;
}

uint32_t lru_oldest(const struct lru *lru, uint32_t class_id) {
    struct lru_place place = {0};
    uint32_t ref;
    return lru_peek(lru, class_id, &place, 1, &ref, 1) ? ref : 0;
}
