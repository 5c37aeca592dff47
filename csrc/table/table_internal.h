// Memory that goes back and what repair needs, for the files of this room.
#pragma once

#include "table/table_inline.h"

// So many system pages go back in one step.
#define TABLE_RELEASE_PAGES 64

static inline char *table_bucket(const struct table *table, uint32_t number) {
    return table->buckets + (uint64_t)number * table->format->bucket_bytes;
}
static inline uint64_t *table_word(const struct table *table, uint32_t number) {
    return (uint64_t *)table_bucket(table, number);
}
static inline char *table_overflow(const struct table *table, uint32_t number) {
    return table->overflow + (uint64_t)number * table->format->overflow_bytes;
}

// The number of records that fill the system pages of the first `count`.
static inline uint32_t table_page_end(uint32_t count, uint32_t record_bytes) {
    uint32_t per_page = ARENA_SYSTEM_PAGE_BYTES / record_bytes;
    return (count + per_page - 1) / per_page * per_page;
}

// The bucket from which bucket `to` splits off.
static inline uint32_t table_source_of(uint32_t to) {
    return to - (1u << (31 - __builtin_clz(to)));
}

// Goes on to the next bucket of a chain, *is_home being whether it is the first; NULL at its end.
static inline void *table_next(const struct table *table, const void *bucket, bool *is_home) {
    uint32_t link = table->format->link(bucket, *is_home);
    *is_home = false;
    return link && link <= table->root->overflow_max ? table_overflow(table, link - 1) : NULL;
}

// Frees the chain of a bucket nobody can reach, by way of `hand`, and empties it.
void table_clear_unreachable(struct table *table, struct proc *proc, uint32_t number,
                             struct table_local *hand);
// Gives memory beyond the last overflow bucket in use back; true when there was some.
bool table_overflow_release(struct table *table, struct proc *proc);
// Repairs and frees the lock of the overflow buckets, if it is the dead process's.
void table_overflow_repair(struct table *table, uint32_t dead_slot_index);
// Frees the words that a dead process took to give their memory back.
void table_release_repair(struct table *table, uint32_t dead_slot_index);
