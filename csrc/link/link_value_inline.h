// The pieces of a value: one in the item itself, or one in each part.
#pragma once

#include "link/link_handle_inline.h"

static inline uint32_t link_part_payload_bytes(const struct store *store) {
    return slab_chunk_bytes(&store->slab, store->part_class) - ITEM_HEADER_BYTES;
}

// How many bytes of a large value are in its part number `part`.
uint32_t link_part_bytes(const struct store *store, uint32_t value_bytes, uint32_t part);

// One piece of a value: inline values have one, large ones a piece per part. Bounds are checked,
// contents may be changing: the caller checks the version. Returns the bytes at *place_out, 0 past
// the end.
uint32_t link_value_span(const struct store *store, const struct item *item, uint32_t state,
                         uint32_t class_id, uint32_t offset, const char **place_out);
// Lets the parts of a large item know that it is in this chunk now; for others it does nothing.
void link_take_parts_over(struct store *store, uint32_t ref);
