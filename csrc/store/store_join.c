// Appending and prepending: the old value and the piece joined in a new item.
#include "link/link_value_inline.h"
#include "space/space_take_inline.h"
#include "store/store_write_internal.h"

// An appended or prepended piece: in a buffer, or in an item of its own when it came in pieces.
struct piece {
    const char *bytes;
    struct store_making *making;    // NULL: in the buffer.
    uint32_t value_bytes;
};

static void copy_value(struct store *store, struct store_making *to, const struct item *from,
                       uint32_t state, uint32_t class_id) {
    uint32_t offset = 0;
    const char *piece;
    uint32_t piece_bytes;
    while ((piece_bytes = link_value_span(store, from, state, class_id, offset, &piece))) {
        char *place;
        uint32_t fits = store_making_span(store, to, &place);
        fits = fits < piece_bytes ? fits : piece_bytes;
        if (fits == 0) {
            return;    // The source is changing; the version check will tell.
        }
        racy_copy(place, piece, fits);
        to->filled_bytes += fits;
        offset += fits;
    }
}

static void copy_piece(struct store *store, struct store_making *to, const struct piece *piece) {
    if (!piece->making) {
        store_making_fill(store, to, piece->bytes, piece->value_bytes);
        return;
    }
    const struct item *item = link_item(store, piece->making->ref);
    copy_value(store, to, item, item_state_of(item),
               slab_class_of(&store->slab, piece->making->ref));
}

static void copy_joined(struct store *store, const struct store_write *write,
                        struct store_making *to, const struct piece *piece, const struct item *old,
                        uint32_t old_state, uint32_t class_id) {
    to->filled_bytes = 0;
    if (write->mode == STORE_PREPEND) {
        copy_piece(store, to, piece);
    }
    copy_value(store, to, old, old_state, class_id);
    if (write->mode == STORE_APPEND) {
        copy_piece(store, to, piece);
    }
}

// There is nothing to join with: the piece becomes an item of its own where the command says so.
// STORE_LOOK_AGAIN: somebody else was faster, join with that one.
static int commit_missing(struct store *store, const struct store_write *write,
                          const struct piece *piece, uint64_t hash, struct store_result *result) {
    if (!write->vivify) {
        return STORE_NOT_STORED;
    }
    struct store_write fresh = *write;
    fresh.mode = STORE_ADD;
    fresh.has_cas_compare = false;
    fresh.expiry_seconds = write->vivify_expiry_seconds;
    if (!piece->making) {
        fresh.is_uncounted = true;
        int outcome = store_put_new(store, &fresh, piece->bytes, hash, result);
        return outcome == STORE_NOT_STORED ? STORE_LOOK_AGAIN : outcome;
    }
    struct store_making *making = piece->making;
    struct item *item = link_item(store, making->ref);
    if (item_state_of(item) & ITEM_EXPIRES) {
        item_set_expiry(item, fresh.expiry_seconds);
    }
    int outcome =
        store_decide_and_link(store, &fresh, hash, making->ref, making->claim + 1, result);
    if (outcome == STORE_STORED) {
        making->ref = 0;
    }
    return outcome == STORE_NOT_STORED ? STORE_LOOK_AGAIN : outcome;
}

// Makes room for the joined value while the old item stays. Returns STORE_ROOM_MADE, or what to
// answer.
static int begin_joined(struct store *store, const struct store_write *joined,
                        const struct link_view *view, struct store_making *making) {
    uint32_t needed_before = store->needed_ref;
    store->needed_ref = view->ref;
    int outcome = store_begin(store, joined, making);
    if (outcome == STORE_ROOM_MADE && !store_take_parts(store, making)) {
        outcome = store_give_up(store, joined, making);
    }
    space_need_again(store, needed_before, view->ref);
    // A STORE_REPLACE that finds no room forgets nothing, so that it is not put off.
    return outcome == STORE_ROOM_MADE ? STORE_ROOM_MADE
                                      : STORE_NOT_STORED;    // memcached's word for either.
}

// Under the bucket's lock the old item stands still: copies it, if it still is what room was made
// for.
static bool copy_locked(struct store *store, const struct store_write *write,
                        struct store_making *making, const struct piece *piece,
                        const struct link_view *view, const struct link_locked *locked) {
    struct item *item = link_item(store, making->ref);
    uint32_t expiry_seconds = item_expiry(locked->item, locked->state);
    bool can_expire = item_state_of(item) & ITEM_EXPIRES;
    if (item_value_bytes(locked->item, locked->state) != view->value_bytes
        || item_client_flags(locked->item, locked->state) != view->client_flags
        || (expiry_seconds && !can_expire)
        || (write->has_cas_compare && write->cas_compare
            && write->cas_compare != link_cas_of(store, locked->item, locked->state))) {
        return false;
    }
    if (can_expire) {
        item_set_expiry(item, expiry_seconds);
    }
    copy_joined(store, write, making, piece, locked->item, locked->state, locked->class_id);
    return true;
}

// What one try to join works on.
struct joining {
    struct store *store;
    const struct store_write *write;
    const struct piece *piece;
    const struct link_view *view;
    struct store_making *making;
    bool copies_unlocked;
};

// Whether the joined value is whole, or can be made so now. An old one that was flushed meanwhile
// must not come back as part of the new value.
static bool may_join(void *context, struct link_locked *locked) {
    const struct joining *work = context;
    const struct link_view *view = work->view;
    bool is_same =
        locked->item && !locked->is_dead
        && (work->copies_unlocked
                ? locked->home == view->home
                      && (SHARED_LOAD(view->home->word) & ~LOCK_OWNER_MASK) == view->version
                : copy_locked(work->store, work->write, work->making, work->piece, view, locked));
    return is_same && work->making->filled_bytes == work->making->value_bytes;
}

static int join_once(struct store *store, const struct store_write *write,
                     const struct piece *piece, const struct link_looks *looks,
                     bool copies_unlocked, struct store_result *result) {
    const struct link_view *view = &looks->view;
    struct store_write joined = *write;
    joined.mode = STORE_REPLACE;
    joined.client_flags = view->client_flags;
    joined.expiry_seconds = view->expiry_seconds;
    joined.invalidate = false;
    joined.is_uncounted = true;
    if ((uint64_t)view->value_bytes + piece->value_bytes > INT32_MAX) {
        return STORE_NOT_STORED;
    }
    joined.value_bytes = view->value_bytes + piece->value_bytes;
    struct store_making making;
    int outcome = begin_joined(store, &joined, view, &making);
    if (outcome != STORE_ROOM_MADE) {
        return outcome;
    }
    if (copies_unlocked) {
        copy_joined(store, write, &making, piece, view->item, view->state, view->class_id);
    }
    struct item_numbers numbers = link_numbers_for(store, write->has_cas_new, write->cas_new);
    struct joining work = {store, write, piece, view, &making, copies_unlocked};
    outcome = store_replace(store, &(struct store_replacement){.key = write->key,
                                                               .key_bytes = write->key_bytes,
                                                               .hash = looks->hash,
                                                               .ref = making.ref,
                                                               .claim_plus_one = making.claim + 1,
                                                               .numbers = numbers,
                                                               .may_link = may_join,
                                                               .context = &work});
    if (outcome == STORE_STORED) {
        count(store->proc, COUNTER_total_items, 1);
        *result = (struct store_result){numbers.cas, joined.value_bytes};
    }
    return outcome;
}

// So often the old value is copied without a lock; then under it, since others keep its bucket
// changing.
#define JOINS_UNLOCKED 4
#define JOINS_MAX 64

// Joins the piece with the old value. Looks again while the old one changes.
static int commit_piece(struct store *store, const struct store_write *write,
                        const struct piece *piece, struct store_result *result) {
    struct link_looks looks;
    link_looks_begin(store, write->key, write->key_bytes, &looks);
    looks.rounds_max = JOINS_MAX;
    int outcome = STORE_LOOK_AGAIN;
    while (outcome == STORE_LOOK_AGAIN) {
        int found = link_next_look(store, &looks);
        if (found == STORE_MISS) {
            outcome = commit_missing(store, write, piece, looks.hash, result);
        } else if (found != STORE_HIT) {
            outcome = found;
        } else {
            // There is no making room under a bucket's lock: it is taken again when there is some.
            link_let_go(store, &looks.view);
            bool is_refused = write->has_cas_compare && write->cas_compare
                              && write->cas_compare != looks.view.cas;
            bool copies_unlocked = looks.round <= JOINS_UNLOCKED;
            outcome = is_refused ? STORE_EXISTS
                                 : join_once(store, write, piece, &looks, copies_unlocked, result);
        }
    }
    return outcome;
}

// The piece is all there: it needs no memory of its own.
int store_put_joined(struct store *store, const struct store_write *write, const char *value,
                     struct store_result *result) {
    struct store_write shaped = store_write_shaped(write);
    struct store_shape shape;
    int outcome = store_shape_of(store, &shaped, write->value_bytes, 0, &shape);
    if (outcome != STORE_STORED) {
        return store_refuse(store, write, outcome, COUNTER_oom_no_victim);
    }
    struct piece piece = {value, NULL, write->value_bytes};
    outcome = commit_piece(store, write, &piece, result);
    class_count(store, link_class_for(store, shape.total_bytes), CLASS_cmd_set,
                !write->is_uncounted && !store_is_put_off(outcome));
    return outcome;
}

int store_commit_joined(struct store *store, const struct store_write *write,
                        struct store_making *making, struct store_result *result) {
    struct piece piece = {NULL, making, making->value_bytes};
    int outcome = commit_piece(store, write, &piece, result);
    if (!store_is_put_off(outcome)) {
        store_abandon(store, making);
    }
    return outcome;
}
