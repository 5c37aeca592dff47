// What the rooms from link to tier share: the outcomes of operations; entry points for tests.
//
// The handle `struct store` is what one process has open of the whole store, from slab to flash;
// link_handle_inline.h has it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "flash/flash.h"
#include "index/index.h"
#include "shm/proc.h"
#include "slab/slab.h"

struct store;

// Expected results of an operation; never errors.
enum store_outcome {
    STORE_HIT,
    STORE_MISS,
    STORE_MISS_EXPIRED,
    STORE_MISS_FLUSHED,
    STORE_STORED,
    STORE_NOT_STORED,
    STORE_EXISTS,    // The CAS number differs.
    STORE_NOT_FOUND,
    STORE_DELETED,
    STORE_TOUCHED,
    STORE_TOO_LARGE,
    STORE_NO_MEMORY,
    STORE_NON_NUMERIC
};
// What an operation says on its way instead of an outcome.
enum store_step {
    STORE_ROOM_MADE = 64,    // There is room for the item, which can be filled.
    STORE_LOOK_AGAIN,        // What was found has changed since.
    STORE_OTHER_KEY,         // The record that was read is of another key.
    STORE_ON_FLASH,    // The answer depends on what is on flash: see tier_read.h, then ask again.
    STORE_BUSY    // Another process holds what is needed, or changes it all the time: ask again.
};

// For tests. Locks the bucket of a key as a process does that is stopped in the middle of a change;
// false when it is held. Requires: no lock held. Owns: the caller, until link_release_key().
// Locks: LOCK_BUCKET.
bool link_hold_key(struct store *store, const char *key, uint32_t key_bytes);
// Frees it, as after a change.
void link_release_key(struct store *store, const char *key, uint32_t key_bytes);
// For tests: called, in debug builds, whenever an operation of this process has looked at its key,
// or let its bucket go after a look, and is about to act on that. Requires: it uses other
// processes' handles only.
typedef void (*link_interferer)(void *context);
void link_set_interferer(struct store *store, link_interferer interfere, void *context);
// For tests: writes over a linked item so that it cannot be: the value's size (inline and large),
// for a large one `parts` too when it is not 0. False when the key is not there.
bool link_damage(struct store *store, const char *key, uint32_t key_bytes, uint32_t value_bytes,
                 uint32_t parts);

// Frees unlinked large items whose last reader is done. Returns how many still wait.
uint32_t link_limbo_step(struct store *store, uint32_t items_max);

// The first entry that may be the key's and is not ruled out, 0 when there is none. Says nothing
// about memory.
uint64_t link_flash_entry(struct store *store, uint64_t hash);
// Rules out an entry that turned out to be another key's, for this process until
// link_rule_out_none().
void link_rule_out(struct store *store, uint64_t entry);
// The same for an entry whose device does not answer: nobody knows whose it is.
void link_pass_by(struct store *store, uint64_t entry);
// Removes such an entry. Another key's goes once in 2^flash_index_hash_bits() times.
void link_forget_entry(struct store *store, uint64_t entry, uint64_t hash);
void link_rule_out_none(struct store *store);
