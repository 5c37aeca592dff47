// The fingerprint index: for each record on flash one 8-byte entry, found by the hash of its key;
// no keys in memory.
//
// An entry says where a record is, about how large it is, whether it was read since it was written,
// and 21 bits of its key's hash: more, where the addresses of the tier leave some of theirs free. A
// look-up may find entries of other keys with the same bits: whoever reads compares the key. The
// owner of a key (who holds its bucket of the main index) adds entries for it; anybody who knows a
// record's address may remove it. A page's counts change while the entry's bucket is locked; after
// a death they may be one too high.
//
//   entry: | link 1 = 0 | hash 21 | read 1 | size class 5 | more hash, address: 36 |   0: empty
//   slot link:  | 1 | number of an overflow bucket |                            only in a bucket's
//   last slot
#pragma once

#include "base/check_inline.h"
#include "flash/flash.h"

// More entries than this with one key's bits are not found, so none is added then.
#define FLASH_CANDIDATES_MAX 4

uint64_t flash_index_reserve_bytes(const struct flash_geometry *geometry);
// Formats the index; flash->root and flash->pages are there. Sets root->index_offset and
// flash->index.
MUST_CHECK int flash_index_create(struct flash *flash, const struct flash_geometry *geometry);

// Copies the entries that may be the key's into out[]; returns how many, at most
// FLASH_CANDIDATES_MAX. Takes no lock.
uint32_t flash_find(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t *out);

// Adds an entry and counts it in its page. Where so many keys share their hash's low bits that the
// chain is full, another entry of it goes. Returns PYMC_NO_MEMORY when the index may not grow, and
// PYMC_BUSY when there are FLASH_CANDIDATES_MAX entries with these bits.
// Locks: LOCK_FLASH. Crash: the entry is in or it is not.
MUST_CHECK int flash_insert(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address,
                            uint32_t record_bytes);
// Removes the entry of this address; false when there is none (any more).
bool flash_remove(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address);
// Removes all entries that may be the key's; returns how many. Very rarely one of them is another
// key's.
uint32_t flash_remove_all(struct flash *flash, struct proc *proc, uint64_t hash);
// Lets the entry of `from` name `to` instead, not read yet; false when it is gone. Counts both
// pages.
bool flash_move(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t from, uint64_t to);
// Notes a read. Does nothing when the entry is gone or was noted before; returns whether it had
// been read before.
bool flash_mark_read(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address);
// The entry of this address, 0 when there is none. Takes no lock.
uint64_t flash_entry_at(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address);

// Merges up to `buckets_max` buckets away when there are few entries, down to as many as there were
// at the start, and gives a bounded part of the memory behind the last one back. Returns false when
// there is nothing left to do now. Locks: LOCK_FLASH_GROW if nobody holds it, LOCK_FLASH,
// LOCK_FLASH_SPLIT, LOCK_LEAF. Crash: a merge is done or undone.
bool flash_index_shrink_step(struct flash *flash, struct proc *proc, uint32_t buckets_max);

// How often a bucket has changed, counted on over the times when there is no such bucket: a number
// is never met twice. Takes no lock. Requires: there is this bucket.
uint64_t flash_index_version(const struct flash *flash, uint64_t number);

// Restores what a dead process left half done in the index and frees its locks.
void flash_index_repair(struct flash *flash, struct proc *self, uint32_t dead_slot_index);

// Walks everything and aborts on a contradiction; returns the number of entries. Requires: nobody
// else works here.
uint64_t flash_index_check(struct flash *flash);
