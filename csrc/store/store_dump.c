// Dump lines of live items: metadump, mgdump, cachedump.
#include <stdio.h>

#include "base/base64.h"
#include "store/store_flash_internal.h"
#include "store/store_writeout.h"

#define LINE_BYTES_MAX 2048

static uint32_t put_text(char *place, const char *text) {
    size_t bytes = strlen(text);
    memcpy(place, text, bytes);
    return (uint32_t)bytes;
}

static uint32_t put_uri(char *place, const char *key, uint32_t key_bytes) {
    static const char hex[] = "0123456789ABCDEF";
    uint32_t at = 0;
    for (uint32_t i = 0; i < key_bytes; i++) {
        unsigned char c = (unsigned char)key[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.'
            || c == '_' || c == '~') {
            place[at++] = (char)c;
        } else {
            place[at++] = '%';
            place[at++] = hex[c >> 4];
            place[at++] = hex[c & 15];
        }
    }
    return at;
}

struct dump {
    struct store *store;
    int kind;
    char *place;
    uint32_t used;
};

static uint32_t dump_line(struct dump *dump, const struct store_locked *locked, char *line) {
    struct store *store = dump->store;
    const struct item *item = locked->item;
    uint32_t state = locked->state;
    const char *key = item_key(item, state);
    uint32_t key_bytes = item_key_bytes(item->sizes);
    uint32_t expiry = item_expiry(item, state);
    int64_t epoch = arena_epoch_unix_seconds(store->arena);
    uint32_t at;
    if (dump->kind == STORE_DUMP_MG) {
        at = put_text(line, "mg ");
        if (state & ITEM_BINARY_KEY) {
            at += base64_encode(line + at, key, key_bytes);
            return at + put_text(line + at, " b\r\n");
        }
        memcpy(line + at, key, key_bytes);
        return at + key_bytes + put_text(line + at + key_bytes, "\r\n");
    }
    if (dump->kind == STORE_DUMP_CACHE) {
        at = put_text(line, "ITEM ");
        memcpy(line + at, key, key_bytes);
        at += key_bytes;
        return at + (uint32_t)snprintf(line + at, 128, " [%u b; %lld s]\r\n", store_value_bytes(item, state),
                                       expiry ? (long long)(epoch + expiry) : 0);
    }
    at = put_text(line, "key=");
    at += put_uri(line + at, key, key_bytes);
    at += (uint32_t)snprintf(line + at, 256, " exp=%lld la=%lld cas=%llu fetch=%s cls=%u size=%llu",
                             expiry ? (long long)(epoch + expiry) : -1LL,
                             (long long)(epoch + item->time_seconds),
                             (unsigned long long)store_cas_of(store, item, state),
                             state & ITEM_FETCHED ? "yes" : "no", locked->class_id,
                             (unsigned long long)store_item_bytes(store, item, state));
    at += (uint32_t)snprintf(line + at, 32, " flags=%u", item_client_flags(item, state));
    line[at++] = '\n';
    return at;
}

static void dump_chunk(struct dump *dump, uint32_t ref) {
    const struct item *item = store_item(dump->store, ref);
    uint32_t state = item_state_of(item);
    struct store_locked locked;
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED || !store_lock_ref(dump->store, ref, &locked)) {
        return;
    }
    if (!locked.is_dead) {
        dump->used += dump_line(dump, &locked, dump->place + dump->used);
    }
    store_unlock(dump->store, &locked, false);
}

uint32_t store_dump_step(struct store *store, struct store_cursor *cursor, int kind, uint32_t chunks,
                         const uint64_t *class_mask, char *place, uint32_t place_bytes, bool *more_out) {
    struct dump dump = {.store = store, .kind = kind, .place = place};
    uint32_t pages = SHARED_LOAD(store->slab.root->pages_begun);
    if (cursor->page == 0) {
        cursor->page = 1;
    }
    while (cursor->page <= pages && chunks > 0 && dump.used + LINE_BYTES_MAX <= place_bytes) {
        struct slab_window window;
        uint32_t class_id;
        slab_page_window(&store->slab, cursor->page, &window, &class_id);
        bool wanted = !class_mask || (class_mask[class_id / 64] >> class_id % 64 & 1);
        chunks--;
        if (!wanted || cursor->chunk >= window.count) {
            cursor->page++;
            cursor->chunk = 0;
            continue;
        }
        uint32_t before = dump.used;
        dump_chunk(&dump, slab_ref(&store->slab, cursor->page, cursor->chunk++, window.chunk_bytes));
        cursor->items_seen += dump.used != before;
    }
    *more_out = cursor->page <= pages;
    return dump.used;
}

static void dump_record(struct dump *dump, const struct flash_record *record, uint64_t address) {
    struct store *store = dump->store;
    struct store_image image;
    struct store_view view;
    if (!store_image_of(record, &image) || store_image_is_dead(store, &image)) {
        return;
    }
    uint64_t hash = store_hash(store, image.key, image.key_bytes);
    uint64_t entry = flash_entry_at(store->flash, store->proc, hash, address);
    // What is in memory as well was dumped from there.
    if (!entry || store_find(store, image.key, image.key_bytes, hash, &view) == STORE_HIT) {
        return;
    }
    uint64_t bytes = ITEM_HEADER_BYTES + item_optional_bytes(image.state) + image.key_bytes + image.value_bytes;
    struct store_locked locked = {.item = (struct item *)image.item,
                                  .state = image.state | (entry & FLASH_READ_BIT ? ITEM_FETCHED : 0)};
    locked.class_id = bytes < SLAB_PAGE_BYTES ? store_class_for(store, (uint32_t)bytes) : 0;
    locked.class_id = locked.class_id ? locked.class_id : store->largest_class;
    dump->used += dump_line(dump, &locked, dump->place + dump->used);
}

uint32_t store_flash_dump_step(struct store *store, struct flash_scan *scan, int kind, char *place,
                               uint32_t place_bytes, bool *more_out) {
    struct dump dump = {.store = store, .kind = kind, .place = place};
    *more_out = true;
    while (dump.used + LINE_BYTES_MAX <= place_bytes) {
        uint64_t address;
        const struct flash_record *record = flash_scan_next(scan, &address);
        if (!record) {
            *more_out = false;
            break;
        }
        dump_record(&dump, record, address);
    }
    return dump.used;
}
