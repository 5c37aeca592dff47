// Small changes to the header of an item, and touch.
#include "link/link_copy_inline.h"
#include "space/space_take_inline.h"
#include "store/store_mark_inline.h"
#include "store/store_shape_inline.h"

static uint32_t marked_state(uint32_t state, const struct store_mark *mark) {
    state = (state | mark->set_state) & ~mark->clear_state;
    return mark->is_read ? item_read_once_more(state) : state;
}

// An inline item that is copied into a larger chunk, to have room for more optional fields.
struct reshaping {
    struct store *store;
    const struct link_view *view;
    const struct store_mark *mark;
    const char *key;
    struct item *item;
    uint32_t extra_state;
};

// Writes the header of the copy, marked, if the old item still is as it was viewed.
static bool fill_reshaped(void *context, struct link_locked *locked) {
    const struct reshaping *work = context;
    const struct store_mark *mark = work->mark;
    struct item *item = work->item;
    if (!link_stands(locked, work->view)) {
        return false;
    }
    uint32_t state = marked_state(locked->state | work->extra_state, mark);
    state &= ~(uint32_t)(ITEM_LINKED | ITEM_ON_FLASH);
    uint32_t now = work->store->proc->now_seconds;
    SHARED_STORE(item->time_seconds, mark->is_read ? now : locked->item->time_seconds);
    SHARED_STORE(item->sizes, locked->item->sizes);
    item_set_state(item, state);
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, mark->has_expiry ? mark->expiry_seconds : work->view->expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, work->view->client_flags);
    }
    racy_write(item_key(item, state), work->key, work->view->key_bytes);
    // What replaces an item goes on with the reads of that one.
    locked->state = item_with_reads(locked->state, item_reads(state));
    return true;
}

// Copies an inline item into a larger chunk that has the optional fields of `extra_state`, marked,
// and puts it in its place. What store_mark() returns.
static int reshape(struct store *store, const struct link_view *view, const char *key,
                   uint64_t hash, uint32_t extra_state, const struct store_mark *mark) {
    uint32_t shape = view->state | extra_state;
    uint32_t head_bytes = ITEM_HEADER_BYTES + item_optional_bytes(shape) + view->key_bytes;
    uint32_t new_ref = 0;
    if (head_bytes + view->value_bytes > slab_chunk_bytes(&store->slab, store->largest_class)
        || !(new_ref = space_take_beside(store, view->ref, head_bytes + view->value_bytes))) {
        return space_refused(store, COUNTER_oom_no_victim);
    }
    if (new_ref == view->ref) {
        // Making room has evicted the very item.
        link_give_hand(store);
        return STORE_LOOK_AGAIN;
    }
    // A value does not change without a new number: what is copied now is whole if the number is
    // the same then.
    struct item *item = link_item(store, new_ref);
    racy_copy((char *)item + head_bytes, view->value, view->value_bytes);
    struct item_numbers numbers = {view->order, view->cas};
    if (mark->renumbers) {
        numbers = link_numbers_for(store, mark->has_cas_new, mark->cas_new);
    }
    struct reshaping work = {store, view, mark, key, item, extra_state};
    int outcome = store_replace(store, &(struct store_replacement){.key = key,
                                                                   .key_bytes = view->key_bytes,
                                                                   .hash = hash,
                                                                   .ref = new_ref,
                                                                   .numbers = numbers,
                                                                   .may_link = fill_reshaped,
                                                                   .context = &work});
    return outcome == STORE_STORED ? STORE_TOUCHED : outcome;
}

// Whether the mark changes anything that a copy on flash has too.
static bool changes_record(const struct store_mark *mark) {
    return mark->renumbers || mark->has_expiry
           || ((mark->set_state | mark->clear_state) & ~(uint32_t)(ITEM_FETCHED | ITEM_READS_MASK));
}

int store_mark(struct store *store, struct link_view *view, const char *key, uint64_t hash,
               const struct store_mark *mark) {
    bool is_own = mark->renumbers && mark->has_cas_new && link_has_cas(store);
    uint32_t missing = ((mark->has_expiry && mark->expiry_seconds ? ITEM_EXPIRES : 0u)
                        | (is_own ? ITEM_OWN_CAS : 0u))
                       & ~view->state;
    if (missing) {
        // There is no making room under a bucket's lock.
        link_let_go(store, view);
        return reshape(store, view, key, hash, missing, mark);
    }
    if (!link_upgrade(store, view)) {
        return STORE_LOOK_AGAIN;
    }
    struct item *item = (struct item *)view->item;
    uint32_t state = marked_state(view->state, mark);
    if (mark->is_read) {
        SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    }
    if (UNLIKELY(state & ITEM_ON_FLASH) && changes_record(mark)) {
        link_notice_flush(store);
        state = link_invalidate_copy(store, item, state, hash);
    }
    if (mark->renumbers) {
        struct item_numbers numbers = link_numbers_for(store, mark->has_cas_new, mark->cas_new);
        if (link_is_flushed(store, view->order)) {
            link_view_unlock(store, view, false);
            return STORE_LOOK_AGAIN;
        }
        item_set_numbers(item, state, numbers);
    }
    if (mark->has_expiry && (view->state & ITEM_EXPIRES)) {
        item_set_expiry(item, mark->expiry_seconds);
    }
    item_set_state(item, state);
    link_view_unlock(store, view, true);
    return STORE_TOUCHED;
}

int store_touch(struct store *store, const char *key, uint32_t key_bytes, uint32_t expiry_seconds) {
    struct link_looks looks;
    link_looks_begin(store, key, key_bytes, &looks);
    struct store_mark mark = {
        .has_expiry = true, .expiry_seconds = expiry_seconds, .is_read = true};
    int found;
    while ((found = link_next_look(store, &looks)) == STORE_HIT) {
        int done = store_mark(store, &looks.view, key, looks.hash, &mark);
        if (done != STORE_LOOK_AGAIN) {
            class_count(store, looks.view.class_id, CLASS_touch_hits, done == STORE_TOUCHED);
            return done;
        }
    }
    count(store->proc, COUNTER_touch_misses, found == STORE_MISS);
    return found == STORE_MISS ? STORE_NOT_FOUND : found;
}
