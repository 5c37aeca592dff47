// Walks over chunks, samples of them, and the ages of what is evicted next.
#include <string.h>

#include "space/space_walk_inline.h"

static bool mask_has(const uint64_t *class_mask, uint32_t class_id) {
    return !class_mask || (class_mask[class_id / 64] >> class_id % 64 & 1);
}

#define PREFETCH_CHUNKS 8

bool space_walk_chunks(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                       const uint64_t *class_mask, space_visit visit, void *context) {
    uint32_t pages = SHARED_LOAD(store->slab.root->pages_begun);
    if (cursor->page == 0) {
        cursor->page = 1;
    }
    while (cursor->page <= pages && chunks > 0) {
        struct slab_window window;
        uint32_t class_id;
        slab_page_window(&store->slab, cursor->page, &window, &class_id);
        if (!mask_has(class_mask, class_id)) {
            window.count = 0;
        }
        for (; cursor->chunk < window.count && chunks > 0; chunks--) {
            uint32_t ahead = slab_ref(&store->slab, cursor->page, cursor->chunk + PREFETCH_CHUNKS,
                                      window.chunk_bytes);
            __builtin_prefetch(link_item(store, ahead));
            visit(context,
                  slab_ref(&store->slab, cursor->page, cursor->chunk++, window.chunk_bytes),
                  class_id);
        }
        if (cursor->chunk >= window.count) {
            cursor->page++;
            cursor->chunk = 0;
            chunks -= chunks > 0;
        }
    }
    return cursor->page <= pages;
}

void space_sample_dead(struct store *store, uint32_t pages, uint32_t chunks_per_page, uint32_t seed,
                       struct space_dead_sample *out) {
    uint32_t begun = SHARED_LOAD(store->slab.root->pages_begun);
    uint32_t stride = pages && begun > pages ? begun / pages : 1;
    memset(out, 0, sizeof *out);
    for (uint32_t page = 1 + seed % stride; page <= begun; page += stride) {
        struct slab_window window;
        uint32_t class_id;
        slab_page_window(&store->slab, page, &window, &class_id);
        for (uint32_t i = 0; i < chunks_per_page && i < window.count; i++) {
            uint32_t chunk =
                (uint32_t)(((uint64_t)i * window.count + seed) / chunks_per_page % window.count);
            const struct item *item =
                link_item(store, slab_ref(&store->slab, page, chunk, window.chunk_bytes));
            uint32_t state = item_state_of(item);
            if ((state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED) {
                out->items[class_id]++;
                out->dead[class_id] += link_is_dead(store, item, state);
            }
        }
    }
}

void space_class_ages(struct store *store, uint32_t class_id, struct space_ages *out) {
    *out = (struct space_ages){.hot_items = lru_length(&store->lru, class_id)};
    uint32_t now = store->proc->now_seconds;
    uint32_t oldest = lru_oldest(&store->lru, class_id);
    if (oldest) {
        uint32_t age = now - SHARED_LOAD(link_item(store, oldest)->time_seconds);
        out->hot_seconds = (int32_t)age > 0 ? age : 0;
    }
    const struct slab_class *class = &store->slab.root->class[class_id];
    uint32_t page = SHARED_LOAD(class->hand_page);
    uint32_t start = SHARED_LOAD(class->hand_chunk);
    if (!page) {
        page = SHARED_LOAD(class->ring);
        start = 0;
    }
    struct slab_window window;
    uint32_t owner;
    slab_page_window(&store->slab, page ? page : 1, &window, &owner);
    for (uint32_t i = 0; owner == class_id && i < 64 && i < window.count; i++) {
        uint32_t ref =
            slab_ref(&store->slab, window.page, (start + i) % window.count, window.chunk_bytes);
        const struct item *item = link_item(store, ref);
        uint32_t state = item_state_of(item);
        uint32_t age = now - SHARED_LOAD(item->time_seconds);
        if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED || (int32_t)age < 0) {
            continue;
        }
        uint32_t *place =
            item_queue_of(state) == QUEUE_WARM ? &out->warm_seconds : &out->cold_seconds;
        *place = age > *place ? age : *place;
    }
}
