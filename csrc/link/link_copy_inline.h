// What a process knows of copies on flash: finding a key's entries, ruling them out, invalidating
// them.
#pragma once

#include "flash/flash_index_inline.h"
#include "link/link_find_inline.h"

// Memory that grows with the largest value it had to take.
struct link_scratch {
    char *bytes;
    uint32_t size;
};
// Makes room for `bytes`; false without memory.
bool link_scratch_room(struct link_scratch *space, uint32_t bytes);

// Process-local; a crash loses nothing.
struct link_flash_local {
    struct bucket stable;    // What views of records stand on: it never changes.
    uint64_t ruled_out[FLASH_CANDIDATES_MAX];
    uint32_t ruled_out_count;
    uint32_t reads_since_recache;
    uint32_t nap_credit;             // How long this process may still wait for write buffers; see
                                     // space_evict.c.
    struct link_scratch unpacked;    // A value that was read.
    struct link_scratch packed;      // A value that is written, as it was and compressed.
    // Compaction: a record that waits for a write buffer.
    const struct flash_record *waiting;
    uint64_t waiting_address;
};
void link_flash_close(struct store *store);
MUST_CHECK int link_flash_open(struct store *store);
// Whether a key that was just found missing in memory may be on flash. When not, the caller must
// still see that its bucket has not changed since it was found missing.
bool link_may_be_on_flash(struct store *store, uint64_t hash);

// What is on flash of a key is or will be out of date: its entries go before anything else changes.
// Returns the item's state (0 without an item) without the marks of a copy. Locks: the caller holds
// the key's bucket.
uint32_t link_invalidate_copy(struct store *store, struct item *item, uint32_t state,
                              uint64_t hash);
