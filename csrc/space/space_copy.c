// Copying an item into a write buffer and letting the index name it.
#include "flash/flash_compress.h"
#include "link/link_value_inline.h"
#include "space/space_copy_inline.h"

// A value is kept compressed when that saves at least this many bytes and an eighth.
#define COMPRESS_SAVES_BYTES 32
// Others wait for the bucket while an item is evicted: what takes long to compress goes as it is.
#define COMPRESS_LOCKED_BYTES_MAX 65536
// Before an item with less to live is on flash it would be gone.
#define TTL_SECONDS_MIN 2

// Copies the value of a viewed item, which may be changing. Returns false when it is shorter than
// it said.
static bool copy_value(const struct store *store, const struct link_view *view, char *place) {
    uint32_t copied = 0;
    while (copied < view->value_bytes) {
        const char *piece;
        uint32_t fits =
            link_value_span(store, view->item, view->state, view->class_id, copied, &piece);
        fits = fits < view->value_bytes - copied ? fits : view->value_bytes - copied;
        if (fits == 0) {
            return false;
        }
        racy_copy(place + copied, piece, fits);
        copied += fits;
    }
    return true;
}

// Header fields, optional ones and key.
#define HEAD_BYTES_MAX (ITEM_HEADER_BYTES + 16 + 256)

// Writes header fields and key of the image; returns its bytes, the place of the value. Look-ups of
// records beside it may read what is written here and drop it.
static uint32_t put_head(const struct link_view *view, const char *key, char *place) {
    uint32_t state = view->state & IMAGE_STATE_MASK;
    _Alignas(struct item) char head[HEAD_BYTES_MAX];
    struct item *item = (struct item *)head;
    *item = (struct item){.time_seconds = view->time_seconds,
                          .sizes = item_pack_sizes(view->value_bytes, view->key_bytes),
                          .state = (uint16_t)state};
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, view->expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, view->client_flags);
    }
    item_set_numbers(item, state, (struct item_numbers){view->order, view->cas});
    memcpy(item_key(item, state), key, view->key_bytes);
    uint32_t bytes = ITEM_HEADER_BYTES + item_optional_bytes(state) + view->key_bytes;
    racy_write(place, head, bytes);
    return bytes;
}

// The value as it will stand in the record.
struct stored_value {
    const char *bytes;    // NULL: as it is in memory.
    uint32_t count;
    uint32_t flag;    // FLASH_RECORD_COMPRESSED or 0.
};

// Compresses a copy of the value if that saves space. False when the value changed.
static bool pack(struct store *store, const struct link_view *view, uint32_t bytes_min,
                 struct stored_value *out) {
    struct link_flash_local *local = store->on_flash;
    uint32_t bytes = view->value_bytes;
    *out = (struct stored_value){.count = bytes};
    bool is_wanted = bytes_min > 0 && bytes >= bytes_min && bytes >= COMPRESS_SAVES_BYTES * 2
                     && !(link_is_locked(view) && bytes > COMPRESS_LOCKED_BYTES_MAX);
    uint32_t room = bytes - bytes / 8;
    room = room < bytes - COMPRESS_SAVES_BYTES ? room : bytes - COMPRESS_SAVES_BYTES;
    if (!is_wanted || !link_scratch_room(&local->packed, bytes + room)) {
        return true;
    }
    char *plain = local->packed.bytes;
    if (!copy_value(store, view, plain)) {
        return false;
    }
    uint32_t stored = flash_compress(plain, bytes, plain + bytes, room);
    count(store->proc, COUNTER_ext_compress_in_bytes, bytes);
    count(store->proc, COUNTER_ext_compress_out_bytes, stored ? stored : bytes);
    *out = stored ? (struct stored_value){plain + bytes, stored, FLASH_RECORD_COMPRESSED}
                  : (struct stored_value){plain, bytes, 0};
    return true;
}

// Whether the rules let the item go to flash, and to which stream.
static enum space_copied admit(const struct store *store, const struct link_view *view,
                               uint64_t hash, const struct space_admission *rules,
                               int *bucket_out) {
    uint32_t now = store->proc->now_seconds;
    uint64_t bytes = ITEM_HEADER_BYTES + item_optional_bytes(view->state) + view->key_bytes
                     + (uint64_t)view->value_bytes;
    uint32_t left = view->expiry_seconds ? view->expiry_seconds - now : UINT32_MAX;
    int32_t idle = (int32_t)(now - view->time_seconds);
    if (bytes < rules->item_bytes_min) {
        return SPACE_COPY_TOO_SMALL;
    }
    if (idle < 0 ? rules->idle_seconds_min > 0 : (uint32_t)idle < rules->idle_seconds_min) {
        return SPACE_COPY_TOO_YOUNG;
    }
    if (left < rules->ttl_seconds_min) {
        return SPACE_COPY_TOO_SHORT_LIVED;
    }
    if (!space_admits_unread(view->state, view->order, hash, rules->unread_percent)) {
        return SPACE_COPY_NEVER_READ;
    }
    if (bytes + sizeof(struct flash_record) > flash_record_bytes_max(store->flash)
        || view->value_bytes > ITEM_VALUE_BYTES_INLINE_MAX) {
        return SPACE_COPY_TOO_LARGE;
    }
    *bucket_out = left < rules->low_ttl_seconds ? FLASH_LOW_TTL
                  : view->state & ITEM_LARGE    ? FLASH_CHUNKED
                                                : FLASH_DEFAULT;
    return SPACE_COPY_DONE;
}

static void count_verdict(struct store *store, enum space_copied verdict) {
    static const uint16_t counters[] = {
        [SPACE_COPY_DONE] = COUNTER_ext_admitted,
        [SPACE_COPY_NO_INDEX] = COUNTER_ext_rejected_index,
        [SPACE_COPY_TOO_SMALL] = COUNTER_ext_rejected_small,
        [SPACE_COPY_TOO_YOUNG] = COUNTER_ext_rejected_young,
        [SPACE_COPY_TOO_SHORT_LIVED] = COUNTER_ext_rejected_ttl,
        [SPACE_COPY_NEVER_READ] = COUNTER_ext_rejected_unread,
        [SPACE_COPY_TOO_LARGE] = COUNTER_ext_rejected_large,
    };
    if (verdict != SPACE_COPY_CLEAN && verdict != SPACE_COPY_NO_ROOM
        && verdict != SPACE_COPY_CHANGED) {
        count(store->proc, (enum counter)counters[verdict], 1);
    }
}

// Lets the index name the record for the item, which is as it was copied: its bucket is locked.
static enum space_copied link_copy(struct store *store, const struct link_view *view, uint64_t hash,
                                   const struct flash_place *place, uint32_t record_bytes) {
    struct item *item = (struct item *)view->item;
    link_notice_flush(store);
    // A copy in a page that was dropped is none any more.
    uint32_t state = view->state & ITEM_ON_FLASH
                         ? link_invalidate_copy(store, item, view->state, hash)
                         : view->state;
    // Of what was flushed nothing goes into the index: what a page holds of it is counted at the
    // flush.
    if (link_is_flushed(store, view->order)) {
        return SPACE_COPY_CHANGED;
    }
    flash_place_fill(store->flash, place, record_bytes, link_full_order(store, view->order),
                     view->expiry_seconds);
    // The mark first: who sees it looks for the entry, and an entry without the mark would outlive
    // the item's changes.
    item_set_state(item, state | ITEM_ON_FLASH);
    FAULT_POINT(store->proc, "store.copy.marked");
    int status = flash_insert(store->flash, store->proc, hash, place->address, record_bytes);
    if (status != PYMC_OK) {
        item_set_state(item, state);
        return status == PYMC_NO_MEMORY ? SPACE_COPY_NO_INDEX : SPACE_COPY_CHANGED;
    }
    FAULT_POINT(store->proc, "store.copy.entered");
    link_count_copy(store, view->order, 1);
    count(store->proc, COUNTER_ext_objects_written, 1);
    count(store->proc, COUNTER_ext_bytes_written, record_bytes);
    return SPACE_COPY_DONE;
}

// Puts the record into its place and links it.
static enum space_copied put(struct store *store, const struct link_view *view, const char *key,
                             uint64_t hash, const struct stored_value *value,
                             const struct flash_place *place, uint32_t record_bytes) {
    struct flash_record *record = (struct flash_record *)place->memory;
    SHARED_STORE(record->sizes, record_bytes | value->flag);
    SHARED_STORE(record->page_version, (uint32_t)place->page_version);
    char *image = flash_record_image(record);
    char *value_place = image + put_head(view, key, image);
    if (value->bytes) {
        racy_write(value_place, value->bytes, value->count);
    } else if (!copy_value(store, view, value_place)) {
        return SPACE_COPY_CHANGED;
    }
    bool was_locked = link_is_locked(view);
    if (!link_upgrade(store, view)) {
        return SPACE_COPY_CHANGED;    // It is not as cold as it looked.
    }
    enum space_copied linked = link_copy(store, view, hash, place, record_bytes);
    if (!was_locked) {
        index_unlock(store->proc, view->home, true);
    }
    return linked;
}

static __attribute__((noinline)) void watch_write(struct store *store, const struct link_view *view,
                                                  const char *key, int bucket) {
    uint32_t now = store->proc->now_seconds;
    int32_t idle = (int32_t)(now - view->time_seconds);
    struct watch_event event = {.kind = WATCH_EXTWRITE,
                                .is_fetched = view->state & ITEM_FETCHED,
                                .command = (uint8_t)bucket,
                                .key = key,
                                .key_bytes = view->key_bytes,
                                .class_id = (uint8_t)view->class_id,
                                .ttl_seconds =
                                    view->expiry_seconds ? (int64_t)view->expiry_seconds - now : -1,
                                .idle_seconds = idle > 0 ? (uint32_t)idle : 0};
    watch_note(&store->watch, WATCH_EVICTIONS, &event);
}

enum space_copied space_copy_out(struct store *store, const struct link_view *view, const char *key,
                                 uint64_t hash, const struct space_admission *rules,
                                 int *bucket_out) {
    // The page of its copy may have been dropped since.
    if ((view->state & ITEM_ON_FLASH) && link_flash_entry(store, hash)) {
        return SPACE_COPY_CLEAN;
    }
    enum space_copied verdict = admit(store, view, hash, rules, bucket_out);
    struct stored_value value;
    // Packing costs more than this look.
    if (verdict == SPACE_COPY_DONE && !flash_has_room(store->flash, store->proc, *bucket_out)) {
        return SPACE_COPY_NO_ROOM;
    }
    if (verdict == SPACE_COPY_DONE && !pack(store, view, rules->compress_bytes_min, &value)) {
        verdict = SPACE_COPY_CHANGED;
    }
    if (verdict == SPACE_COPY_DONE) {
        uint32_t head_bytes = ITEM_HEADER_BYTES
                              + item_optional_bytes(view->state & IMAGE_STATE_MASK)
                              + view->key_bytes;
        uint32_t bytes = (uint32_t)sizeof(struct flash_record) + head_bytes + value.count;
        struct flash_place place;
        if (!flash_place_take(store->flash, store->proc, *bucket_out, bytes, &place)) {
            return SPACE_COPY_NO_ROOM;
        }
        FAULT_POINT(store->proc, "store.copy.taken");
        verdict = put(store, view, key, hash, &value, &place, bytes);
        flash_place_give(store->flash, store->proc);
        if (verdict == SPACE_COPY_DONE && watch_wants(&store->watch, WATCH_EVICTIONS)) {
            watch_write(store, view, key, *bucket_out);
        }
    }
    count_verdict(store, verdict);
    return verdict;
}

void space_admission_now(const struct store *store, struct space_admission *out) {
    const struct arena *arena = store->arena;
    *out = (struct space_admission){
        .item_bytes_min = (uint64_t)live_get(arena, LIVE_ext_item_size_bytes),
        .ttl_seconds_min = TTL_SECONDS_MIN,
        .low_ttl_seconds = (uint32_t)live_get(arena, LIVE_ext_low_ttl_seconds),
        .compress_bytes_min = (uint32_t)live_get(arena, LIVE_ext_compress_min_bytes),
        .unread_percent = (uint32_t)live_get(arena, LIVE_ext_admit_unread_percent),
    };
}

enum space_copied space_copy_evicted(struct store *store, struct link_locked *locked) {
    struct link_view view = {.home = locked->home, .version = SHARED_LOAD(locked->home->word)};
    if (locked->is_dead || link_picture(store, locked->item, locked->ref, &view) != PICTURE_GOOD) {
        return SPACE_COPY_CHANGED;
    }
    struct space_admission rules;
    space_admission_now(store, &rules);
    char key[256];
    memcpy(key, item_key(locked->item, locked->state), view.key_bytes);
    int bucket;
    enum space_copied verdict = space_copy_out(store, &view, key, locked->hash, &rules, &bucket);
    locked->state = item_state_of(locked->item);
    return verdict;
}
