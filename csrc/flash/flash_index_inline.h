// The bits of an index entry, see flash_index.h, that the rooms above look at.
#pragma once

#include "flash/flash_index.h"
#include "flash/flash_inline.h"

#define FLASH_READ_BIT (1ull << 41)

static inline uint64_t flash_entry_address(const struct flash *flash, uint64_t entry) {
    return entry & flash->address_mask;
}
