// Segments: who has which, giving memory back, repairing after a death, checking.
#include <string.h>
#include <sys/mman.h>

#include "lru/lru_internal.h"

// Looked at and given back at most under one taking of the lock.
#define GROUPS_LOOKED_AT 16384
#define GROUPS_RELEASED 1024
// A class may always have its first segment: so many are set aside, and a queue that is emptied and
// filled at once holds two for a moment.
#define SPARE_PER_CLASS 2

uint32_t lru_segment_take(struct lru *lru, uint32_t class_id, bool is_first) {
    struct lru_root *root = lru->root;
    lock_take(lru->proc, &root->lock, LOCK_LEAF);
    uint32_t spare = is_first ? 0 : root->classes * SPARE_PER_CLASS;
    uint32_t number = 0;
    if (root->used + spare < root->segments) {
        // The lowest free one, so that what is free in the end is whole groups.
        const uint8_t *found = memchr(lru->owner + root->low, 0, root->high - root->low);
        number = (found ? (uint32_t)(found - lru->owner) : root->high) + 1;
        PYMC_DEBUG_CHECK(number <= root->segments);
        if (!found) {
            SHARED_STORE(root->high, number);
        }
        uint32_t group = (number - 1) / LRU_GROUP_SEGMENTS;
        if (!lru->touched[group]) {
            SHARED_STORE(root->groups_touched, root->groups_touched + 1);
            SHARED_STORE(lru->touched[group], 1);
        }
        FAULT_POINT(lru->proc, "lru.segment.chosen");
        SHARED_RELEASE(lru->owner[number - 1], (uint8_t)class_id);
        FAULT_POINT(lru->proc, "lru.segment.owned");
        SHARED_STORE(root->low, number);
        SHARED_STORE(root->used, root->used + 1);
    }
    lock_give(lru->proc, &root->lock, false);
    return number;
}

void lru_segment_give(struct lru *lru, struct proc *proc, uint32_t number) {
    struct lru_root *root = lru->root;
    lock_take(proc, &root->lock, LOCK_LEAF);
    // A repairer may come by twice.
    if (lru->owner[number - 1]) {
        SHARED_RELEASE(lru->owner[number - 1], 0);
        FAULT_POINT(proc, "lru.segment.freed");
        SHARED_STORE(root->low, number - 1 < root->low ? number - 1 : root->low);
        SHARED_STORE(root->used, root->used - 1);
    }
    lock_give(proc, &root->lock, false);
}

static uint32_t groups_begun(const struct lru *lru) {
    return (SHARED_LOAD(lru->root->high) + LRU_GROUP_SEGMENTS - 1) / LRU_GROUP_SEGMENTS;
}

uint64_t lru_bytes(const struct lru *lru) {
    const struct lru_root *root = lru->root;
    uint64_t tables = (uint64_t)SHARED_LOAD(root->high) * (sizeof(struct lru_link) + 1);
    uint64_t area = (uint64_t)SHARED_LOAD(root->groups_touched) * LRU_GROUP_BYTES;
    return tables + groups_begun(lru) + area + ghost_bytes(lru);
}

static bool is_idle(const struct lru *lru, uint32_t group) {
    static const uint8_t nobody[LRU_GROUP_SEGMENTS];
    const uint8_t *owner = lru->owner + (uint64_t)group * LRU_GROUP_SEGMENTS;
    return lru->touched[group] && memcmp(owner, nobody, sizeof nobody) == 0;
}

// Gives a run of idle groups back. Huge pages of the system cannot be cut: then they stay, and stay
// counted.
static uint32_t release(struct lru *lru, uint32_t first, uint32_t groups) {
    char *place = (char *)lru->area + (uint64_t)first * LRU_GROUP_BYTES;
    if (madvise(place, (uint64_t)groups * LRU_GROUP_BYTES, MADV_REMOVE) != 0) {
        return 0;
    }
    FAULT_POINT(lru->proc, "lru.release.removed");
    SHARED_CLEAR(lru->touched + first, groups);
    SHARED_STORE(lru->root->groups_touched, lru->root->groups_touched - groups);
    return groups;
}

bool lru_release_step(struct lru *lru) {
    struct lru_root *root = lru->root;
    lock_take(lru->proc, &root->lock, LOCK_LEAF);
    uint32_t end = groups_begun(lru);
    uint32_t group = root->release_group < end ? root->release_group : 0;
    end = end - group > GROUPS_LOOKED_AT ? group + GROUPS_LOOKED_AT : end;
    uint32_t released = 0;
    while (group < end && released < GROUPS_RELEASED) {
        uint32_t run = 0;
        while (group + run < end && released + run < GROUPS_RELEASED && is_idle(lru, group + run)) {
            run++;
        }
        released += run ? release(lru, group, run) : 0;
        group += run ? run : 1;
    }
    bool is_complete = group >= groups_begun(lru);
    SHARED_STORE(root->release_group, is_complete ? 0 : group);
    lock_give(lru->proc, &root->lock, false);
    return !is_complete;
}

void lru_repair(struct lru *lru, uint32_t dead_slot_index) {
    struct lru_root *root = lru->root;
    if (!lock_is_held_by(&root->lock, dead_slot_index)) {
        return;
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < root->high; i++) {
        used += lru->owner[i] != 0;
    }
    uint32_t touched = 0;
    for (uint32_t group = 0; group < groups_begun(lru); group++) {
        touched += lru->touched[group];
    }
    SHARED_STORE(root->used, used);
    SHARED_STORE(root->low, 0);
    SHARED_STORE(root->groups_touched, touched);
    lock_free_dead(&root->lock);
}

void lru_repair_class(struct lru *lru, struct proc *self, uint32_t class_id) {
    struct lru_root *root = lru->root;
    struct lru_queue *queue = &root->queue[class_id];
    SHARED_STORE(queue->head, 0);
    SHARED_STORE(queue->tail, 0);
    uint64_t next = (queue->pushed + LRU_SEGMENT_ENTRIES - 1) & ~(LRU_SEGMENT_ENTRIES - 1ull);
    // Places that lie ahead are worth nothing either: whoever has one begins anew.
    SHARED_STORE(queue->pushed, next);
    SHARED_STORE(queue->popped, next);
    uint32_t high = SHARED_LOAD(root->high);
    for (uint32_t i = 0; i < high; i++) {
        if (SHARED_LOAD(lru->owner[i]) == class_id) {
            lru_segment_give(lru, self, i + 1);
        }
    }
}

static uint32_t check_queue(const struct lru *lru, uint32_t class_id) {
    const struct lru_queue *queue = &lru->root->queue[class_id];
    PYMC_CHECK(queue->popped <= queue->pushed);
    uint32_t sequence = (uint32_t)(queue->popped >> LRU_SEGMENT_SHIFT);
    uint32_t last = 0;
    uint32_t segments = 0;
    for (uint32_t number = queue->head; number; number = lru->link[number - 1].next) {
        PYMC_CHECK(number <= lru->root->high && lru->owner[number - 1] == class_id);
        PYMC_CHECK(lru->link[number - 1].sequence == sequence + segments);
        PYMC_CHECK(++segments <= lru->root->segments);
        last = number;
    }
    PYMC_CHECK(last == queue->tail);
    uint64_t end = (uint64_t)(queue->popped >> LRU_SEGMENT_SHIFT) + segments;
    PYMC_CHECK(end == (queue->pushed + LRU_SEGMENT_ENTRIES - 1) >> LRU_SEGMENT_SHIFT);
    return segments;
}

void lru_check(const struct lru *lru) {
    const struct lru_root *root = lru->root;
    PYMC_CHECK(!lock_is_held(root->lock));
    PYMC_CHECK(root->high <= root->segments && root->low <= root->high);
    uint32_t queued = 0;
    for (uint32_t class_id = 1; class_id <= root->classes; class_id++) {
        queued += check_queue(lru, class_id);
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < root->high; i++) {
        used += lru->owner[i] != 0;
        PYMC_CHECK(lru->owner[i] <= root->classes && (lru->owner[i] || i >= root->low));
        PYMC_CHECK(!lru->owner[i] || lru->touched[i / LRU_GROUP_SEGMENTS]);
    }
    uint32_t touched = 0;
    for (uint32_t group = 0; group < groups_begun(lru); group++) {
        touched += lru->touched[group];
    }
    // Every owned segment was met in a queue, once.
    PYMC_CHECK(queued == used && used == root->used && touched == root->groups_touched);
}
