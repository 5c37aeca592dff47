// Write-out: the items that will be evicted next become records, and stay in memory as clean copies.
#include "store/store_writeout.h"

#include "flash/flash_compress.h"
#include "store/store_batch_internal.h"

// Looked at under one taking of the class's lock.
#define WINDOW 64
// A value is kept compressed when that saves at least this many bytes and an eighth.
#define COMPRESS_SAVES_BYTES 32

struct writeout {
    struct store *store;
    struct store_batch **batches;
    const struct store_admission *admission;
    struct store_writeout_result *out;
};

// Copies the value of a viewed item, which may be changing. Returns false when it is shorter than it said.
static bool copy_value(const struct store *store, const struct store_view *view, char *place) {
    uint32_t copied = 0;
    while (copied < view->value_bytes) {
        const char *piece;
        uint32_t fits = store_value_span(store, view->item, view->state, view->class_id, copied, &piece);
        fits = fits < view->value_bytes - copied ? fits : view->value_bytes - copied;
        if (fits == 0) {
            return false;
        }
        racy_copy(place + copied, piece, fits);
        copied += fits;
    }
    return true;
}

// Writes header fields and key of the image; returns its bytes, the place of the value.
static uint32_t put_head(const struct store_view *view, const char *key, char *place) {
    uint32_t state = view->state & IMAGE_STATE_MASK;
    struct item *item = (struct item *)place;
    *item = (struct item){.time_seconds = view->time_seconds,
                          .sizes = item_pack_sizes(view->value_bytes, view->key_bytes), .state = (uint16_t)state};
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, view->expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, view->client_flags);
    }
    item_set_numbers(item, state, (struct item_numbers){view->order, view->cas});
    memcpy(item_key(item, state), key, view->key_bytes);
    return ITEM_HEADER_BYTES + item_optional_bytes(state) + view->key_bytes;
}

// Compresses the value in place if that saves space; returns its stored size.
static uint32_t compress(struct writeout *work, char *value, uint32_t bytes, uint32_t *flag_out) {
    struct store_flash_local *local = work->store->on_flash;
    uint32_t least = work->admission->compress_bytes_min;
    *flag_out = 0;
    if (least == 0 || bytes < least || bytes < COMPRESS_SAVES_BYTES * 2) {
        return bytes;
    }
    uint32_t room = bytes - bytes / 8;
    room = room < bytes - COMPRESS_SAVES_BYTES ? room : bytes - COMPRESS_SAVES_BYTES;
    if (!store_flash_room(local, bytes)) {
        return bytes;
    }
    uint32_t stored = flash_compress(value, bytes, local->value, room);
    count(work->store->proc, COUNTER_ext_compress_in_bytes, bytes);
    count(work->store->proc, COUNTER_ext_compress_out_bytes, stored ? stored : bytes);
    if (stored == 0) {
        return bytes;
    }
    memcpy(value, local->value, stored);
    *flag_out = FLASH_RECORD_COMPRESSED;
    return stored;
}

// Notes on the item that its copy is under way; false when it changed since it was viewed.
static bool mark_copied(struct store *store, const struct store_view *view, uint64_t hash) {
    if (!store_upgrade(store, view)) {
        return false;
    }
    // A copy in a page that was dropped is none any more.
    struct item *item = (struct item *)view->item;
    store_notice_flush(store);
    uint32_t state = view->state & ITEM_ON_FLASH ? store_spoil_copy(store, item, view->state, hash) : view->state;
    item_set_state(item, state | ITEM_COPIED);
    index_unlock(store->proc, view->home, true);
    return true;
}

// Copies the item into the batch. Returns false when there is no room in it.
static bool add(struct writeout *work, const struct store_view *view, const char *key, uint64_t hash, int bucket) {
    struct store *store = work->store;
    uint32_t head_bytes = ITEM_HEADER_BYTES + item_optional_bytes(view->state & IMAGE_STATE_MASK) + view->key_bytes;
    uint64_t bytes = sizeof(struct flash_record) + head_bytes + (uint64_t)view->value_bytes;
    if (bytes > FLASH_RECORD_BYTES_MAX || bytes > flash_wbuf_bytes(store->flash) - FLASH_BLOCK_BYTES
        || view->value_bytes > ITEM_VALUE_BYTES_INLINE_MAX) {
        work->out->too_large++;
        return true;
    }
    struct store_batch *batch = work->batches[bucket];
    char *room = batch && batch->count < STORE_BATCH_RECORDS ? flash_buffer_room(batch->buffer, (uint32_t)bytes) : NULL;
    if (!room) {
        work->out->full_bucket = bucket;
        return false;
    }
    struct flash_record *record = (struct flash_record *)room;
    char *value = flash_record_image(record) + put_head(view, key, flash_record_image(record));
    if (!copy_value(store, view, value) || !mark_copied(store, view, hash)) {
        return true;    // It changed: it is not as cold as it looked.
    }
    FAULT_POINT(store->proc, "store.writeout.copied");
    uint32_t flag;
    bytes = sizeof *record + head_bytes + compress(work, value, view->value_bytes, &flag);
    record->sizes = (uint32_t)bytes | flag;
    uint64_t address = flash_buffer_add(batch->buffer, (uint32_t)bytes);
    flash_buffer_note(batch->buffer, store_full_order(store, view->order), view->expiry_seconds);
    batch->notes[batch->count++] = (struct batch_note){.hash = hash, .address = address,
                                                       .order = view->order,
                                                       .ref = view->ref,
                                                       .expiry_seconds = view->expiry_seconds,
                                                       .state = view->state & IMAGE_STATE_MASK,
                                                       .record_bytes = (uint32_t)bytes};
    ++*store_in_flight(store, view->ref);
    work->out->added++;
    work->out->added_bytes += bytes;
    return true;
}

// Whether the item may go to flash; else it is counted why not.
static bool is_admitted(struct writeout *work, const struct store_view *view, uint64_t hash, int *bucket_out) {
    const struct store_admission *rules = work->admission;
    struct store_writeout_result *out = work->out;
    uint32_t now = work->store->proc->now_seconds;
    uint64_t bytes = ITEM_HEADER_BYTES + item_optional_bytes(view->state) + view->key_bytes
                     + (uint64_t)view->value_bytes;
    uint32_t left = view->expiry_seconds ? view->expiry_seconds - now : UINT32_MAX;
    int32_t idle = (int32_t)(now - view->time_seconds);
    if (bytes < rules->item_bytes_min) {
        out->too_small++;
    } else if (idle < 0 ? rules->idle_seconds_min > 0 : (uint32_t)idle < rules->idle_seconds_min) {
        out->too_young++;
    } else if (left < rules->ttl_seconds_min) {
        out->too_short_lived++;
    } else if (!store_is_in_luck(view->state, view->order, hash, rules->unread_percent)) {
        out->never_read++;
    } else {
        *bucket_out = left < rules->low_ttl_seconds ? FLASH_LOW_TTL
                      : view->state & ITEM_LARGE    ? FLASH_CHUNKED
                                                    : FLASH_DEFAULT;
        return true;
    }
    return false;
}

// Looks at one candidate, which stays in memory anyhow if it was read `reads_spared` times. Returns false
// when its batch is full; then it is looked at again.
static bool consider(struct writeout *work, uint32_t ref, uint32_t reads_spared) {
    struct store *store = work->store;
    const struct item *item = store_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state == ITEM_PART) {
        ref = SHARED_LOAD(item->time_seconds);
        if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
            return true;
        }
        item = store_item(store, ref);
        state = item_state_of(item);
    }
    uint32_t key_bytes = item_key_bytes(SHARED_LOAD(item->sizes));
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED || key_bytes == 0
        || (item_reads(state) >= reads_spared && !work->admission->active_too)) {
        return true;
    }
    char key[256];
    racy_copy(key, item_key(item, state), key_bytes);
    uint64_t hash = store_hash(store, key, key_bytes);
    struct store_view view;
    if (store_find(store, key, key_bytes, hash, &view) != STORE_HIT || view.ref != ref) {
        return true;
    }
    // The page of its copy may have been dropped since.
    if ((view.state & ITEM_ON_FLASH) && store_flash_entry(store, hash)) {
        work->out->clean++;
        return true;
    }
    // Its copy is under way, unless a writer died with it.
    if ((view.state & ITEM_COPIED) && *store_in_flight(store, ref)) {
        return true;
    }
    int bucket;
    return !is_admitted(work, &view, hash, &bucket) || add(work, &view, key, hash, bucket);
}

// Follows the hand from where it was at the last look, as far as it has not overtaken the place before it.
static void follow_hand(const struct store *store, uint32_t class_id, struct store_ahead *ahead, uint32_t page,
                        uint32_t chunk) {
    uint32_t at = ahead->hand_page;
    uint32_t from = ahead->hand_chunk;
    uint32_t passed = 0;
    while (at && passed <= ahead->distance && store->slab.pages[at].class_id == class_id
           && !(at == page && from <= chunk)) {
        uint32_t carved = store->slab.pages[at].carved;
        passed += carved > from ? carved - from : 1;
        from = 0;
        at = store->slab.pages[at].next;
    }
    passed += chunk - from;
    bool is_found = at == page && from <= chunk && passed <= ahead->distance
                    && store->slab.pages[ahead->page].class_id == class_id;
    if (is_found) {
        ahead->distance -= passed;
    } else {
        ahead->page = page;
        ahead->chunk = chunk;
        ahead->distance = 0;
    }
    ahead->hand_page = page;
    ahead->hand_chunk = chunk;
}

// The next chunks before the eviction hand, as far as `most` chunks from it. Moves the place on past them.
static uint32_t next_of_hand(struct store *store, uint32_t class_id, struct store_ahead *ahead, uint32_t most,
                             uint32_t *refs) {
    struct slab_class *class = &store->slab.root->class[class_id];
    uint32_t count_refs = 0;
    lock_take(store->proc, &class->lock, LOCK_CLASS);
    follow_hand(store, class_id, ahead, class->hand_page ? class->hand_page : class->ring,
                class->hand_page ? class->hand_chunk : 0);
    for (uint32_t pages = class->pages + 1; ahead->page && count_refs < WINDOW && ahead->distance < most && pages;) {
        bool is_around = ahead->page == ahead->hand_page && ahead->chunk == ahead->hand_chunk && ahead->distance;
        if (is_around) {
            break;
        }
        if (ahead->chunk >= store->slab.pages[ahead->page].carved) {
            ahead->page = store->slab.pages[ahead->page].next;
            ahead->chunk = 0;
            pages--;
            continue;
        }
        refs[count_refs++] = slab_ref(&store->slab, ahead->page, ahead->chunk++, class->chunk_bytes);
        ahead->distance++;
    }
    lock_give(store->proc, &class->lock, false);
    return count_refs;
}

// The place before the hand goes back to the given chunk, the number `again` from its end.
static void step_back(const struct store *store, uint32_t class_id, struct store_ahead *ahead, uint32_t ref,
                      uint32_t again) {
    ahead->page = slab_page_of(&store->slab, ref);
    uint64_t offset = (uint64_t)(slab_chunk(&store->slab, ref) - store->slab.area) & (SLAB_PAGE_BYTES - 1);
    ahead->chunk = (uint32_t)(offset / slab_chunk_bytes(&store->slab, class_id));
    ahead->distance -= again < ahead->distance ? again : ahead->distance;
}

static void prefetch(const struct store *store, const uint32_t *refs, uint32_t count_refs) {
    for (uint32_t i = 0; i < count_refs; i++) {
        __builtin_prefetch(store_item(store, refs[i]));
    }
}

static bool probation_goes_next(const struct store *store, uint32_t class_id) {
    // Somewhat before it is over its target, since it will be when the next items come.
    return lru_length(&store->lru, class_id) * 10 >= store_probation_target(store, class_id) * 9;
}

static void count_verdicts(struct store *store, const struct store_writeout_result *out) {
    struct proc *proc = store->proc;
    count(proc, COUNTER_ext_admitted, out->added);
    count(proc, COUNTER_ext_rejected_small, out->too_small);
    count(proc, COUNTER_ext_rejected_young, out->too_young);
    count(proc, COUNTER_ext_rejected_ttl, out->too_short_lived);
    count(proc, COUNTER_ext_rejected_unread, out->never_read);
    count(proc, COUNTER_ext_rejected_large, out->too_large);
}

static void look(struct writeout *work, uint32_t class_id, struct store_ahead *ahead, uint32_t ahead_chunks,
                 uint32_t chunks) {
    struct store *store = work->store;
    struct store_writeout_result *out = work->out;
    uint32_t refs[WINDOW];
    uint32_t found = 1;
    while (found && out->examined < chunks && probation_goes_next(store, class_id)) {
        found = lru_peek(&store->lru, class_id, &ahead->probation, ahead_chunks, refs, WINDOW);
        prefetch(store, refs, found);
        for (uint32_t i = 0; i < found; i++) {
            if (refs[i] && !consider(work, refs[i], STORE_READS_PROVEN)) {
                return;
            }
            ahead->probation.position++;
            out->examined++;
        }
    }
    found = 1;
    while (found && out->examined < chunks) {
        found = next_of_hand(store, class_id, ahead, ahead_chunks, refs);
        prefetch(store, refs, found);
        for (uint32_t i = 0; i < found; i++) {
            if (!consider(work, refs[i], 1)) {
                step_back(store, class_id, ahead, refs[i], found - i);
                return;
            }
            out->examined++;
        }
    }
    out->is_ahead = !found;
}

void store_writeout_step(struct store *store, struct store_batch **batches, uint32_t class_id,
                         struct store_ahead *ahead, const struct store_admission *admission, uint32_t ahead_chunks,
                         uint32_t chunks, struct store_writeout_result *out) {
    struct writeout work = {store, batches, admission, out};
    *out = (struct store_writeout_result){.full_bucket = -1};
    PYMC_CHECK(class_id >= 1 && class_id <= store->slab.root->classes);
    look(&work, class_id, ahead, ahead_chunks, chunks);
    count_verdicts(store, out);
}
