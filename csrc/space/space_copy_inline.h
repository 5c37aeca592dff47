// Copying items to flash, for who writes out ahead of eviction and who evicts.
#pragma once

#include "flash/flash_buffers.h"
#include "link/link_copy_inline.h"
#include "link/link_image_inline.h"
#include "space/space.h"

// Whether an item that nobody has read since it was stored is among the `percent` that go to flash
// all the same: always the same answer for one stored value, so that it is not asked until it says
// yes.
static inline bool space_admits_unread(uint32_t state, uint64_t order, uint64_t hash,
                                       uint32_t percent) {
    return (state & ITEM_FETCHED) || ((hash ^ order * 0x9e3779b97f4a7c15ull) >> 40) % 100 < percent;
}

// What came of it. After DONE and CLEAN the item may leave memory: the index names its copy.
enum space_copied {
    SPACE_COPY_DONE,
    SPACE_COPY_CLEAN,        // It had its copy.
    SPACE_COPY_NO_ROOM,      // No write buffer had room, now.
    SPACE_COPY_CHANGED,      // Meanwhile, or it is dead.
    SPACE_COPY_NO_INDEX,     // The index had no room.
    SPACE_COPY_TOO_SMALL,    // These are not admitted.
    SPACE_COPY_TOO_YOUNG,
    SPACE_COPY_TOO_SHORT_LIVED,
    SPACE_COPY_NEVER_READ,
    SPACE_COPY_TOO_LARGE
};

// Copies the viewed item into a write buffer, if the rules admit it, and lets the index name it;
// *bucket_out is the stream that has no room. A view that holds its bucket's lock goes on holding
// it, and does not hold any more what the item's state was. Locks: LOCK_BUCKET, LOCK_FLASH. Crash:
// the item has its copy or has none.
enum space_copied space_copy_out(struct store *store, const struct link_view *view, const char *key,
                                 uint64_t hash, const struct space_admission *rules,
                                 int *bucket_out);

// The same for an item that is about to be evicted, by the settings of now whatever its age.
// Updates locked->state.
enum space_copied space_copy_evicted(struct store *store, struct link_locked *locked);
