// Making and opening the probation queues and the ghost.
#include "lru/lru_internal.h"

// Queues together never need more entries than this part of the items there can be: probation has a
// fifth of a class by default, the caller lets a queue grow by a quarter of the class beyond that,
// since entries outlive their items, and no class has more chunks than the items the whole memory
// can hold of the smallest ones. Where someone sets a larger share, and has nothing but the
// smallest items, queues are shorter than the share asks for.
#define SHARE_PERCENT 60
// What a class may own besides full segments: the begun ones at both ends of its queue, and one
// more to start with.
#define MORE_PER_CLASS 3
#define LINE_BYTES 64

static uint32_t segments_of(const struct lru_geometry *geometry) {
    uint64_t entries = geometry->items_max / 100 * SHARE_PERCENT;
    uint64_t more = (uint64_t)geometry->classes * MORE_PER_CLASS;
    uint64_t segments = entries / LRU_SEGMENT_ENTRIES + more;
    segments = (segments + LRU_GROUP_SEGMENTS - 1) & ~(uint64_t)(LRU_GROUP_SEGMENTS - 1);
    return segments < 0x7ffffffcu ? (uint32_t)segments : 0x7ffffffcu;
}

static uint32_t ghost_lines_of(const struct lru_geometry *geometry) {
    uint64_t lines = geometry->items_max / LINE_BYTES + 1;
    return lines < UINT32_MAX ? (uint32_t)lines : UINT32_MAX;
}

uint64_t lru_reserve_bytes(const struct lru_geometry *geometry) {
    uint64_t segments = segments_of(geometry);
    return sizeof(struct lru_root) + segments * (LRU_SEGMENT_BYTES + sizeof(struct lru_link) + 1)
           + segments / LRU_GROUP_SEGMENTS + (uint64_t)ghost_lines_of(geometry) * LINE_BYTES
           + 4ull * LRU_GROUP_BYTES;
}

int lru_create(struct arena *arena, const struct lru_geometry *geometry) {
    uint64_t root_offset = arena_reserve(arena, sizeof(struct lru_root), 64, "rings");
    if (!root_offset || geometry->classes >= LRU_CLASSES_MAX) {
        return PYMC_NO_MEMORY;
    }
    struct lru_root *root = (struct lru_root *)(arena->base + root_offset);
    root->classes = geometry->classes;
    root->segments = segments_of(geometry);
    root->ghost.lines_max = ghost_lines_of(geometry);
    uint64_t segments = root->segments;
    root->owner_offset = arena_reserve(arena, segments, 64, "rings");
    root->touched_offset = arena_reserve(arena, segments / LRU_GROUP_SEGMENTS, 64, "rings");
    root->link_offset = arena_reserve(arena, segments * sizeof(struct lru_link), 64, "rings");
    // Both begin and end with pages of the system, since these are what is given back.
    root->area_offset =
        arena_reserve(arena, segments * LRU_SEGMENT_BYTES, LRU_GROUP_BYTES, "rings");
    uint64_t ghost_bytes_max = lru_whole_groups((uint64_t)root->ghost.lines_max * LINE_BYTES);
    root->ghost.table_offset = arena_reserve(arena, ghost_bytes_max, LRU_GROUP_BYTES, "ghost");
    if (!root->owner_offset || !root->touched_offset || !root->link_offset || !root->area_offset
        || !root->ghost.table_offset) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_LRU] = root_offset;
    return PYMC_OK;
}

void lru_attach(struct arena *arena, struct lru *lru) {
    struct lru_root *root = (struct lru_root *)(arena->base + arena->header->roots[ARENA_ROOT_LRU]);
    *lru = (struct lru){.root = root,
                        .area = (uint32_t *)(arena->base + root->area_offset),
                        .owner = (uint8_t *)arena->base + root->owner_offset,
                        .link = (struct lru_link *)(arena->base + root->link_offset),
                        .touched = (uint8_t *)arena->base + root->touched_offset,
                        .ghost = (uint64_t *)(arena->base + root->ghost.table_offset)};
}

void lru_enter(struct lru *lru, struct proc *proc) {
    lru->proc = proc;
}
