// Copying items to flash, for who writes out ahead of eviction and who evicts.
#pragma once

#include "flash/flash_buffers.h"
#include "store/store_flash_internal.h"
#include "store/store_writeout.h"

// What came of it. After DONE and CLEAN the item may leave memory: the index names its copy.
enum store_copied {
    STORE_COPY_DONE,
    STORE_COPY_CLEAN,        // It had its copy.
    STORE_COPY_NO_ROOM,      // No write buffer had room, now.
    STORE_COPY_CHANGED,      // Under our eyes, or it is dead.
    STORE_COPY_NO_INDEX,     // The index had no room.
    STORE_COPY_TOO_SMALL,    // These are not admitted.
    STORE_COPY_TOO_YOUNG,
    STORE_COPY_TOO_SHORT_LIVED,
    STORE_COPY_NEVER_READ,
    STORE_COPY_TOO_LARGE
};

// Copies the viewed item into a write buffer, if the rules admit it, and lets the index name it;
// *bucket_out is the stream that has no room. A view that holds its bucket's lock goes on holding
// it, and does not hold any more what the item's state was. Locks: LOCK_BUCKET, LOCK_FLASH. Crash:
// the item has its copy or has none.
enum store_copied store_copy_out(struct store *store, const struct store_view *view,
                                 const char *key, uint64_t hash,
                                 const struct store_admission *rules, int *bucket_out);

// The same for an item that is about to be evicted, by the settings of now whatever its age.
// Updates locked->state.
enum store_copied store_copy_evicted(struct store *store, struct store_locked *locked);
