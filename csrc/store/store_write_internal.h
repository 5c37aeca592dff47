// Storing, step by step: what put, commit and join share.
#pragma once

#include "store/store_internal.h"
#include "store/store_shape_inline.h"

// Whether what is stored depends on what the key has.
static inline bool store_needs_old(const struct store_write *write) {
    return write->mode != STORE_SET || write->has_cas_compare;
}
// Decides under the lock and links. The new item is in hand, or in a claim, and stays there unless
// STORE_STORED comes back.
int store_decide_and_link(struct store *store, const struct store_write *write, uint64_t hash,
                          uint32_t new_ref, uint32_t claim_plus_one, struct store_result *result);
// store_put() and store_commit() for all modes but STORE_APPEND and STORE_PREPEND.
int store_put_new(struct store *store, const struct store_write *write, const char *value,
                  uint64_t hash, struct store_result *result);
int store_commit_new(struct store *store, const struct store_write *write,
                     struct store_making *making, struct store_result *result);
// A value that is too large, or has no room for this reason: forgets the old one where memcached
// does, and then counts. Returns the outcome; or STORE_BUSY, and nothing is counted.
int store_refuse(struct store *store, const struct store_write *write, int outcome,
                 enum counter reason);

// store_put() and store_commit() for STORE_APPEND and STORE_PREPEND.
int store_put_joined(struct store *store, const struct store_write *write, const char *value,
                     struct store_result *result);
int store_commit_joined(struct store *store, const struct store_write *write,
                        struct store_making *making, struct store_result *result);

// Fills from a buffer. Requires: the room is there.
void store_making_fill(struct store *store, struct store_making *making, const char *bytes,
                       uint32_t count_bytes);
