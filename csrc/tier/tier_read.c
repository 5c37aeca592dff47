// Keys whose value is on flash: looking at records, bringing items back to memory, deleting.
#include <string.h>

#include "flash/flash_compress.h"
#include "flash/flash_reader.h"
#include "link/link_copy_inline.h"
#include "link/link_image_inline.h"
#include "space/space_take_inline.h"
#include "store/store_shape_inline.h"
#include "tier/tier_read.h"

// Sets *value_out to the value as the client gave it, NULL when it is damaged all the same. Returns
// false without memory for it.
static bool unpack(struct store *store, const struct link_image *image, const char **value_out) {
    struct link_scratch *space = &store->on_flash->unpacked;
    *value_out = image->value;
    if (!image->is_compressed) {
        return true;
    }
    if (!link_scratch_room(space, image->value_bytes)) {
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
        return STORE_LOOK_AGAIN;
    }
    count(store->proc, counter, 1);
    return STORE_MISS;
}

int tier_view(struct store *store, const struct flash_read *read, const char *key,
              uint32_t key_bytes, uint64_t hash, struct link_view *view) {
    uint64_t entry = flash_entry_at(store->flash, store->proc, hash, read->address);
    if (!entry) {
        return STORE_LOOK_AGAIN;
    }
    if (!flash_page_is_readable(store->flash, read->page, read->page_version)) {
        // Of a page that is in use again the entry is a new one.
        bool is_reused = SHARED_LOAD(store->flash->pages[read->page].version) != read->page_version;
        return is_reused ? STORE_LOOK_AGAIN
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
    struct link_image image;
    if (!link_image_of(read->record, &image)) {
        return give_up(store, read, hash, COUNTER_badcrc_from_extstore);
    }
    if (image.key_bytes != key_bytes || memcmp(image.key, key, key_bytes) != 0) {
        return STORE_OTHER_KEY;
    }
    uint32_t state =
        image.state | (entry & FLASH_READ_BIT ? ITEM_FETCHED : 0) | QUEUE_COLD << ITEM_QUEUE_SHIFT;
    uint64_t bytes =
        ITEM_HEADER_BYTES + item_optional_bytes(state) + key_bytes + (uint64_t)image.value_bytes;
    uint32_t class_id = bytes < SLAB_PAGE_BYTES ? link_class_for(store, (uint32_t)bytes) : 0;
    *view = (struct link_view){.home = &store->on_flash->stable,
                               .item = image.item,
                               .state = state,
                               .class_id = class_id ? class_id : store->largest_class,
                               .time_seconds = image.item->time_seconds,
                               .expiry_seconds = item_expiry(image.item, state),
                               .client_flags = item_client_flags(image.item, state),
                               .value_bytes = image.value_bytes,
                               .key_bytes = key_bytes,
                               .order = item_order(image.item),
                               .cas = link_cas_of(store, image.item, state)};
    bool is_flushed = link_is_flushed(store, view->order);
    if (is_flushed || link_is_expired(store, view->expiry_seconds)) {
        flash_remove(store->flash, store->proc, hash, read->address);
        return is_flushed ? STORE_MISS_FLUSHED : STORE_MISS_EXPIRED;
    }
    if (!unpack(store, &image, &view->value)) {
        return STORE_NO_MEMORY;
    }
    return view->value ? STORE_HIT : give_up(store, read, hash, COUNTER_badcrc_from_extstore);
}

bool tier_note_read(struct store *store, const struct flash_read *read,
                    const struct link_view *view, uint64_t hash) {
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

// Fills a new item from the view, in hand when its claim is LINK_NO_CLAIM. Returns false without
// memory, counted; then nothing is held.
static bool make(struct store *store, const struct store_write *write, const struct link_view *view,
                 uint32_t extra_state, struct store_making *making) {
    struct store_shape shape;
    if (store_shape_of(store, write, view->value_bytes, extra_state, &shape) != STORE_STORED) {
        return false;
    }
    if (shape.is_large) {
        if (store_begin(store, write, making) != STORE_ROOM_MADE) {
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
        struct item *item = link_item(store, making->ref);
        item_set_state(item, item_state_of(item) | extra_state);
        return true;
    }
    *making = (struct store_making){.claim = LINK_NO_CLAIM,
                                    .ref = space_take_room(store, shape.total_bytes)};
    if (!making->ref) {
        space_refused(store, COUNTER_oom_no_victim);
        return false;
    }
    store_fill_head(store, making->ref, write, view->value_bytes, &shape);
    racy_write((char *)link_item(store, making->ref) + shape.head_bytes, view->value,
               view->value_bytes);
    return true;
}

// A record whose item is on its way back to memory.
struct bringing {
    struct store *store;
    const struct flash_read *read;
    const struct link_view *view;
    struct item *item;
};

// Whether the key is still on flash alone, and the record the one its entry names.
static bool is_current(void *context, struct link_locked *locked) {
    const struct bringing *work = context;
    const struct store *store = work->store;
    const struct flash_read *read = work->read;
    // Second and order number stay those of the record: it is not younger than it was.
    SHARED_STORE(work->item->time_seconds, work->view->time_seconds);
    return !locked->item && flash_entry_at(store->flash, store->proc, locked->hash, read->address)
           && flash_page_is_readable(store->flash, read->page, read->page_version);
}

int tier_bring_back(struct store *store, const struct flash_read *read,
                    const struct link_view *view, const char *key, uint64_t hash) {
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
    struct bringing work = {store, read, view, link_item(store, making.ref)};
    int outcome = store_replace(
        store, &(struct store_replacement){.key = key,
                                           .key_bytes = view->key_bytes,
                                           .hash = hash,
                                           .ref = making.ref,
                                           .claim_plus_one =
                                               making.claim == LINK_NO_CLAIM ? 0 : making.claim + 1,
                                           .numbers = {view->order, view->cas},
                                           .may_link = is_current,
                                           .context = &work});
    if (outcome != STORE_STORED) {
        return outcome;
    }
    // The command that wanted it here must still find it after it has made room for what it does.
    store->needed_ref = making.ref;
    link_count_copy(store, view->order, 1);
    count(store->proc, COUNTER_ext_brought_back, 1);
    return STORE_STORED;
}

int tier_delete(struct store *store, const struct flash_read *read, const struct link_view *view,
                const char *key, uint64_t hash) {
    struct link_locked locked;
    if (!link_lock(store, key, view->key_bytes, hash, &locked)) {
        return STORE_BUSY;
    }
    bool is_gone = !locked.item
                   && flash_page_is_readable(store->flash, read->page, read->page_version)
                   && flash_remove(store->flash, store->proc, hash, read->address);
    link_unlock(store, &locked, false);
    if (!is_gone) {
        return STORE_LOOK_AGAIN;
    }
    class_count(store, view->class_id, CLASS_delete_hits, 1);
    return STORE_DELETED;
}
