// Deleting, marking stale, and arithmetic: changes to an item that is there.
#include "store/store_find_inline.h"
#include "store/store_txn_inline.h"

// Locks the viewed item for its successor in hand. Returns STORE_HIT; else the hand is empty
// again: STORE_MISS (it has changed, or is gone), STORE_BUSY.
static int lock_again(struct store *store, const struct store_view *view, const char *key,
                      uint64_t hash, struct store_locked *locked) {
    bool is_locked = store_lock(store, key, view->key_bytes, hash, locked);
    if (is_locked && store_stands(locked, view)) {
        return STORE_HIT;
    }
    if (is_locked) {
        store_unlock(store, locked, false);
    }
    store_give_hand(store);
    return is_locked ? STORE_MISS : STORE_BUSY;
}

// Rewrites the key as an empty item that keeps what the request says: the tombstone of `md x`.
static int clear_value(struct store *store, const struct store_delete *request,
                       const struct store_view *view, uint64_t hash) {
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
        || !(new_ref = store_take_beside(store, view->ref, shape.total_bytes))) {
        return store_refused(store, COUNTER_oom_no_victim);
    }
    store_fill_head(store, new_ref, &empty, 0, &shape);
    struct item_numbers numbers = store_numbers_for(store, empty.has_cas_new, empty.cas_new);
    struct store_locked locked;
    int outcome = lock_again(store, view, request->key, hash, &locked);
    if (outcome != STORE_HIT) {
        return outcome;
    }
    if (store_link_and_unlock(store, &locked, new_ref, 0, hash, numbers) != PYMC_OK) {
        return STORE_NO_MEMORY;
    }
    class_count(store, view->class_id, CLASS_delete_hits, !request->mark_stale);
    count(store->proc, COUNTER_total_items, 1);
    return STORE_DELETED;
}

// Changes header fields in place; the value stays, so readers with a pin are not disturbed.
static int mark_stale(struct store *store, const struct store_delete *request,
                      struct store_view *view, uint64_t hash) {
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
    struct store_locked locked;
    if (!store_lock(store, request->key, request->key_bytes, hash, &locked)) {
        return STORE_BUSY;
    }
    if (!locked.item || locked.is_dead) {
        store_unlock(store, &locked, false);
        return STORE_NOT_FOUND;
    }
    if (request->has_cas_compare
        && request->cas_compare != store_cas_of(store, locked.item, locked.state)) {
        store_unlock(store, &locked, false);
        count(store->proc, COUNTER_delete_misses, 1);
        return STORE_EXISTS;
    }
    class_count(store, locked.class_id, CLASS_delete_hits, 1);
    store_unlink_and_unlock(store, &locked);
    return STORE_DELETED;
}

int store_delete(struct store *store, const struct store_delete *request) {
    uint64_t hash = store_hash(store, request->key, request->key_bytes);
    for (uint32_t round = 0; round < STORE_LOOKS_MAX; round++) {
        struct store_view view;
        int found = store_look(store, request->key, request->key_bytes, hash, round, &view);
        if (found != STORE_HIT) {
            int missed = store_missed(store, &view, found, hash, round);
            if (missed == STORE_HIT) {
                continue;
            }
            count(store->proc, COUNTER_delete_misses, missed == STORE_MISS);
            return missed == STORE_MISS ? STORE_NOT_FOUND : missed;
        }
        if (request->has_cas_compare && request->cas_compare != view.cas) {
            store_let_go(store, &view);
            count(store->proc, COUNTER_delete_misses, 1);
            return STORE_EXISTS;
        }
        if (request->mark_stale && !request->clear_value) {
            int marked = mark_stale(store, request, &view, hash);
            if (marked != STORE_MISS) {
                return marked;
            }
            continue;
        }
        store_let_go(store, &view);
        int outcome = request->clear_value ? clear_value(store, request, &view, hash)
                                           : unlink_now(store, request, hash);
        if (outcome != STORE_MISS) {
            return outcome;
        }
    }
    return STORE_BUSY;
}

// More zeros before a number than this are not looked at.
#define NUMBER_TEXT_BYTES 2048

// Reads a number the way memcached does: blanks, a plus, digits, then the value's end, a blank or a
// control character.
static bool parse_number(const char *text, uint32_t bytes, uint64_t *out) {
    uint64_t value = 0;
    uint32_t i = 0;
    while (i < bytes && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'))) {
        i++;
    }
    if (i < bytes && text[i] == '+') {
        i++;
    }
    if (i >= bytes || text[i] < '0' || text[i] > '9') {
        return false;
    }
    for (; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return i == bytes ? bytes < NUMBER_TEXT_BYTES
                      : text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r') || text[i] == '\0';
}

static uint32_t print_number(uint64_t value, char *place) {
    char digits[20];
    uint32_t count_digits = 0;
    do {
        digits[count_digits++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (uint32_t i = 0; i < count_digits; i++) {
        place[i] = digits[count_digits - 1 - i];
    }
    return count_digits;
}

static int vivify_number(struct store *store, const struct store_arith *request,
                         struct store_number *out) {
    struct store_write write = {.key = request->key,
                                .key_bytes = request->key_bytes,
                                .mode = STORE_ADD,
                                .expiry_seconds = request->vivify_expiry_seconds,
                                .is_uncounted = true,
                                .has_cas_new = request->has_cas_new,
                                .cas_new = request->cas_new};
    char text[24];
    write.value_bytes = print_number(request->initial, text);
    struct store_result result;
    int outcome = store_put(store, &write, text, &result);
    if (outcome != STORE_STORED) {
        return outcome;
    }
    *out = (struct store_number){.value = request->initial,
                                 .cas = result.cas,
                                 .text_bytes = write.value_bytes,
                                 .expiry_seconds = request->vivify_expiry_seconds,
                                 .vivified = true};
    memcpy(out->text, text, write.value_bytes);
    return STORE_STORED;
}

// Overwrites the digits in place, padded with blanks to the old length.
static bool write_in_place(struct store *store, const struct store_arith *request,
                           struct store_view *view, struct store_number *number) {
    if (!store_upgrade(store, view)) {
        return false;
    }
    struct item_numbers numbers = store_numbers_for(store, request->has_cas_new, request->cas_new);
    if (store_is_flushed(store, view->order)) {
        store_view_unlock(store, view, false);
        return false;
    }
    store_notice_flush(store);
    struct item *item = (struct item *)view->item;
    uint32_t state = view->state;
    if (UNLIKELY(state & ITEM_ON_FLASH)) {
        state = store_spoil_copy(store, item, state,
                                 store_hash(store, request->key, request->key_bytes));
    }
    struct store_change change = {0};
    store_change_add(store, &change, view->order, store_item_bytes(store, item, view->state),
                     (uint64_t)-1);
    store_txn_plan(store, &change);
    store_txn_arm(store, TXN_IN_PLACE, (struct store_txn_names){.old_ref = view->ref});
    FAULT_POINT(store->proc, "store.in_place.before");
    racy_write((char *)view->value, number->text, number->text_bytes);
    for (uint32_t i = number->text_bytes; i < view->value_bytes; i++) {
        racy_write((char *)view->value + i, " ", 1);
    }
    FAULT_POINT(store->proc, "store.in_place.half");
    item_set_numbers(item, view->state, numbers);
    number->cas = numbers.cas;
    if (request->has_expiry && (view->state & ITEM_EXPIRES)) {
        item_set_expiry(item, request->expiry_seconds);
    }
    item_set_state(item, item_used_once_more(state));
    store_txn_disarm(store);
    store_view_unlock(store, view, true);
    return true;
}

// Replaces the item: by one of the exact length when the number got longer, else by its like with
// another field. Returns STORE_MISS to look again.
static int write_replaced(struct store *store, const struct store_arith *request,
                          const struct store_view *view, struct store_number *number) {
    struct store_write write = {
        .key = request->key,
        .key_bytes = request->key_bytes,
        .mode = STORE_REPLACE,
        .client_flags = view->client_flags,
        .key_is_binary = view->state & ITEM_BINARY_KEY,
        .expiry_seconds = request->has_expiry ? request->expiry_seconds : view->expiry_seconds,
        .value_bytes =
            number->text_bytes > view->value_bytes ? number->text_bytes : view->value_bytes,
        .has_cas_new = request->has_cas_new,
        .cas_new = request->cas_new};
    struct store_shape shape;
    uint32_t new_ref = 0;
    uint32_t kept =
        number->text_bytes > view->value_bytes ? 0 : view->state & (ITEM_STALE | ITEM_TOKEN_SENT);
    if (store_shape_of(store, &write, write.value_bytes, kept, &shape) != STORE_STORED
        || !(new_ref = store_take_beside(store, view->ref, shape.total_bytes))) {
        return store_refused(store, COUNTER_oom_no_victim);
    }
    store_fill_head(store, new_ref, &write, write.value_bytes, &shape);
    char *value = (char *)store_item(store, new_ref) + shape.head_bytes;
    racy_write(value, number->text, number->text_bytes);
    for (uint32_t i = number->text_bytes; i < write.value_bytes; i++) {
        racy_write(value + i, " ", 1);
    }
    struct item_numbers numbers = store_numbers_for(store, request->has_cas_new, request->cas_new);
    number->cas = numbers.cas;
    uint64_t hash = store_hash(store, request->key, request->key_bytes);
    struct store_locked locked;
    int outcome = lock_again(store, view, request->key, hash, &locked);
    if (outcome != STORE_HIT) {
        return outcome;
    }
    int status = store_link_and_unlock(store, &locked, new_ref, 0, hash, numbers);
    return status == PYMC_OK ? STORE_STORED : STORE_NO_MEMORY;
}

static int change_number(struct store *store, const struct store_arith *request,
                         struct store_view *view, struct store_number *out) {
    char text[NUMBER_TEXT_BYTES];
    uint64_t value;
    if (!view->value || view->value_bytes > STORE_COPY_BYTES_MAX) {
        return STORE_NON_NUMERIC;
    }
    uint32_t text_bytes =
        view->value_bytes < NUMBER_TEXT_BYTES ? view->value_bytes : NUMBER_TEXT_BYTES;
    racy_copy(text, view->value, text_bytes);
    if (!store_holds(view)) {
        return STORE_MISS;
    }
    if (!parse_number(text, text_bytes, &value)) {
        return STORE_NON_NUMERIC;
    }
    if (request->decrement) {
        value = request->delta > value ? 0 : value - request->delta;
    } else {
        value += request->delta;
    }
    *out = (struct store_number){.value = value};
    out->expiry_seconds = view->expiry_seconds;
    out->text_bytes = print_number(value, out->text);
    bool needs_field =
        (request->has_expiry && request->expiry_seconds && !(view->state & ITEM_EXPIRES))
        || (request->has_cas_new && store_has_cas(store) && !(view->state & ITEM_OWN_CAS));
    // What somebody may be sending from the arena is not changed under him: a new item takes its
    // place.
    bool is_in_place = view->value_bytes <= STORE_UNPINNED_BYTES_MAX;
    if (out->text_bytes <= view->value_bytes && !needs_field && is_in_place) {
        return write_in_place(store, request, view, out) ? STORE_STORED : STORE_MISS;
    }
    // There is no making room under a bucket's lock.
    store_let_go(store, view);
    return write_replaced(store, request, view, out);
}

// The number is nowhere. Returns STORE_MISS when somebody else was faster to make it: count with
// that one.
static int number_missing(struct store *store, const struct store_arith *request,
                          struct store_number *number_out) {
    int outcome = request->vivify ? vivify_number(store, request, number_out) : STORE_NOT_FOUND;
    enum counter misses = request->decrement ? COUNTER_decr_misses : COUNTER_incr_misses;
    count(store->proc, misses, outcome == STORE_NOT_FOUND);
    return outcome == STORE_NOT_STORED ? STORE_MISS : outcome;
}

int store_arith(struct store *store, const struct store_arith *request,
                struct store_number *number_out) {
    uint64_t hash = store_hash(store, request->key, request->key_bytes);
    for (uint32_t round = 0; round < STORE_LOOKS_MAX; round++) {
        struct store_view view;
        int found = store_look(store, request->key, request->key_bytes, hash, round, &view);
        if (found != STORE_HIT) {
            int missed = store_missed(store, &view, found, hash, round);
            missed = missed == STORE_MISS ? number_missing(store, request, number_out) : missed;
            if (missed == STORE_HIT || missed == STORE_MISS) {
                continue;
            }
            return missed;
        }
        int outcome = STORE_EXISTS;
        if (!request->has_cas_compare || !request->cas_compare
            || request->cas_compare == view.cas) {
            outcome = change_number(store, request, &view, number_out);
        }
        store_let_go(store, &view);
        if (outcome == STORE_STORED) {
            class_count(store, view.class_id,
                        request->decrement ? CLASS_decr_hits : CLASS_incr_hits, 1);
        }
        if (outcome != STORE_MISS) {
            return outcome;
        }
    }
    return STORE_BUSY;
}
