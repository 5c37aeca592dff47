// The pieces of values, with bounds checked against what may be changing meanwhile.
#include "link/link_find_inline.h"
#include "link/link_value_inline.h"

uint32_t link_value_span(const struct store *store, const struct item *item, uint32_t state,
                         uint32_t class_id, uint32_t offset, const char **place_out) {
    uint32_t sizes = SHARED_LOAD(item->sizes);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, class_id);
    if (!(state & ITEM_LARGE)) {
        const char *value = item_inline_value(item, state, item_key_bytes(sizes));
        uint32_t value_bytes = item_inline_value_bytes(sizes);
        *place_out = value + offset;
        bool is_inside = (uint64_t)(value - (const char *)item) + value_bytes <= chunk_bytes;
        return is_inside && offset < value_bytes ? value_bytes - offset : 0;
    }
    const struct item_large *large = item_large_of(item, state);
    uint32_t value_bytes = item_load32(&large->value_bytes);
    uint32_t payload = link_part_payload_bytes(store);
    uint32_t part = offset / payload;
    uint64_t ref_end =
        item_large_offset(state, item_key_bytes(sizes)) + sizeof *large + (part + 1ull) * 4;
    if (offset >= value_bytes || ref_end > chunk_bytes || part >= item_load32(&large->part_count)) {
        return 0;
    }
    uint32_t ref = item_load32(&large->parts[part]);
    uint32_t part_start = part * payload;
    uint32_t part_bytes = value_bytes - part_start < payload ? value_bytes - part_start : payload;
    if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
        return 0;
    }
    *place_out = slab_chunk(&store->slab, ref) + ITEM_HEADER_BYTES + (offset - part_start);
    return part_bytes - (offset - part_start);
}

uint32_t link_part_bytes(const struct store *store, uint32_t value_bytes, uint32_t part) {
    uint32_t payload = link_part_payload_bytes(store);
    uint32_t left = value_bytes - part * payload;
    return left < payload ? left : payload;
}

bool link_parts_fit(const struct store *store, const struct item *item, uint32_t state,
                    uint32_t class_id) {
    uint32_t offset = item_large_offset(state, item_key_bytes(SHARED_LOAD(item->sizes)));
    const struct item_large *large = item_large_of(item, state);
    uint32_t value_bytes = item_load32(&large->value_bytes);
    uint32_t parts = item_load32(&large->part_count);
    uint64_t payload = link_part_payload_bytes(store);
    if (offset + sizeof *large + parts * 4ull > slab_chunk_bytes(&store->slab, class_id)
        || parts != (value_bytes + payload - 1) / payload) {
        return false;
    }
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t ref = item_load32(&large->parts[i]);
        if (ref == 0 || ref >= store->ref_end
            || slab_chunk_bytes(&store->slab, slab_class_of(&store->slab, ref))
                   < ITEM_HEADER_BYTES + link_part_bytes(store, value_bytes, i)) {
            return false;
        }
    }
    return true;
}
