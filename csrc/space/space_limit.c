// How many pages items may have: what the limit leaves beside the indexes.
#include "flash/flash_index.h"
#include "space/space_take_inline.h"

void space_update_pages_limit(struct store *store) {
    uint64_t limit = (uint64_t)live_get(store->arena, LIVE_memory_limit_bytes);
    uint64_t besides = index_bytes(&store->index) + lru_bytes(&store->lru)
                       + (store->flash ? flash_index_bytes(store->flash) : 0);
    // To the nearest page: a few bytes more of index are not to cost a page of items.
    uint64_t rounded = limit + SLAB_PAGE_BYTES / 2;
    uint32_t pages = rounded > besides ? (uint32_t)((rounded - besides) >> SLAB_PAGE_SHIFT) : 0;
    slab_set_pages_limit(&store->slab, pages > SPACE_PAGES_MIN ? pages : SPACE_PAGES_MIN);
}
