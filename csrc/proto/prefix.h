// Statistics per key prefix (`stats detail`): one table in the arena for all workers.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct prefix_record {
    uint32_t prefix_bytes;
    char prefix[252];
    uint64_t gets;
    uint64_t hits;
    uint64_t sets;
    uint64_t deletes;
};

uint64_t prefix_reserve_bytes(void);
int prefix_create(struct arena *arena);

// How many prefixes are counted now. Once 3072 are, commands with others are only counted together,
// in the counter prefixes_dropped.
uint32_t prefix_total(const struct arena *arena);

// Copies entry `index` out; returns false past the end. Entries never move while nobody clears the
// table.
bool prefix_read(struct arena *arena, uint32_t index, struct prefix_record *out);

// Forgets all prefixes.
void prefix_clear(struct store *store);
