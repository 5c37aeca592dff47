// What the arena's first bytes look like, for the rooms that live in it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check_inline.h"
#include "shm/arena.h"
#include "shm/live_names_inline.h"
#include "shm/notes.h"

#define ARENA_ROOTS 16
#define ARENA_PLAIN_LOCKS 8
// Memory goes back to the system in multiples of this.
#define ARENA_SYSTEM_PAGE_BYTES 4096

// Who keeps an arena_root offset; each room writes its own once, before the first fork.
enum arena_root {
    ARENA_ROOT_SLAB,
    ARENA_ROOT_INDEX,
    ARENA_ROOT_LRU,
    ARENA_ROOT_STORE,
    ARENA_ROOT_PROTO,
    ARENA_ROOT_SERVER,
    ARENA_ROOT_FLASH,
    ARENA_ROOT_TLS,
    ARENA_ROOT_WATCH,
    ARENA_ROOT_ADDRESSES
};

struct arena_header {
    uint64_t magic;
    uint64_t layout;
    uint64_t reserve_bytes;
    uint64_t reserved_bytes;    // High-water mark of arena_reserve(); written before the first fork
                                // only.
    uint64_t boot_ns;
    int64_t boot_unix_seconds;
    uint64_t hash_seed;    // Of the key hash; written once.
    uint64_t slots_offset;
    uint32_t slots;
    uint32_t slot_bytes;
    uint64_t roots[ARENA_ROOTS];
    uint64_t plain_locks[ARENA_PLAIN_LOCKS];    // Offsets of lock words whose data need no repair;
                                                // 0 ends the list.
    int64_t live[LIVE_COUNT];                   // Any process, atomically.
    int64_t notes[NOTE_COUNT];                  // Any process, atomically.
    int64_t clock_shift_seconds;                // debugtime; atomic.
    uint32_t clock_frozen_seconds;              // debugtime; atomic.
    CACHE_ALIGNED uint64_t order;    // The last order number handed out. Atomic add by every store.
    // The mark of flush_all, see link_is_flushed(): items with order numbers up to it are flushed.
    // Only grows. Atomic.
    CACHE_ALIGNED uint64_t flush_order;
    uint32_t flush_seconds;              // The second of the latest flush, for statistics. Atomic.
    uint32_t flush_scheduled_seconds;    // A flush_all in the future, 0 for none. Atomic.
    // The ledger; written before the first fork only.
    uint32_t row_count;
    struct arena_row rows[ARENA_ROWS_MAX];
};

struct arena {
    char *base;
    struct arena_header *header;
    uint64_t bytes;
    int fd;    // -1 when the memory object is without a file.
    bool is_hugetlb;
};

// Names a lock word that is simply freed when its owner dies: what it guards is never left in a
// state that hurts. Requires: no other process maps the arena yet.
void arena_add_plain_lock(struct arena *arena, const uint64_t *word);

// Gives the memory of a range of whole system pages back; it reads as zeroes from then on, and
// whoever writes there gets fresh memory. Returns false when the system refuses, as for memory that
// is locked: then nothing has changed.
bool arena_give_back(void *place, uint64_t bytes);

// Sets aside `bytes` (zeroed, aligned to `align`) and returns their offset, 0 when the arena is too
// small. The ledger shows them under `label`, which becomes part of the keys of `stats pymc`; what
// follows a row of the same label is added to that row. Requires: no other process maps the arena
// yet.
uint64_t arena_reserve(struct arena *arena, uint64_t bytes, uint64_t align, const char *label);
