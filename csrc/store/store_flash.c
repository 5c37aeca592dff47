// Keys whose value is on flash: finding entries, looking at records, bringing items back to memory.
#include "store/store_flash.h"

#include <stdlib.h>

#include "flash/flash_compress.h"
#include "flash/flash_reader.h"
#include "store/store_flash_internal.h"
#include "store/store_txn_inline.h"

int store_flash_open(struct store *store) {
    if (!store->flash) {
        return PYMC_OK;
    }
    store->on_flash = aligned_alloc(64, (sizeof *store->on_flash + 63) & ~(size_t)63);
    if (!store->on_flash) {
        return PYMC_NO_MEMORY;
    }
    *store->on_flash = (struct store_flash_local){0};
    return PYMC_OK;
}

void store_flash_close(struct store *store) {
    if (store->on_flash) {
        free(store->on_flash->unpacked.bytes);
        free(store->on_flash->packed.bytes);
        free(store->on_flash);
    }
}

bool store_flash_room(struct store_flash_space *space, uint32_t bytes) {
    if (bytes > space->size) {
        char *larger = realloc(space->bytes, bytes);
        if (!larger) {
            return false;
        }
        space->bytes = larger;
        space->size = bytes;
    }
    return true;
}

uint64_t store_flash_entry(struct store *store, uint64_t hash) {
    const struct store_flash_local *local = store->on_flash;
    uint64_t entries[FLASH_CANDIDATES_MAX];
    uint32_t found = flash_find(store->flash, store->proc, hash, entries);
    for (uint32_t i = 0; i < found; i++) {
        bool is_ruled_out = false;
        for (uint32_t k = 0; k < local->ruled_out_count; k++) {
            is_ruled_out |= flash_entry_address(store->flash, entries[i]) == local->ruled_out[k];
        }
        if (!is_ruled_out) {
            return entries[i];
        }
    }
    return 0;
}

bool store_may_be_on_flash(struct store *store, uint64_t hash) {
    return store->flash && store_flash_entry(store, hash) != 0;
}

void store_pass_by(struct store *store, uint64_t entry) {
    struct store_flash_local *local = store->on_flash;
    if (local->ruled_out_count < FLASH_CANDIDATES_MAX) {
        local->ruled_out[local->ruled_out_count++] = flash_entry_address(store->flash, entry);
    }
}

void store_rule_out(struct store *store, uint64_t entry) {
    store_pass_by(store, entry);
    count(store->proc, COUNTER_ext_other_key, 1);
}

void store_flash_forget(struct store *store, uint64_t entry, uint64_t hash) {
    flash_remove(store->flash, store->proc, hash, flash_entry_address(store->flash, entry));
}

void store_rule_out_none(struct store *store) {
    if (store->on_flash) {
        store->on_flash->ruled_out_count = 0;
    }
}

uint32_t store_spoil_copy(struct store *store, struct item *item, uint32_t state, uint64_t hash) {
    if (!store->flash) {
        return state;
    }
    if (!item) {
        flash_remove_all(store->flash, store->proc, hash);
        return 0;
    }
    if (state & ITEM_ON_FLASH) {
        flash_remove_all(store->flash, store->proc, hash);
        FAULT_POINT(store->proc, "store.copy.spoilt");
        store_count_copy(store, item_order(item), -1);
        state &= ~(uint32_t)ITEM_ON_FLASH;
        item_set_state(item, state);
    }
    return state;
}

// Sets *value_out to the value as the client gave it, NULL when it is damaged all the same. Returns
// false without memory for it.
static bool unpack(struct store *store, const struct store_image *image, const char **value_out) {
    struct store_flash_space *space = &store->on_flash->unpacked;
    *value_out = image->value;
    if (!image->is_compressed) {
        return true;
    }
    if (!store_flash_room(space, image->value_bytes)) {
        count(store->proc, COUNTER_malloc_fails, 1);
        return false;
    }
    bool is_whole =
        flash_decompress(image->value, image->stored_bytes, space->bytes, image->value_bytes);
    *value_out = is_whole ? space->bytes : NULL;
    return true;
}

// The record is of no use: its entry goes. Returns the outcome for the key.
static int give_up(struct store *store, const struct flash_read *read, uint64_t hash,
                   enum counter counter) {
    if (!flash_remove(store->flash, store->proc, hash, read->address)) {
        return STORE_NOT_STORED;
    }
    count(store->proc, counter, 1);
    return STORE_MISS;
}

int store_flash_view(struct store *store, const struct flash_read *read, const char *key,
                     uint32_t key_bytes, uint64_t hash, struct store_view *view) {
    uint64_t entry = flash_entry_at(store->flash, store->proc, hash, read->address);
    if (!entry) {
        return STORE_NOT_STORED;
    }
    if (!flash_page_is_readable(store->flash, read->page, read->page_version)) {
        // Of a page that is in use again the entry is a new one.
        bool is_reused = SHARED_LOAD(store->flash->pages[read->page].version) != read->page_version;
        return is_reused ? STORE_NOT_STORED
                         : give_up(store, read, hash, COUNTER_miss_from_extstore);
    }
    if (read->result == FLASH_READ_REFUSED) {
        return STORE_NO_MEMORY;
    }
    if (read->result != FLASH_READ_GOOD) {
        return give_up(store, read, hash,
                       read->result == FLASH_READ_CORRUPT ? COUNTER_badcrc_from_extstore
                                                          : COUNTER_miss_from_extstore);
    }
    struct store_image image;
    if (!store_image_of(read->record, &image)) {
        return give_up(store, read, hash, COUNTER_badcrc_from_extstore);
    }
    if (image.key_bytes != key_bytes || memcmp(image.key, key, key_bytes) != 0) {
        return STORE_NOT_FOUND;
    }
    uint32_t state =
        image.state | (entry & FLASH_READ_BIT ? ITEM_FETCHED : 0) | QUEUE_COLD << ITEM_QUEUE_SHIFT;
    uint64_t bytes =
        ITEM_HEADER_BYTES + item_optional_bytes(state) + key_bytes + (uint64_t)image.value_bytes;
    uint32_t class_id = bytes < SLAB_PAGE_BYTES ? store_class_for(store, (uint32_t)bytes) : 0;
    *view = (struct store_view){.home = &store->on_flash->stable,
                                .item = image.item,
                                .state = state,
                                .class_id = class_id ? class_id : store->largest_class,
                                .time_seconds = image.item->time_seconds,
                                .expiry_seconds = item_expiry(image.item, state),
                                .client_flags = item_client_flags(image.item, state),
                                .value_bytes = image.value_bytes,
                                .key_bytes = key_bytes,
                                .order = item_order(image.item),
                                .cas = store_cas_of(store, image.item, state)};
    bool is_flushed = store_is_flushed(store, view->order);
    if (is_flushed || store_is_expired(store, view->expiry_seconds)) {
        flash_remove(store->flash, store->proc, hash, read->address);
        return is_flushed ? STORE_MISS_FLUSHED : STORE_MISS_EXPIRED;
    }
    if (!unpack(store, &image, &view->value)) {
        return STORE_NO_MEMORY;
    }
    return view->value ? STORE_HIT : give_up(store, read, hash, COUNTER_badcrc_from_extstore);
}

bool store_flash_note_read(struct store *store, const struct flash_read *read,
                           const struct store_view *view, uint64_t hash) {
    // Being fetched in memory, before it was written, is not being read on flash: only the entry
    // tells.
    bool is_read_again = flash_mark_read(store->flash, store->proc, hash, read->address);
    uint64_t rate = (uint64_t)live_get(store->arena, LIVE_ext_recache_rate);
    if (!is_read_again || rate == 0 || ++store->on_flash->reads_since_recache < rate) {
        return false;
    }
    store->on_flash->reads_since_recache = 0;
    return true;
}

// Fills a new item from the view, in hand when its claim is STORE_NO_CLAIM. Returns false without
// memory, counted; then nothing is held.
static bool make(struct store *store, const struct store_write *write,
                 const struct store_view *view, uint32_t extra_state, struct store_making *making) {
    struct store_shape shape;
    if (store_shape_of(store, write, view->value_bytes, extra_state, &shape) != STORE_STORED) {
        return false;
    }
    if (shape.is_large) {
        if (store_begin(store, write, making) != STORE_HIT) {
            return false;
        }
        if (!store_take_parts(store, making)) {
            store_give_up(store, write, making);
            return false;
        }
        char *place;
        uint32_t fits;
        while ((fits = store_making_span(store, making, &place)) > 0) {
            racy_write(place, view->value + making->filled_bytes, fits);
            making->filled_bytes += fits;
        }
        struct item *item = store_item(store, making->ref);
        item_set_state(item, item_state_of(item) | extra_state);
        return true;
    }
    *making = (struct store_making){.claim = STORE_NO_CLAIM,
                                    .ref = store_take_room(store, shape.total_bytes)};
    if (!making->ref) {
        store_refused(store, COUNTER_oom_no_victim);
        return false;
    }
    store_fill_head(store, making->ref, write, view->value_bytes, &shape);
    racy_write((char *)store_item(store, making->ref) + shape.head_bytes, view->value,
               view->value_bytes);
    return true;
}

static void abandon(struct store *store, struct store_making *making) {
    if (making->claim == STORE_NO_CLAIM) {
        store_give_hand(store);
    } else {
        store_abandon(store, making);
    }
}

int store_bring_back(struct store *store, const struct flash_read *read,
                     const struct store_view *view, const char *key, uint64_t hash) {
    struct store_write write = {.key = key,
                                .key_bytes = view->key_bytes,
                                .mode = STORE_ADD,
                                .client_flags = view->client_flags,
                                .expiry_seconds = view->expiry_seconds,
                                .value_bytes = view->value_bytes,
                                .is_uncounted = true,
                                .key_is_binary = view->state & ITEM_BINARY_KEY};
    uint32_t kept = (view->state & IMAGE_STATE_MASK) | ITEM_ON_FLASH;
    struct store_making making = {.ref = 0};
    if (!make(store, &write, view, kept, &making)) {
        return STORE_NO_MEMORY;
    }
    FAULT_POINT(store->proc, "store.back.made");
    struct store_locked locked;
    if (!store_lock(store, key, view->key_bytes, hash, &locked)) {
        abandon(store, &making);
        return STORE_BUSY;
    }
    bool is_current = !locked.item && flash_entry_at(store->flash, store->proc, hash, read->address)
                      && flash_page_is_readable(store->flash, read->page, read->page_version);
    if (!is_current) {
        store_unlock(store, &locked, false);
        abandon(store, &making);
        return STORE_NOT_STORED;
    }
    // Second and order number stay those of the record: it is not younger than it was.
    SHARED_STORE(store_item(store, making.ref)->time_seconds, view->time_seconds);
    uint32_t claim_plus_one = making.claim == STORE_NO_CLAIM ? 0 : making.claim + 1;
    struct item_numbers numbers = {view->order, view->cas};
    if (store_link_and_unlock(store, &locked, making.ref, claim_plus_one, hash, numbers)
        != PYMC_OK) {
        abandon(store, &making);
        return STORE_BUSY;
    }
    // The command that wanted it here must still find it after it has made room for what it does.
    store->needed_ref = making.ref;
    store_count_copy(store, view->order, 1);
    count(store->proc, COUNTER_ext_brought_back, 1);
    return STORE_STORED;
}

int store_flash_delete(struct store *store, const struct flash_read *read,
                       const struct store_view *view, const char *key, uint64_t hash) {
    struct store_locked locked;
    if (!store_lock(store, key, view->key_bytes, hash, &locked)) {
        return STORE_BUSY;
    }
    bool is_gone = !locked.item
                   && flash_page_is_readable(store->flash, read->page, read->page_version)
                   && flash_remove(store->flash, store->proc, hash, read->address);
    store_unlock(store, &locked, false);
    if (!is_gone) {
        return STORE_NOT_STORED;
    }
    class_count(store, view->class_id, CLASS_delete_hits, 1);
    return STORE_DELETED;
}
