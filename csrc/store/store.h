// What a key means: the operations of the cache, each whole or not at all, over slab, index and
// queues.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/link.h"

// An operation on a key may answer STORE_BUSY (enum store_step); then it has changed nothing and
// counted nothing.

struct store_geometry {
    uint64_t limit_bytes;        // Memory for items and index at start (-m).
    uint64_t limit_bytes_max;    // Up to where cache_memlimit may raise it; address space only.
    uint32_t class_count;
    const uint32_t *chunk_bytes;    // Ascending chunk sizes.
    uint32_t bucket_start;          // Index buckets at start.
    uint32_t connections_max;    // How many clients a process is to have claims for; 0 for as many
                                 // as are usual.
};

// Address space an arena needs for a store of this geometry and `slots` process slots.
uint64_t store_reserve_bytes(const struct store_geometry *geometry, uint32_t slots);

// Formats the arena's store. Requires: fresh arena of at least store_reserve_bytes(), not yet
// shared.
int store_create(struct arena *arena, const struct store_geometry *geometry);

// Takes a process slot and opens the store for this process; gives back what a dead predecessor
// left behind. Returns what proc_open() returns. Owns: the caller, until store_close(). Borrows the
// flash tier, NULL for none; all processes of an arena must agree on it.
int store_open(struct arena *arena, struct flash *flash, uint32_t slot_index, int role,
               struct store **store_out);
void store_close(struct store *store);
struct proc *store_proc(struct store *store);

enum store_mode { STORE_SET, STORE_ADD, STORE_REPLACE, STORE_APPEND, STORE_PREPEND };

// One write. Zero-initialise, then set what is wanted.
struct store_write {
    const char *key;
    uint32_t key_bytes;    // 1 to 250.
    int mode;              // enum store_mode.
    uint32_t client_flags;
    uint32_t expiry_seconds;    // On the cache's clock; 0 never; 1 at once.
    uint32_t value_bytes;
    bool key_is_binary;
    bool has_cas_compare;
    bool invalidate;                   // Meta I: an older compare CAS stores a stale value.
    bool has_cas_new;                  // Meta E.
    bool is_uncounted;                 // Not a SET of its own for the statistics.
    bool token_sent;                   // Somebody has the token to fill the item from its start.
    bool vivify;                       // Meta N for append and prepend: store when missing ...
    uint32_t vivify_expiry_seconds;    // ... with this expiry.
    uint64_t cas_compare;
    uint64_t cas_new;
};

struct store_result {
    uint64_t cas;            // The item's CAS after the operation, 0 when nothing was stored.
    uint32_t value_bytes;    // The item's value size after the operation; what was offered if not
                             // stored.
};

// Writes a value that is all in memory. Returns a storing outcome, STORE_TOO_LARGE or
// STORE_NO_MEMORY (then an old value of the key is gone when the mode is STORE_SET, as memcached
// has it).
int store_put(struct store *store, const struct store_write *write, const char *value,
              struct store_result *result);

// A value that arrives in pieces: begin, fill, then commit, abandon or give up.
struct store_making {
    uint32_t claim;
    uint32_t ref;
    uint32_t filled_bytes;
    uint32_t value_bytes;
};
// Whether a value of this size may be stored at all, whatever memory there is now.
bool store_fits(const struct store *store, const struct store_write *write);
// Takes room for the item, but for the parts of a large value, which are taken as their bytes come.
// Returns STORE_ROOM_MADE, else STORE_TOO_LARGE or STORE_NO_MEMORY.
// Owns: the caller has to call one of the three endings below; a crash gives the room back.
int store_begin(struct store *store, const struct store_write *write, struct store_making *making);
// The next place to fill and how much fits there; 0 bytes when full, or, while bytes are missing,
// when there is no room for the next part: ask again later, or give up. Requires: no lock held.
// Crash: as store_begin().
uint32_t store_making_span(struct store *store, const struct store_making *making,
                           char **place_out);
// The same for the bytes that come `ahead_bytes` behind the next one: for bytes that are known to
// have come. What is filled counts from the front all the same. Places are asked for one after the
// other.
uint32_t store_making_span_ahead(struct store *store, const struct store_making *making,
                                 uint32_t ahead_bytes, char **place_out);
// STORE_ON_FLASH and STORE_BUSY leave the value as it is: commit it again.
int store_commit(struct store *store, const struct store_write *write, struct store_making *making,
                 struct store_result *result);
void store_abandon(struct store *store, struct store_making *making);
// No room was found for the rest: the same as if store_begin() had found none. Returns
// STORE_NO_MEMORY; or STORE_BUSY, then the value on its way is still there.
int store_give_up(struct store *store, const struct store_write *write,
                  struct store_making *making);

// Removes the key as a refused or failed SET does. Returns STORE_DELETED, STORE_NOT_FOUND or
// STORE_BUSY.
int store_forget(struct store *store, const char *key, uint32_t key_bytes);

struct store_delete {
    const char *key;
    uint32_t key_bytes;
    bool has_cas_compare;
    bool mismatch_is_miss;    // Another CAS number counts as a miss, as it does for meta commands.
    bool mark_stale;          // Meta I.
    bool clear_value;         // Meta x.
    bool has_expiry;          // Meta T.
    bool has_client_flags;    // Meta F, with x.
    bool has_cas_new;         // Meta E.
    bool is_meta;             // Of no meaning here: watchers are told.
    uint32_t expiry_seconds;
    uint32_t client_flags;
    uint64_t cas_compare;
    uint64_t cas_new;
};
// Returns STORE_DELETED, STORE_NOT_FOUND, STORE_EXISTS or STORE_NO_MEMORY.
int store_delete(struct store *store, const struct store_delete *request);

struct store_arith {
    const char *key;
    uint32_t key_bytes;
    bool key_is_binary;    // Of an item that is made.
    bool decrement;
    bool has_cas_compare;
    bool has_cas_new;
    bool has_expiry;    // Meta T: new expiry on success.
    bool vivify;        // Meta N: create with `initial` when missing.
    uint32_t expiry_seconds;
    uint32_t vivify_expiry_seconds;
    uint64_t delta;
    uint64_t initial;
    uint64_t cas_compare;
    uint64_t cas_new;
};
struct store_number {
    uint64_t value;
    uint64_t cas;
    uint32_t expiry_seconds;    // Before the change; of an item that was just made, its first.
    uint32_t text_bytes;
    char text[24];    // The digits, not terminated; an item changed in place may have blanks
                      // behind.
    bool vivified;
};
// Returns STORE_STORED, STORE_NOT_FOUND, STORE_EXISTS, STORE_NON_NUMERIC, STORE_NOT_STORED or
// STORE_NO_MEMORY.
int store_arith(struct store *store, const struct store_arith *request,
                struct store_number *number_out);

// Returns STORE_TOUCHED, STORE_NOT_FOUND or STORE_NO_MEMORY.
int store_touch(struct store *store, const char *key, uint32_t key_bytes, uint32_t expiry_seconds);

// Reads a value out into `place`; for tests and tools, not for the request path.
struct store_read {
    uint32_t value_bytes;
    uint32_t client_flags;
    uint32_t expiry_seconds;
    uint32_t time_seconds;
    uint32_t state;
    uint64_t cas;
};
int store_read_value(struct store *store, const char *key, uint32_t key_bytes, char *place,
                     uint32_t place_bytes, struct store_read *out);

// Makes all items stored until now invisible, or at a later second (0 = now).
void store_flush_all(struct store *store, uint32_t at_seconds);

// Sets how many bytes items and index may use. Returns PYMC_INVALID above limit_bytes_max.
int store_set_limit(struct store *store, uint64_t limit_bytes);

// Between store_rest() and store_wake() others may take free chunks that this process has set
// aside; until its next store_wake() the caller uses the store only to read. A worker rests while
// it waits for its clients.
void store_rest(struct store *store);
void store_wake(struct store *store);

// Runs what is due at a wake-up: scheduled flush, magazines that others asked for, the page limit.
void store_turn(struct store *store);

const struct slab *store_slab(const struct store *store);
const struct index *store_index(const struct store *store);
struct lru *store_lru(struct store *store);

// All chunks that were ever handed out, by who names them.
struct store_chunks {
    uint64_t items;     // The index: items' own chunks ...
    uint64_t parts;     // ... and the parts of these items.
    uint64_t making;    // Claims MAKING, parts included.
    uint64_t limbo;     // The limbo list, parts included.
    uint64_t magazines;
    uint64_t listed;    // Pages' free lists.
    uint64_t carved;    // All together.
    uint32_t claims_making;
    uint32_t pins;    // Items that are pinned, once for each process that does.
};
// Walks everything and aborts on a contradiction; returns the number of items.
// Requires: nobody else works in the arena, and no slot has a dead owner that had no successor.
uint64_t store_check(struct store *store);
// The same, and says where all chunks are.
void store_check_chunks(struct store *store, struct store_chunks *out);
