// Deleting, and what meta deletes leave behind instead: stale items and tombstones.
#include "space/space_take_inline.h"
#include "store/store_mark_inline.h"
#include "store/store_shape_inline.h"

// Rewrites the key as an empty item that keeps what the request says: the tombstone of `md x`.
static int clear_value(struct store *store, const struct store_delete *request,
                       const struct link_view *view, uint64_t hash) {
    struct store_write empty = {.key = request->key,
                                .key_bytes = request->key_bytes,
                                .client_flags =
                                    request->has_client_flags ? request->client_flags : 0,
                                .expiry_seconds = request->has_expiry ? request->expiry_seconds : 0,
                                .key_is_binary = view->state & ITEM_BINARY_KEY,
                                .has_cas_new = request->has_cas_new,
                                .cas_new = request->cas_new};
    // A tombstone keeps its CAS number, as memcached has it; marking it stale makes a new one.
    if (!request->has_cas_new && !request->mark_stale) {
        empty.has_cas_new = true;
        empty.cas_new = view->cas;
    }
    struct store_shape shape;
    uint32_t new_ref = 0;
    uint32_t stale = request->mark_stale ? ITEM_STALE : 0;
    if (store_shape_of(store, &empty, 0, stale, &shape) != STORE_STORED
        || !(new_ref = space_take_beside(store, view->ref, shape.total_bytes))) {
        return space_refused(store, COUNTER_oom_no_victim);
    }
    store_fill_head(store, new_ref, &empty, 0, &shape);
    struct item_numbers numbers = link_numbers_for(store, empty.has_cas_new, empty.cas_new);
    int outcome = store_replace(store, &(struct store_replacement){.key = request->key,
                                                                   .key_bytes = request->key_bytes,
                                                                   .hash = hash,
                                                                   .ref = new_ref,
                                                                   .numbers = numbers,
                                                                   .may_link = store_is_unchanged,
                                                                   .context = (void *)view});
    if (outcome != STORE_STORED) {
        return outcome;
    }
    class_count(store, view->class_id, CLASS_delete_hits, !request->mark_stale);
    count(store->proc, COUNTER_total_items, 1);
    return STORE_DELETED;
}

// Changes header fields in place; the value stays, so readers with a pin are not disturbed.
static int mark_stale(struct store *store, const struct store_delete *request,
                      struct link_view *view, uint64_t hash) {
    struct store_mark mark = {.set_state = ITEM_STALE,
                              .clear_state = ITEM_TOKEN_SENT,
                              .has_expiry = request->has_expiry,
                              .expiry_seconds = request->expiry_seconds,
                              .renumbers = true,
                              .has_cas_new = request->has_cas_new,
                              .cas_new = request->cas_new};
    int done = store_mark(store, view, request->key, hash, &mark);
    return done == STORE_TOUCHED ? STORE_DELETED : done;
}

static int unlink_now(struct store *store, const struct store_delete *request, uint64_t hash) {
    struct link_locked locked;
    if (!link_lock(store, request->key, request->key_bytes, hash, &locked)) {
        return STORE_BUSY;
    }
    if (!locked.item || locked.is_dead) {
        // It went since the look, maybe to flash: the next look finds out, and counts.
        link_unlock(store, &locked, false);
        return STORE_LOOK_AGAIN;
    }
    if (request->has_cas_compare
        && request->cas_compare != link_cas_of(store, locked.item, locked.state)) {
        link_unlock(store, &locked, false);
        count(store->proc, COUNTER_delete_misses, request->mismatch_is_miss);
        return STORE_EXISTS;
    }
    class_count(store, locked.class_id, CLASS_delete_hits, 1);
    link_unlink_and_unlock(store, &locked);
    return STORE_DELETED;
}

int store_delete(struct store *store, const struct store_delete *request) {
    struct link_looks looks;
    link_looks_begin(store, request->key, request->key_bytes, &looks);
    struct link_view *view = &looks.view;
    int outcome;
    while ((outcome = link_next_look(store, &looks)) == STORE_HIT) {
        if (request->has_cas_compare && request->cas_compare != view->cas) {
            link_let_go(store, view);
            count(store->proc, COUNTER_delete_misses, request->mismatch_is_miss);
            return STORE_EXISTS;
        }
        if (request->mark_stale && !request->clear_value) {
            outcome = mark_stale(store, request, view, looks.hash);
        } else {
            link_let_go(store, view);
            outcome = request->clear_value ? clear_value(store, request, view, looks.hash)
                                           : unlink_now(store, request, looks.hash);
        }
        if (outcome != STORE_LOOK_AGAIN) {
            return outcome;
        }
    }
    count(store->proc, COUNTER_delete_misses, outcome == STORE_MISS);
    return outcome == STORE_MISS ? STORE_NOT_FOUND : outcome;
}
