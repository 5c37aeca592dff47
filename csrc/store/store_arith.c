// Arithmetic on values that are numbers.
#include "link/link_copy_inline.h"
#include "space/space_take_inline.h"
#include "store/store_shape_inline.h"

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
                                .key_is_binary = request->key_is_binary,
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
                           struct link_view *view, struct store_number *number) {
    if (!link_upgrade(store, view)) {
        return false;
    }
    struct item_numbers numbers = link_numbers_for(store, request->has_cas_new, request->cas_new);
    if (link_is_flushed(store, view->order)) {
        link_view_unlock(store, view, false);
        return false;
    }
    link_notice_flush(store);
    struct item *item = (struct item *)view->item;
    uint32_t state = view->state;
    if (UNLIKELY(state & ITEM_ON_FLASH)) {
        state = link_invalidate_copy(store, item, state,
                                     link_hash(store, request->key, request->key_bytes));
    }
    struct link_change change = {0};
    link_change_add(store, &change, view->order, item_total_bytes(item, view->state), (uint64_t)-1);
    link_txn_plan(store, &change);
    link_txn_arm(store, TXN_IN_PLACE, (struct link_txn_names){.old_ref = view->ref});
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
    link_txn_disarm(store);
    link_view_unlock(store, view, true);
    return true;
}

// Replaces the item: by one of the exact length when the number got longer, else by its like with
// another field.
static int write_replaced(struct store *store, const struct store_arith *request,
                          const struct link_view *view, struct store_number *number) {
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
        || !(new_ref = space_take_beside(store, view->ref, shape.total_bytes))) {
        return space_refused(store, COUNTER_oom_no_victim);
    }
    store_fill_head(store, new_ref, &write, write.value_bytes, &shape);
    char *value = (char *)link_item(store, new_ref) + shape.head_bytes;
    racy_write(value, number->text, number->text_bytes);
    for (uint32_t i = number->text_bytes; i < write.value_bytes; i++) {
        racy_write(value + i, " ", 1);
    }
    struct item_numbers numbers = link_numbers_for(store, request->has_cas_new, request->cas_new);
    number->cas = numbers.cas;
    return store_replace(store, &(struct store_replacement){
                                    .key = request->key,
                                    .key_bytes = request->key_bytes,
                                    .hash = link_hash(store, request->key, request->key_bytes),
                                    .ref = new_ref,
                                    .numbers = numbers,
                                    .may_link = store_is_unchanged,
                                    .context = (void *)view});
}

static int change_number(struct store *store, const struct store_arith *request,
                         struct link_view *view, struct store_number *out) {
    char text[NUMBER_TEXT_BYTES];
    uint64_t value;
    if (!view->value || view->value_bytes > LINK_COPY_BYTES_MAX) {
        return STORE_NON_NUMERIC;
    }
    uint32_t text_bytes =
        view->value_bytes < NUMBER_TEXT_BYTES ? view->value_bytes : NUMBER_TEXT_BYTES;
    racy_copy(text, view->value, text_bytes);
    if (!link_holds(view)) {
        return STORE_LOOK_AGAIN;
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
        || (request->has_cas_new && link_has_cas(store) && !(view->state & ITEM_OWN_CAS));
    // What somebody may be sending from the arena is not changed under him: a new item takes its
    // place.
    bool is_in_place = view->value_bytes <= LINK_UNPINNED_BYTES_MAX;
    if (out->text_bytes <= view->value_bytes && !needs_field && is_in_place) {
        return write_in_place(store, request, view, out) ? STORE_STORED : STORE_LOOK_AGAIN;
    }
    // There is no making room under a bucket's lock.
    link_let_go(store, view);
    return write_replaced(store, request, view, out);
}

// The number is nowhere. Returns STORE_LOOK_AGAIN when somebody else was faster to make it: count
// with that one.
static int number_missing(struct store *store, const struct store_arith *request,
                          struct store_number *number_out) {
    int outcome = request->vivify ? vivify_number(store, request, number_out) : STORE_NOT_FOUND;
    enum counter misses = request->decrement ? COUNTER_decr_misses : COUNTER_incr_misses;
    count(store->proc, misses, outcome == STORE_NOT_FOUND);
    return outcome == STORE_NOT_STORED ? STORE_LOOK_AGAIN : outcome;
}

int store_arith(struct store *store, const struct store_arith *request,
                struct store_number *number_out) {
    struct link_looks looks;
    link_looks_begin(store, request->key, request->key_bytes, &looks);
    int outcome = STORE_LOOK_AGAIN;
    while (outcome == STORE_LOOK_AGAIN) {
        int found = link_next_look(store, &looks);
        if (found != STORE_HIT) {
            outcome = found == STORE_MISS ? number_missing(store, request, number_out) : found;
            continue;
        }
        outcome = STORE_EXISTS;
        if (!request->has_cas_compare || !request->cas_compare
            || request->cas_compare == looks.view.cas) {
            outcome = change_number(store, request, &looks.view, number_out);
        }
        link_let_go(store, &looks.view);
        if (outcome == STORE_STORED) {
            class_count(store, looks.view.class_id,
                        request->decrement ? CLASS_decr_hits : CLASS_incr_hits, 1);
        }
    }
    return outcome;
}
