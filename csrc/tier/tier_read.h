// Keys whose value is on flash: what a session asks when memory alone has no answer. C only;
// workers use it.
//
// The way of a command whose key is not in memory: the store says STORE_ON_FLASH;
// link_flash_entry() names an entry; its record is read; tier_view() looks at it. A reading
// command answers from the view. A changing one calls tier_bring_back() and is done over again,
// now with the key in memory. An entry that turns out to be another key's is ruled out for this
// process until link_rule_out_none(), and the command is done over again.
#pragma once

#include "link/link.h"

// Looks at a read that is done, and not LATE. Returns
//   STORE_HIT            the view is filled, value included (uncompressed, valid until the next
//                        call for this store or until the read is released); link_holds() is true;
//   STORE_MISS_EXPIRED, STORE_MISS_FLUSHED    it is the key's and dead: its entry is gone now;
//   STORE_MISS           it could not be read or is damaged: its entry is gone now, and counted;
//   STORE_OTHER_KEY      it is another key's: rule it out and look again;
//   STORE_LOOK_AGAIN     the entry or its page changed meanwhile: look again;
//   STORE_NO_MEMORY      the system had no memory or time for it: the record stays, another command
//                        may find it.
int tier_view(struct store *store, const struct flash_read *read, const char *key,
              uint32_t key_bytes, uint64_t hash, struct link_view *view);

// Notes a read of the viewed record for compaction and statistics. Returns true when the item
// should come back to memory now, by ext_recache_rate: call tier_bring_back() after the value was
// copied out.
bool tier_note_read(struct store *store, const struct flash_read *read,
                    const struct link_view *view, uint64_t hash);

// Deletes the viewed record's key, which is not in memory. Needs no memory for that.
// Returns STORE_DELETED, STORE_LOOK_AGAIN when something changed meanwhile, or
// STORE_BUSY. Crash: deleted or not.
int tier_delete(struct store *store, const struct flash_read *read, const struct link_view *view,
                const char *key, uint64_t hash);

// Puts the viewed item into memory, its record staying its clean copy on flash. This process does
// not evict it until it sets needed_ref to 0. Returns STORE_STORED, STORE_LOOK_AGAIN when something
// changed meanwhile, STORE_NO_MEMORY or STORE_BUSY.
int tier_bring_back(struct store *store, const struct flash_read *read,
                    const struct link_view *view, const char *key, uint64_t hash);
