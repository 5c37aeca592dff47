// Moving a page to another class: its items, and the parts of large ones, are copied to other chunks first.
#include "store/store_internal.h"

int store_move_begin(struct store *store, uint32_t from_class, uint32_t to_class, struct store_move *move) {
    if (from_class < 1 || from_class > store->slab.root->classes || to_class > store->slab.root->classes) {
        return PYMC_INVALID;
    }
    uint32_t page = slab_drain_begin(&store->slab, store->proc, from_class);
    if (!page) {
        return PYMC_NOT_FOUND;
    }
    slab_ask_flush(&store->slab);
    slab_flush_if_asked(&store->slab, store->proc);
    *move = (struct store_move){.page = page, .to_class = to_class, .may_evict = true};
    return PYMC_OK;
}

void store_move_cancel(struct store *store, struct store_move *move) {
    slab_drain_cancel(&store->slab, store->proc, move->page);
}

// The bytes that make an item's own chunk.
static uint64_t chunk_content_bytes(const struct store *store, const struct item *item, uint32_t state) {
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        return item_large_offset(state, item_key_bytes(item->sizes)) + sizeof *large
               + (uint64_t)large->part_count * sizeof(uint32_t);
    }
    return store_item_bytes(store, item, state);
}

void store_adopt_parts(struct store *store, uint32_t ref) {
    const struct item *item = store_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        for (uint32_t i = 0; i < large->part_count; i++) {
            SHARED_STORE(store_item(store, large->parts[i])->time_seconds, ref);
        }
    }
}

// Copies the locked item to the chunk in new_ref. For a moment both name the same parts; STEP_RESCUE tells a repairer
// to blank the one that is not in the index.
static void rescue_item_and_unlock(struct store *store, struct store_locked *locked, uint32_t chunk_bytes) {
    struct store_local *local = store->local;
    uint32_t new_ref = local->new_ref;
    struct item *to = store_item(store, new_ref);
    uint64_t bytes = chunk_content_bytes(store, locked->item, locked->state);
    PYMC_CHECK(bytes <= chunk_bytes);
    SHARED_STORE(local->old_ref, locked->ref);
    SHARED_RELEASE(local->step, STEP_RESCUE);
    racy_write((char *)to + ITEM_HEADER_BYTES, (const char *)locked->item + ITEM_HEADER_BYTES,
               bytes - ITEM_HEADER_BYTES);
    SHARED_STORE(to->time_seconds, locked->item->time_seconds);
    SHARED_STORE(to->sizes, locked->item->sizes);
    SHARED_STORE(to->order_low, locked->item->order_low);
    SHARED_STORE(to->order_high, locked->item->order_high);
    // A record on its way to flash names the old chunk.
    item_set_state(to, locked->state & ~(uint32_t)ITEM_COPIED);
    FAULT_POINT(store->proc, "store.rescue.before");
    index_replace_locked(locked->place, new_ref);
    FAULT_POINT(store->proc, "store.rescue.after");
    item_set_state(locked->item, 0);
    store_adopt_parts(store, new_ref);
    SHARED_RELEASE(local->step, STEP_FREE);
    store_unlock(store, locked, true);
    SHARED_RELEASE(local->new_ref, 0);
    store_free(store, &local->old_ref);
}

// Copies one part of the locked large item to the chunk in new_ref. Returns false when it is not a part of it.
static bool rescue_part_and_unlock(struct store *store, struct store_locked *locked, uint32_t part_ref) {
    struct store_local *local = store->local;
    struct item_large *large = item_large_of(locked->item, locked->state);
    uint32_t i = 0;
    while (i < large->part_count && large->parts[i] != part_ref) {
        i++;
    }
    if (i == large->part_count) {
        return false;
    }
    struct item *to = store_item(store, local->new_ref);
    uint32_t bytes = store_part_bytes(store, large->value_bytes, i);
    racy_write((char *)to + ITEM_HEADER_BYTES, (const char *)store_item(store, part_ref) + ITEM_HEADER_BYTES, bytes);
    SHARED_STORE(to->time_seconds, locked->ref);
    SHARED_STORE(to->sizes, 0);
    item_set_state(to, ITEM_PART);
    SHARED_STORE(local->old_ref, part_ref);
    SHARED_RELEASE(local->step, STEP_RESCUE_PART);
    FAULT_POINT(store->proc, "store.rescue_part.before");
    SHARED_RELEASE(large->parts[i], local->new_ref);
    FAULT_POINT(store->proc, "store.rescue_part.after");
    SHARED_RELEASE(local->step, STEP_FREE);
    store_unlock(store, locked, true);
    SHARED_RELEASE(local->new_ref, 0);
    store_free(store, &local->old_ref);
    return true;
}

// Copies what is in the chunk `ref` of the locked item's memory elsewhere. Returns false, still locked, if it cannot.
static bool rescue_and_unlock(struct store *store, struct store_locked *locked, uint32_t ref, uint32_t class_id) {
    if (!store->local->new_ref || locked->is_dead || store_is_pinned(store, locked->ref)) {
        return false;
    }
    if (ref == locked->ref) {
        rescue_item_and_unlock(store, locked, slab_chunk_bytes(&store->slab, class_id));
        count(store->proc, COUNTER_slab_reassign_rescues, 1);
        return true;
    }
    if (!(locked->state & ITEM_LARGE) || !rescue_part_and_unlock(store, locked, ref)) {
        return false;
    }
    count(store->proc, COUNTER_slab_reassign_chunk_rescues, 1);
    return true;
}

// An item that is being sent cannot be copied: it is left alone until the page was looked at so many times.
#define PASSES_PATIENT 20

static bool is_busy(const struct store *store, const struct store_move *move, const struct store_locked *locked) {
    return !locked->is_dead && move->passes < PASSES_PATIENT && store_is_pinned(store, locked->ref);
}

// The item to which the chunk belongs, 0 when it belongs to none.
static uint32_t owner_of(const struct store *store, uint32_t ref) {
    const struct item *item = store_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state == ITEM_PART) {
        ref = SHARED_LOAD(item->time_seconds);
        if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
            return 0;
        }
        state = item_state_of(store_item(store, ref));
    }
    return state & ITEM_LINKED ? ref : 0;
}

static void move_chunk(struct store *store, struct store_move *move, uint32_t ref, uint32_t class_id) {
    struct store_local *local = store->local;
    uint32_t owner = owner_of(store, ref);
    if (!owner) {
        return;
    }
    // Only a free chunk will do: evicting a neighbour to save this one helps nobody.
    slab_take(&store->slab, store->proc, class_id, &local->new_ref);
    SHARED_RELEASE(local->step, STEP_FILL);
    struct store_locked locked;
    bool is_locked = store_lock_ref(store, owner, &locked);
    if (is_locked && is_busy(store, move, &locked)) {
        store_unlock(store, &locked, false);
        count(store->proc, COUNTER_slab_reassign_busy_items, 1);
    } else if (is_locked && !rescue_and_unlock(store, &locked, ref, class_id)) {
        bool is_dead = locked.is_dead;
        store_unlock(store, &locked, false);
        // The chunk in hand must be back before another item takes the words that name it.
        if (local->new_ref) {
            store_free(store, &local->new_ref);
        }
        bool may_evict = move->may_evict && live_get(store->arena, LIVE_evictions_enabled);
        if (!is_dead && !may_evict) {
            count(store->proc, COUNTER_slab_reassign_busy_items, 1);
        } else if (store_lock_ref(store, owner, &locked)) {
            count(store->proc, COUNTER_slab_reassign_evictions_nomem, locked.is_dead ? 0 : 1);
            if (locked.is_dead) {
                store_unlink_and_unlock(store, &locked);
            } else {
                store_evict_and_unlock(store, &locked);
            }
        }
    }
    if (local->new_ref) {
        store_free(store, &local->new_ref);
    }
    SHARED_RELEASE(local->step, STEP_NONE);
}

bool store_move_step(struct store *store, struct store_move *move, uint32_t chunks) {
    struct slab_window window;
    uint32_t class_id;
    slab_page_window(&store->slab, move->page, &window, &class_id);
    while (move->chunk < window.count && chunks-- > 0) {
        move_chunk(store, move, slab_ref(&store->slab, move->page, move->chunk++, window.chunk_bytes), class_id);
    }
    if (move->chunk < window.count) {
        return false;
    }
    if (slab_drain_end(&store->slab, store->proc, move->page, move->to_class)) {
        count(store->proc, COUNTER_slabs_moved, 1);
        return true;
    }
    // What is left is in other processes' hands: ask for it and look at the page again.
    move->chunk = 0;
    move->passes++;
    slab_ask_flush(&store->slab);
    return false;
}
