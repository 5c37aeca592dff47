// What a new item looks like, and how its memory is had piece by piece.
#pragma once

#include "link/link_txn_inline.h"
#include "store/store.h"

// What a new item looks like before its value is there.
struct store_shape {
    uint32_t state;
    uint32_t head_bytes;     // Header, optional fields and key.
    uint32_t total_bytes;    // Inline: the whole; large: the main chunk.
    bool is_large;
};
int store_shape_of(const struct store *store, const struct store_write *write, uint32_t value_bytes,
                   uint32_t extra_state, struct store_shape *out);
// Writes everything but the value into a fresh chunk.
void store_fill_head(struct store *store, uint32_t ref, const struct store_write *write,
                     uint32_t value_bytes, const struct store_shape *shape);

// How a piece to append or prepend is shaped: it may have to become an item of its own, with an
// expiry field then.
static inline struct store_write store_write_shaped(const struct store_write *write) {
    struct store_write shaped = *write;
    if (write->mode >= STORE_APPEND) {
        shaped.expiry_seconds = write->vivify ? write->vivify_expiry_seconds : 0;
        shaped.client_flags = write->vivify ? write->client_flags : 0;
    }
    return shaped;
}

// Takes all parts that the value will need, for one whose bytes are there already. Returns false
// when there is no room; what was taken stays with the making. Requires: as space_take().
bool store_take_parts(struct store *store, const struct store_making *making);

// An item that was made without a lock, in hand or in a claim, and what it is to replace.
struct store_replacement {
    const char *key;
    uint32_t key_bytes;
    uint64_t hash;
    uint32_t ref;
    uint32_t claim_plus_one;    // 0: it is in hand.
    struct item_numbers numbers;
    // Looks at what the key's locked bucket has, and may still fill the new item from it. False: it
    // is not what the new item was made for.
    bool (*may_link)(void *context, struct link_locked *locked);
    void *context;
};
// For `may_link`: whether the item is as the view that is the context has it.
bool store_is_unchanged(void *context, struct link_locked *locked);
// Links the item. Returns STORE_STORED; or the item is given back: STORE_LOOK_AGAIN when something
// changed, STORE_BUSY. Requires: no lock held. Locks: LOCK_BUCKET and what linking takes. Crash: it
// is linked and the other goes, or neither.
MUST_CHECK int store_replace(struct store *store, const struct store_replacement *made);
