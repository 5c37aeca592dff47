// Steps on a reader's reads that its files share: rings of waiters, the table, and those that are
// queued or under way.
#pragma once

#include "flash/flash_reader_internal.h"

static inline void ring_clear(struct flash_waiter *head) {
    head->next = head;
    head->previous = head;
}

static inline void ring_insert_before(struct flash_waiter *place, struct flash_waiter *waiter) {
    waiter->next = place;
    waiter->previous = place->previous;
    place->previous->next = waiter;
    place->previous = waiter;
    waiter->is_waiting = true;
}

static inline void ring_remove(struct flash_waiter *waiter) {
    waiter->previous->next = waiter->next;
    waiter->next->previous = waiter->previous;
    waiter->is_waiting = false;
}

static inline void wake(struct flash_chain *woken, struct flash_waiter *waiter) {
    ring_remove(waiter);
    waiter->next = NULL;
    *woken->end = waiter;
    woken->end = &waiter->next;
}

static inline bool ring_is_empty(const struct flash_waiter *head) {
    return head->next == head;
}

static inline struct flash_reading **table_place(const struct flash_reader *reader,
                                                 uint64_t address) {
    return &reader->table[address * 0x9e3779b97f4a7c15ull >> reader->table_shift];
}

static inline void table_drop(struct flash_reader *reader, struct flash_reading *reading) {
    if (!reading->is_in_table) {
        return;
    }
    struct flash_reading **place = table_place(reader, reading->seen.address);
    while (*place != reading) {
        place = &(*place)->chain;
    }
    *place = reading->chain;
    reading->is_in_table = false;
}

static inline void timed_put(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_reader_path *path = &reader->paths[reading->path];
    reading->newer = NULL;
    reading->older = path->newest;
    if (path->newest) {
        path->newest->newer = reading;
    } else {
        path->oldest = reading;
        reader->timed_paths |= 1ull << reading->path;
    }
    path->newest = reading;
}

static inline void timed_drop(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_reader_path *path = &reader->paths[reading->path];
    *(reading->newer ? &reading->newer->older : &path->newest) = reading->older;
    *(reading->older ? &reading->older->newer : &path->oldest) = reading->newer;
    if (path->oldest == NULL) {
        reader->timed_paths &= ~(1ull << reading->path);
    }
}

static inline struct flash_read *answer(struct flash_reading *reading, int result) {
    reading->seen.state = FLASH_READ_DONE;
    reading->seen.result = (uint8_t)result;
    return &reading->seen;
}

static inline struct flash_reading *dequeue(struct flash_reader *reader,
                                            struct flash_reader_path *path) {
    struct flash_reading *reading = path->queue_first;
    path->queue_first = reading->next;
    if (path->queue_first == NULL) {
        path->queue_last = NULL;
        reader->queued_paths &= ~(1ull << reading->path);
    }
    reader->queued--;
    return reading;
}

// Whether the path is late, or what was given up leaves it nothing to read with: another read could
// wait for ever.
static inline bool is_late(const struct flash_reader *reader, uint32_t number) {
    return SHARED_LOAD(reader->flash->paths[number].is_late)
           || reader->paths[number].given_up >= reader->given_up_max;
}

// The same for its memory.
static inline bool has_too_many_given_up(const struct flash_reader_path *path) {
    return path->given_up_bytes > 0 && path->memory_used == path->given_up_bytes;
}
