// Compaction: going through a page on flash and keeping what is still wanted.
#include "space/space_copy_inline.h"
#include "tier/tier.h"

// The records of damaged ranges cannot be found; their entries go with a sweep.
struct compaction {
    struct store *store;
    int bucket;
    const struct tier_compaction *rules;
    struct tier_compact_result *out;
};

// Copies the record into a write buffer, where its entry names it from then on. Returns false when
// no buffer has room.
static bool rescue(struct compaction *work, const struct flash_record *record,
                   const struct link_image *image, uint64_t hash, uint64_t entry) {
    struct store *store = work->store;
    uint32_t bytes = flash_record_bytes(record);
    struct flash_place place;
    if (!flash_place_take(store->flash, store->proc, work->bucket, bytes, &place)) {
        return false;
    }
    racy_write(place.memory, record, bytes);
    if (entry & FLASH_READ_BIT) {
        // The new entry begins unread; that somebody fetched the item stays known.
        struct item *item = (struct item *)flash_record_image((struct flash_record *)place.memory);
        SHARED_STORE(item->state, (uint16_t)(item->state | ITEM_FETCHED));
    }
    flash_place_fill(store->flash, &place, bytes, link_full_order(store, item_order(image->item)),
                     item_expiry(image->item, image->state));
    FAULT_POINT(store->proc, "store.copy.rescued");
    bool is_moved = flash_move(store->flash, store->proc, hash,
                               flash_entry_address(store->flash, entry), place.address);
    flash_place_give(store->flash, store->proc);
    work->out->rescued += is_moved;
    work->out->rescued_bytes += is_moved ? bytes : 0;
    count(store->proc, COUNTER_ext_objects_written, is_moved);
    count(store->proc, COUNTER_ext_bytes_written, is_moved ? bytes : 0);
    return true;
}

// Decides about one record. Returns false when no buffer has room for it.
static bool judge(struct compaction *work, const struct flash_record *record, uint64_t address) {
    struct store *store = work->store;
    struct link_image image;
    if (!link_image_of(record, &image)) {
        return true;
    }
    uint64_t hash = link_hash(store, image.key, image.key_bytes);
    uint64_t entry = flash_entry_at(store->flash, store->proc, hash, address);
    // This look saves the copying of what is gone; flash_move() finds out for itself.
    if (!entry) {
        return true;
    }
    if (link_image_is_dead(store, &image)) {
        work->out->dead += flash_remove(store->flash, store->proc, hash, address);
        return true;
    }
    if (work->rules->read_only && !(entry & FLASH_READ_BIT)) {
        work->out->dropped += flash_remove(store->flash, store->proc, hash, address);
        return true;
    }
    return rescue(work, record, &image, hash, entry);
}

void tier_compact_step(struct store *store, struct flash_scan *scan, int bucket,
                       const struct tier_compaction *rules, uint32_t records,
                       struct tier_compact_result *out) {
    struct compaction work = {store, bucket, rules, out};
    struct link_flash_local *local = store->on_flash;
    *out = (struct tier_compact_result){0};
    for (uint32_t i = 0; i < records; i++) {
        const struct flash_record *record = local->waiting;
        uint64_t address = local->waiting_address;
        if (!record) {
            record = flash_scan_next(scan, &address);
        }
        if (!record) {
            out->needs_load = true;
            break;
        }
        if (!judge(&work, record, address)) {
            local->waiting = record;
            local->waiting_address = address;
            out->needs_buffer = true;
            break;
        }
        local->waiting = NULL;
    }
    count(store->proc, COUNTER_ext_compact_rescues, out->rescued);
    count(store->proc, COUNTER_ext_compact_skipped, out->dropped);
}

void tier_compact_stop(struct store *store) {
    store->on_flash->waiting = NULL;
}

bool tier_page_is_dead(const struct store *store, uint32_t page) {
    const struct flash_page *row = &store->flash->pages[page];
    if (row->state != FLASH_PAGE_FULL) {
        return false;
    }
    return row->newest_order <= SHARED_LOAD(store->header->flush_order)
           || (row->expires_seconds && row->expires_seconds <= store->proc->now_seconds);
}
