// The bits of an index entry, see flash_index.h, and bringing a bucket nearer.
#pragma once

#include "flash/flash_index_internal.h"

#define FLASH_READ_BIT (1ull << 41)
#define FLASH_SIZE_SHIFT 36

static inline uint64_t flash_entry_address(const struct flash *flash, uint64_t entry) {
    return entry & flash->index->address_mask;
}
// Sizes are kept as classes 1 to 31: 128, 192, 256, 384, ... 4 MiB.
static inline uint32_t flash_size_of_class(uint32_t size_class) {
    return (size_class & 1 ? 128u : 96u) << ((size_class - 1) / 2 + (size_class & 1 ? 0 : 1));
}
static inline uint32_t flash_size_class(uint32_t bytes) {
    uint32_t size_class = 1;
    while (flash_size_of_class(size_class) < bytes) {
        size_class++;
    }
    return size_class;
}
// At least as many bytes as the record has.
static inline uint32_t flash_entry_bytes_most(uint64_t entry) {
    return flash_size_of_class((uint32_t)(entry >> FLASH_SIZE_SHIFT) & 31);
}

// Brings the bucket nearer in which the hash will be looked up.
static inline void flash_prefetch(const struct flash *flash, uint64_t hash) {
    const struct flash_home *home = flash_home_at(flash, flash_home_number(flash->index, hash));
    __builtin_prefetch(&home->words[0]);
    __builtin_prefetch(&home->words[8]);
}
