// Batches: what happens to items and entries once their records are on flash.
#include <stdlib.h>

#include "store/store_batch_internal.h"

// Records ahead whose memory is fetched while one is linked.
#define FETCH_AHEAD 8

int store_batch_create(struct store *store, struct store_batch **batch_out) {
    struct store_batch *batch = malloc(sizeof *batch);
    if (!batch) {
        return PYMC_NO_MEMORY;
    }
    batch->store = store;
    batch->count = 0;
    int status = flash_buffer_create(store->flash, &batch->buffer);
    if (status != PYMC_OK) {
        free(batch);
        return status;
    }
    *batch_out = batch;
    return PYMC_OK;
}

void store_batch_destroy(struct store_batch *batch) {
    if (batch) {
        flash_buffer_destroy(batch->buffer);
        free(batch);
    }
}

int store_batch_begin(struct store_batch *batch, int bucket) {
    batch->count = 0;
    return flash_buffer_begin(batch->buffer, batch->store->proc, bucket);
}

struct flash_buffer *store_batch_buffer(struct store_batch *batch) {
    return batch->buffer;
}

uint32_t store_batch_records(const struct store_batch *batch) {
    return batch->count;
}

uint64_t store_batch_seal(struct store_batch *batch) {
    return flash_buffer_seal(batch->buffer, batch->store->proc);
}

// Whether the item is as it was copied. Its chunk may have been copied from twice, before and after a change; then
// order number and fields tell.
static bool is_same(const struct item *item, const struct batch_note *note) {
    uint32_t state = item_state_of(item);
    return (state & (ITEM_LINKED | ITEM_COPIED | ITEM_ON_FLASH)) == (ITEM_LINKED | ITEM_COPIED)
           && item_order(item) == note->order && item_expiry(item, state) == note->expiry_seconds
           && ((state ^ note->state) & IMAGE_STATE_MASK & ~(uint32_t)ITEM_FETCHED) == 0;
}

static void link_item(struct store *store, const struct batch_note *note, struct store_commit_result *out) {
    struct bucket *home = index_lock(&store->index, store->proc, note->hash);
    struct index_place place;
    struct item *item = store_item(store, note->ref);
    store_notice_flush(store);
    // Of what was flushed nothing goes into the index any more: what a page holds of it is counted at the flush.
    if (!index_find_ref_locked(&store->index, home, note->ref, &place) || !is_same(item, note)
        || store_is_flushed(store, note->order)) {
        index_unlock(store->proc, home, false);
        out->changed++;
        return;
    }
    // One entry more with these bits might not be found: a key that cannot be deleted. Only this process adds entries.
    uint64_t others[FLASH_CANDIDATES_MAX];
    if (UNLIKELY(flash_find(store->flash, store->proc, note->hash, others) == FLASH_CANDIDATES_MAX)) {
        item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_COPIED);
        index_unlock(store->proc, home, true);
        out->changed++;
        return;
    }
    // The mark first: who sees it looks for the entry, and an entry without the mark would outlive the item's changes.
    uint32_t state = item_state_of(item);
    item_set_state(item, state | ITEM_ON_FLASH);
    FAULT_POINT(store->proc, "store.commit.marked");
    int status = flash_insert(store->flash, store->proc, note->hash, note->address, note->record_bytes);
    if (status == PYMC_OK) {
        FAULT_POINT(store->proc, "store.commit.entered");
        store_count_copy(store, note->order, 1);
        out->linked++;
    } else {
        item_set_state(item, state & ~(uint32_t)ITEM_COPIED);
        out->no_memory++;
    }
    index_unlock(store->proc, home, true);
}

static void unmark_item(struct store *store, const struct batch_note *note) {
    struct bucket *home = index_lock(&store->index, store->proc, note->hash);
    struct index_place place;
    struct item *item = store_item(store, note->ref);
    bool is_there = index_find_ref_locked(&store->index, home, note->ref, &place) && is_same(item, note);
    if (is_there) {
        item_set_state(item, item_state_of(item) & ~(uint32_t)ITEM_COPIED);
    }
    index_unlock(store->proc, home, is_there);
}

static void prefetch_note(const struct store *store, const struct batch_note *note) {
    store_prefetch_bucket(store, note->hash);
    flash_prefetch(store->flash, note->hash);
    if (note->ref) {
        __builtin_prefetch(store_item(store, note->ref));
    }
}

void store_batch_commit(struct store_batch *batch, int write_status, struct store_commit_result *out) {
    struct store *store = batch->store;
    *out = (struct store_commit_result){0};
    bool is_written = flash_buffer_finish(batch->buffer, store->proc, write_status) == PYMC_OK;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct batch_note *note = &batch->notes[i];
        if (i + FETCH_AHEAD < batch->count) {
            prefetch_note(store, &batch->notes[i + FETCH_AHEAD]);
        }
        bytes += note->record_bytes;
        if (note->ref && is_written) {
            link_item(store, note, out);
        } else if (note->ref) {
            unmark_item(store, note);
        } else if (store_is_flushed(store, note->order)) {
            flash_remove(store->flash, store->proc, note->hash, note->from_address);
            out->changed++;
        } else if (is_written && flash_move(store->flash, store->proc, note->hash, note->from_address, note->address)) {
            out->linked++;
        } else {
            out->changed++;
            out->lost += !is_written;
        }
        if (note->ref) {
            --*store_in_flight(store, note->ref);
        }
    }
    if (is_written) {
        count(store->proc, COUNTER_ext_objects_written, batch->count);
        count(store->proc, COUNTER_ext_bytes_written, bytes);
        count(store->proc, COUNTER_ext_rejected_index, out->no_memory);
    }
    count(store->proc, COUNTER_ext_compact_lost, out->lost);
    batch->count = 0;
}
