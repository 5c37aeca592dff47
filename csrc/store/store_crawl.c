// The crawl for dead items, and the sizes of living ones.
#include "space/space_walk_inline.h"
#include "store/store_internal.h"

struct crawl {
    struct store *store;
    struct space_cursor *cursor;
};

static void crawl_chunk(void *context, uint32_t ref, uint32_t class_id) {
    struct crawl *crawl = context;
    struct store *store = crawl->store;
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED) {
        return;
    }
    crawl->cursor->items_seen++;
    class_count(store, class_id, CLASS_crawler_items_checked, 1);
    // This look saves the lock of every item that lives; the one under the lock decides.
    if (!link_is_dead(store, item, state)) {
        return;
    }
    struct link_locked locked;
    if (!link_lock_ref(store, ref, &locked)) {
        return;
    }
    if (!locked.is_dead) {
        link_unlock(store, &locked, false);
        return;
    }
    class_count(store, class_id, CLASS_crawler_reclaimed, 1);
    if (!(locked.state & ITEM_FETCHED)) {
        class_count(store, class_id, CLASS_expired_unfetched, 1);
    }
    crawl->cursor->items_reclaimed++;
    link_unlink_and_unlock(store, &locked);
}

bool store_crawl_step(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                      const uint64_t *class_mask) {
    struct crawl crawl = {store, cursor};
    return space_walk_chunks(store, cursor, chunks, class_mask, crawl_chunk, &crawl);
}

struct sizes {
    struct store *store;
    uint32_t *counts;
    uint32_t buckets;
};

static void size_chunk(void *context, uint32_t ref, uint32_t class_id) {
    (void)class_id;
    struct sizes *sizes = context;
    const struct item *item = link_item(sizes->store, ref);
    uint32_t state = item_state_of(item);
    if ((state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED
        && !link_is_flushed(sizes->store, item_order(item))) {
        uint64_t bucket = (item_total_bytes(item, state) + 31) / 32;
        sizes->counts[bucket < sizes->buckets ? bucket : sizes->buckets - 1]++;
    }
}

bool store_sizes_step(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                      uint32_t *counts, uint32_t buckets) {
    struct sizes sizes = {store, counts, buckets};
    return space_walk_chunks(store, cursor, chunks, NULL, size_chunk, &sizes);
}
