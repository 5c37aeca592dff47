// Values that come in pieces: room for the item, parts as their bytes come, giving up.
#include "link/link_value_inline.h"
#include "space/space_take_inline.h"
#include "store/store_write_internal.h"

// Takes the next part of a half-made large item. Returns false when there is no room for it.
static bool take_part(struct store *store, uint32_t ref, struct item_large *large) {
    uint32_t bytes =
        link_part_bytes(store, large->value_bytes, large->part_count) + ITEM_HEADER_BYTES;
    uint32_t new_ref = space_take_room(store, bytes);
    if (!new_ref) {
        return false;
    }
    struct item *part = link_item(store, new_ref);
    uint32_t number = large->part_count;
    SHARED_STORE(part->time_seconds, ref);
    SHARED_STORE(part->sizes, 0);
    item_set_state(part, ITEM_PART);
    link_txn_arm(store, TXN_ADD_PART,
                 (struct link_txn_names){.new_ref = new_ref, .owner_ref = ref, .part = number});
    SHARED_RELEASE(large->parts[number], new_ref);
    SHARED_DECIDE(large->part_count, number + 1);
    FAULT_POINT(store->proc, "store.part.added");
    link_txn_decided(store, TXN_ADD_PART);
    return true;
}

bool store_take_parts(struct store *store, const struct store_making *making) {
    const struct item *item = link_item(store, making->ref);
    uint32_t state = item_state_of(item);
    if (!(state & ITEM_LARGE)) {
        return true;
    }
    struct item_large *large = item_large_of(item, state);
    uint32_t payload = link_part_payload_bytes(store);
    uint32_t parts = (large->value_bytes + payload - 1) / payload;
    while (large->part_count < parts) {
        if (!take_part(store, making->ref, large)) {
            return false;
        }
    }
    return true;
}

// Takes the item's own chunk and claims it. Returns the claim, or LINK_NO_CLAIM and says why.
static uint32_t claim_room(struct store *store, const struct store_write *write,
                           const struct store_shape *shape, uint32_t value_bytes,
                           enum counter *reason_out) {
    *reason_out = COUNTER_oom_no_victim;
    uint32_t new_ref = space_take_room(store, shape->total_bytes);
    if (!new_ref) {
        return LINK_NO_CLAIM;
    }
    class_count(store, slab_class_of(&store->slab, new_ref), CLASS_cmd_set, !write->is_uncounted);
    store_fill_head(store, new_ref, write, value_bytes, shape);
    uint32_t claim = link_claim_hand(store);
    if (claim == LINK_NO_CLAIM) {
        link_give_hand(store);
        *reason_out = COUNTER_oom_claims;
    }
    return claim;
}

int store_begin(struct store *store, const struct store_write *write, struct store_making *making) {
    struct store_shape shape;
    struct store_write shaped = store_write_shaped(write);
    enum counter reason = COUNTER_store_too_large;
    int outcome = store_shape_of(store, &shaped, write->value_bytes, 0, &shape);
    if (outcome == STORE_STORED) {
        uint32_t claim = claim_room(store, &shaped, &shape, write->value_bytes, &reason);
        if (claim != LINK_NO_CLAIM) {
            uint32_t ref = store->claims->making_ref[claim];
            *making = (struct store_making){
                .claim = claim, .ref = ref, .value_bytes = write->value_bytes};
            return STORE_ROOM_MADE;
        }
        outcome = STORE_NO_MEMORY;
    }
    return store_refuse(store, write, outcome, reason);
}

uint32_t store_making_span(struct store *store, const struct store_making *making,
                           char **place_out) {
    return store_making_span_ahead(store, making, 0, place_out);
}

uint32_t store_making_span_ahead(struct store *store, const struct store_making *making,
                                 uint32_t ahead_bytes, char **place_out) {
    const struct item *item = link_item(store, making->ref);
    uint32_t state = item_state_of(item);
    uint32_t offset = making->filled_bytes + ahead_bytes;
    if ((state & ITEM_LARGE) && offset < making->value_bytes) {
        struct item_large *large = item_large_of(item, state);
        bool is_there = offset / link_part_payload_bytes(store) < large->part_count;
        if (!is_there && !take_part(store, making->ref, large)) {
            return 0;
        }
    }
    const char *place = NULL;
    uint32_t bytes = link_value_span(store, item, state, slab_class_of(&store->slab, making->ref),
                                     offset, &place);
    *place_out = (char *)place;
    return bytes;
}

int store_give_up(struct store *store, const struct store_write *write,
                  struct store_making *making) {
    int outcome = store_refuse(store, write, STORE_NO_MEMORY, COUNTER_oom_no_victim);
    if (outcome != STORE_BUSY) {
        store_abandon(store, making);
    }
    return outcome;
}

void store_abandon(struct store *store, struct store_making *making) {
    if (making->ref) {
        making->ref = 0;
        link_txn_free_claim(store, making->claim);
    }
}

void store_making_fill(struct store *store, struct store_making *making, const char *bytes,
                       uint32_t count_bytes) {
    while (count_bytes > 0) {
        char *place;
        uint32_t fits = store_making_span(store, making, &place);
        fits = fits < count_bytes ? fits : count_bytes;
        if (fits == 0) {
            return;
        }
        racy_write(place, bytes, fits);
        making->filled_bytes += fits;
        bytes += fits;
        count_bytes -= fits;
    }
}
