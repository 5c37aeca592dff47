// Dumps of items that are on flash only.
#include "link/link_copy_inline.h"
#include "link/link_image_inline.h"
#include "store/store_dump_inline.h"
#include "tier/tier.h"

// Writes the record's line, if its item is on flash alone. Returns the line's length.
static uint32_t dump_record(struct store *store, const struct flash_record *record,
                            uint64_t address, int kind, char *line) {
    struct link_image image;
    struct link_view view;
    if (!link_image_of(record, &image) || link_image_is_dead(store, &image)) {
        return 0;
    }
    uint64_t hash = link_hash(store, image.key, image.key_bytes);
    uint64_t entry = flash_entry_at(store->flash, store->proc, hash, address);
    // What is in memory as well was dumped from there.
    if (!entry || link_find(store, image.key, image.key_bytes, hash, &view) == STORE_HIT) {
        return 0;
    }
    uint64_t bytes =
        ITEM_HEADER_BYTES + item_optional_bytes(image.state) + image.key_bytes + image.value_bytes;
    const struct item *item = (const struct item *)image.item;
    uint32_t class_id = bytes < SLAB_PAGE_BYTES ? link_class_for(store, (uint32_t)bytes) : 0;
    struct store_dump_entry entry_line = {
        .key = image.key,
        .key_bytes = image.key_bytes,
        .state = image.state | (entry & FLASH_READ_BIT ? ITEM_FETCHED : 0),
        .class_id = class_id ? class_id : store->largest_class,
        .time_seconds = item->time_seconds,
        .expiry_seconds = item_expiry(item, image.state),
        .client_flags = item_client_flags(item, image.state),
        .cas = link_cas_of(store, item, image.state),
        .value_bytes = item_value_bytes(item, image.state),
        .item_bytes = item_total_bytes(item, image.state),
    };
    return store_dump_line(store, &entry_line, kind, line);
}

uint32_t tier_dump_step(struct store *store, struct flash_scan *scan, int kind, char *place,
                        uint32_t place_bytes, bool *more_out) {
    uint32_t used = 0;
    *more_out = true;
    while (used + STORE_DUMP_LINE_BYTES_MAX <= place_bytes) {
        uint64_t address;
        const struct flash_record *record = flash_scan_next(scan, &address);
        if (!record) {
            *more_out = false;
            break;
        }
        used += dump_record(store, record, address, kind, place + used);
    }
    return used;
}
