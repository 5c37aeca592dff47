// Segments and queues in the arena, for the files of this room.
//
//   area:    | segment | segment | ...   one segment = 256 references = 1 KiB
//   owner:   one byte per segment: the class that has it, 0 = free
//   link:    the next segment of the queue, and which 256 entries of the queue this one holds
//
// A segment is owned as long as its byte says so, and only who holds a class's lock sets it to that
// class: whoever repairs a class frees everything the class owns, so nothing can leak. The tables
// are apart from the area because looking at a segment whose memory was given back would bring it
// back.
#pragma once

#include "lru/lru_inline.h"

#define LRU_CLASSES_MAX 256
#define LRU_SEGMENT_SHIFT 8
#define LRU_SEGMENT_ENTRIES (1u << LRU_SEGMENT_SHIFT)
#define LRU_SEGMENT_BYTES (LRU_SEGMENT_ENTRIES * (uint32_t)sizeof(uint32_t))
// Memory is given back in pages of the system.
#define LRU_GROUP_BYTES 4096u
#define LRU_GROUP_SEGMENTS (LRU_GROUP_BYTES / LRU_SEGMENT_BYTES)

// Under LOCK_CLASS of the class. The entry at position p is entry p % 256 of the segment with
// sequence p / 256.
struct lru_queue {
    uint64_t pushed;    // Entries ever pushed.
    uint64_t popped;
    uint64_t cap;            // 0: none.
    int64_t share_offset;    // Atomic. From the share that is set, in parts of 2^32.
    uint32_t head;           // Segment of the oldest entry, + 1; 0 when there is none, and then
    uint32_t tail;           // ... pushed == popped is a multiple of 256.
};

// Under LOCK_CLASS of the owner.
struct lru_link {
    uint32_t next;    // Segment + 1.
    uint32_t sequence;
};

struct lru_ghost {
    uint64_t table_offset;
    uint32_t lines_max;
    CACHE_ALIGNED uint32_t lines;    // Atomic. Lines in use, 0: nothing is noted.
    uint32_t lines_touched;          // Atomic. Lines from the first that may have memory.
    uint32_t salt;                   // Atomic. Moves when all is forgotten, and older ones with it.
};

struct lru_root {
    uint64_t area_offset;
    uint64_t owner_offset;
    uint64_t link_offset;
    uint64_t touched_offset;
    uint32_t segments;
    uint32_t classes;
    CACHE_ALIGNED uint64_t lock;    // LOCK_LEAF: the words up to release_group, owner and touched.
    uint32_t low;                   // Segments below this one are owned.
    uint32_t high;                  // Segments from this one on were never owned.
    uint32_t used;
    uint32_t groups_touched;
    uint32_t release_group;    // Where the next lru_release_step() begins.
    struct lru_ghost ghost;
    struct lru_queue queue[LRU_CLASSES_MAX];
};

// A free segment for the class, + 1; 0 when there is none. The last ones are for classes that have
// none yet.
uint32_t lru_segment_take(struct lru *lru, uint32_t class_id, bool is_first);
void lru_segment_give(struct lru *lru, struct proc *proc, uint32_t number);

static inline uint64_t lru_whole_groups(uint64_t bytes) {
    return (bytes + LRU_GROUP_BYTES - 1) & ~(LRU_GROUP_BYTES - 1ull);
}
static inline uint32_t *lru_entry(const struct lru *lru, uint32_t number, uint64_t position) {
    uint64_t segment = (uint64_t)number - 1;
    return lru->area + (segment << LRU_SEGMENT_SHIFT) + position % LRU_SEGMENT_ENTRIES;
}
