// Keys whose value is on flash: what a session asks when memory alone has no answer. C only;
// workers use it.
//
// The way of a command whose key is not in memory: the store says STORE_ON_FLASH;
// store_flash_entry() names an entry; its record is read; store_flash_view() looks at it. A reading
// command answers from the view. A changing one calls store_bring_back() and is done over again,
// now with the key in memory. An entry that turns out to be another key's is ruled out for this
// process until store_rule_out_none(), and the command is done over again.
#pragma once

#include "store/store.h"

struct store_view;
struct flash_read;

// The first entry that may be the key's and is not ruled out, 0 when there is none. Says nothing
// about memory.
uint64_t store_flash_entry(struct store *store, uint64_t hash);

// Looks at a read that is done, and not LATE. Returns
//   STORE_HIT            the view is filled, value included (uncompressed, valid until the next
//   call
//                        for this store or until the read is released); store_holds() is true;
//   STORE_MISS_EXPIRED, STORE_MISS_FLUSHED    it is the key's and dead: its entry is gone now;
//   STORE_MISS           it could not be read or is damaged: its entry is gone now, and counted;
//   STORE_NOT_FOUND      it is another key's: rule it out and look again;
//   STORE_NOT_STORED     the entry or its page changed meanwhile: look again;
//   STORE_NO_MEMORY      the system had no memory or time for it: the record stays, another command
//                        may find it.
int store_flash_view(struct store *store, const struct flash_read *read, const char *key,
                     uint32_t key_bytes, uint64_t hash, struct store_view *view);

void store_rule_out(struct store *store, uint64_t entry);
// The same for an entry whose device does not answer: nobody knows whose it is.
void store_pass_by(struct store *store, uint64_t entry);
// Removes such an entry. Another key's goes once in 2^flash_index_hash_bits() times.
void store_flash_forget(struct store *store, uint64_t entry, uint64_t hash);
void store_rule_out_none(struct store *store);

// Notes a read of the viewed record for compaction and statistics. Returns true when the item
// should come back to memory now, by ext_recache_rate: call store_bring_back() after the value was
// copied out.
bool store_flash_note_read(struct store *store, const struct flash_read *read,
                           const struct store_view *view, uint64_t hash);

// Deletes the viewed record's key, which is not in memory. Needs no memory for that.
// Returns STORE_DELETED, STORE_NOT_STORED when something changed meanwhile (look again), or
// STORE_BUSY. Crash: deleted or not.
int store_flash_delete(struct store *store, const struct flash_read *read,
                       const struct store_view *view, const char *key, uint64_t hash);

// Puts the viewed item into memory, its record staying its clean copy on flash. This process does
// not evict it until it sets needed_ref to 0. Returns STORE_STORED, STORE_NOT_STORED when something
// changed meanwhile (look again), STORE_NO_MEMORY or STORE_BUSY.
int store_bring_back(struct store *store, const struct flash_read *read,
                     const struct store_view *view, const char *key, uint64_t hash);
