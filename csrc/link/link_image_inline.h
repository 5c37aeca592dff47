// The image of an item in a record on flash, taken apart.
#pragma once

#include "flash/flash_record_inline.h"
#include "link/link_handle_inline.h"

// State bits that an item keeps on flash.
#define IMAGE_STATE_MASK                                                                           \
    (ITEM_EXPIRES | ITEM_CLIENT_FLAGS | ITEM_OWN_CAS | ITEM_BINARY_KEY | ITEM_STALE                \
     | ITEM_TOKEN_SENT | ITEM_FETCHED)

// A record taken apart, every length checked against its size.
struct link_image {
    const struct item *item;
    const char *key;
    const char *value;    // As stored.
    uint32_t state;
    uint32_t key_bytes;
    uint32_t stored_bytes;    // Of the value in the record ...
    uint32_t value_bytes;     // ... and of the value itself.
    bool is_compressed;
};
// False when the record is none of an item.
static inline bool link_image_of(const struct flash_record *record, struct link_image *out) {
    uint32_t image_bytes = flash_record_bytes(record) - (uint32_t)sizeof *record;
    const struct item *item = (const struct item *)flash_record_image(record);
    if (flash_record_bytes(record) < sizeof *record + ITEM_HEADER_BYTES) {
        return false;
    }
    uint32_t state = item->state & IMAGE_STATE_MASK;
    uint32_t head_bytes =
        ITEM_HEADER_BYTES + item_optional_bytes(state) + item_key_bytes(item->sizes);
    if (head_bytes > image_bytes || item_key_bytes(item->sizes) == 0) {
        return false;
    }
    *out = (struct link_image){.item = item,
                               .key = item_key(item, state),
                               .state = state,
                               .value = (const char *)item + head_bytes,
                               .key_bytes = item_key_bytes(item->sizes),
                               .stored_bytes = image_bytes - head_bytes,
                               .value_bytes = item_inline_value_bytes(item->sizes),
                               .is_compressed = record->sizes & FLASH_RECORD_COMPRESSED};
    return out->is_compressed || out->stored_bytes == out->value_bytes;
}

static inline bool link_image_is_dead(const struct store *store, const struct link_image *image) {
    return link_is_expired(store, item_expiry(image->item, image->state))
           || link_is_flushed(store, item_order(image->item));
}
