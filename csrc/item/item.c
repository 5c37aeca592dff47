// Sizes of items.
#include "item/item_inline.h"

uint32_t item_value_bytes(const struct item *item, uint32_t state) {
    return state & ITEM_LARGE ? item_large_of(item, state)->value_bytes
                              : item_inline_value_bytes(item->sizes);
}

uint64_t item_total_bytes(const struct item *item, uint32_t state) {
    uint32_t key_bytes = item_key_bytes(item->sizes);
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        return item_large_offset(state, key_bytes) + sizeof *large
               + (uint64_t)large->part_count * (sizeof(uint32_t) + ITEM_HEADER_BYTES)
               + large->value_bytes;
    }
    return ITEM_HEADER_BYTES + item_optional_bytes(state) + key_bytes
           + item_inline_value_bytes(item->sizes);
}
