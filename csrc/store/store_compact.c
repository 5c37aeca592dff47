// Compaction: going through a page on flash and keeping what is still wanted.
#include "store/store_batch_internal.h"

// The records of damaged ranges cannot be found; their entries go with a sweep.
struct compaction {
    struct store *store;
    struct store_batch *batch;
    const struct store_compaction *rules;
    struct store_compact_result *out;
};

// Copies the record into the batch. Returns false when there is no room in it.
static bool rescue(struct compaction *work, const struct flash_record *record, const struct store_image *image,
                   uint64_t hash, uint64_t entry) {
    struct store_batch *batch = work->batch;
    uint32_t bytes = flash_record_bytes(record);
    char *room = batch && batch->count < STORE_BATCH_RECORDS ? flash_buffer_room(batch->buffer, bytes) : NULL;
    if (!room) {
        return false;
    }
    memcpy(room, record, bytes);
    if (entry & FLASH_READ_BIT) {
        // The new entry begins unread; that somebody fetched the item stays known.
        struct item *item = (struct item *)flash_record_image((struct flash_record *)room);
        item->state |= ITEM_FETCHED;
    }
    uint64_t to = flash_buffer_add(batch->buffer, bytes);
    uint64_t order = item_order(image->item);
    flash_buffer_note(batch->buffer, store_full_order(work->store, order), item_expiry(image->item, image->state));
    batch->notes[batch->count++] = (struct batch_note){.hash = hash, .address = to, .record_bytes = bytes,
                                                       .order = order,
                                                       .from_address = flash_entry_address(work->store->flash, entry)};
    work->out->rescued++;
    work->out->rescued_bytes += bytes;
    return true;
}

// Decides about one record. Returns false when the batch is full.
static bool judge(struct compaction *work, const struct flash_record *record, uint64_t address) {
    struct store *store = work->store;
    struct store_image image;
    if (!store_image_of(record, &image)) {
        return true;
    }
    uint64_t hash = store_hash(store, image.key, image.key_bytes);
    uint64_t entry = flash_entry_at(store->flash, store->proc, hash, address);
    if (!entry) {
        return true;
    }
    if (store_image_is_dead(store, &image)) {
        work->out->dead += flash_remove(store->flash, store->proc, hash, address);
        return true;
    }
    if (work->rules->read_only && !(entry & FLASH_READ_BIT)) {
        work->out->dropped += flash_remove(store->flash, store->proc, hash, address);
        return true;
    }
    return rescue(work, record, &image, hash, entry);
}

void store_compact_step(struct store *store, struct flash_scan *scan, struct store_batch *batch,
                        const struct store_compaction *rules, uint32_t records, struct store_compact_result *out) {
    struct compaction work = {store, batch, rules, out};
    struct store_flash_local *local = store->on_flash;
    *out = (struct store_compact_result){0};
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
            out->needs_batch = true;
            break;
        }
        local->waiting = NULL;
    }
    count(store->proc, COUNTER_ext_compact_rescues, out->rescued);
    count(store->proc, COUNTER_ext_compact_skipped, out->dropped);
}

void store_compact_stop(struct store *store) {
    store->on_flash->waiting = NULL;
}

bool store_flash_page_is_dead(const struct store *store, uint32_t page) {
    const struct flash_page *row = &store->flash->pages[page];
    if (row->state != FLASH_PAGE_FULL) {
        return false;
    }
    return row->newest_order <= SHARED_LOAD(store->header->flush_order)
           || (row->expires_seconds && row->expires_seconds <= store->proc->now_seconds);
}
