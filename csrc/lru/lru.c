// Making the probation rings.
#include "lru/lru_internal.h"

uint64_t lru_reserve_bytes(const uint64_t *capacity, uint32_t classes) {
    uint64_t bytes = sizeof(struct lru_root) + 64;
    for (uint32_t class_id = 1; class_id <= classes; class_id++) {
        bytes += capacity[class_id] * sizeof(uint32_t) + 64;
    }
    return bytes;
}

int lru_create(struct arena *arena, const uint64_t *capacity, uint32_t classes) {
    uint64_t root_offset = arena_reserve(arena, sizeof(struct lru_root), 64, "rings");
    if (!root_offset || classes >= LRU_CLASSES_MAX) {
        return PYMC_NO_MEMORY;
    }
    struct lru_root *root = (struct lru_root *)(arena->base + root_offset);
    for (uint32_t class_id = 1; class_id <= classes; class_id++) {
        struct lru_ring *ring = &root->ring[class_id];
        ring->capacity = capacity[class_id];
        ring->entries_offset = arena_reserve(arena, ring->capacity * sizeof(uint32_t), 64, "rings");
        if (!ring->entries_offset) {
            return PYMC_NO_MEMORY;
        }
    }
    arena->header->roots[ARENA_ROOT_LRU] = root_offset;
    return PYMC_OK;
}

void lru_attach(struct arena *arena, struct lru *lru) {
    lru->arena_base = arena->base;
    lru->root = (struct lru_root *)(arena->base + arena->header->roots[ARENA_ROOT_LRU]);
}
