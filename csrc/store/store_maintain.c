// Background steps: the crawl for dead items, ages and sums.
#include "flash/flash_index.h"
#include "meter/meter.h"
#include "store/store_find_inline.h"
#include "store/store_writeout.h"

#include <string.h>

// Of a process that has not noticed the present flush, all that it counted is flushed.
static bool all_is_flushed(const struct store *store, uint32_t slot) {
    return SHARED_ACQUIRE(store_local_at(store, slot)->flush_noticed)
           != SHARED_LOAD(store->header->flush_order);
}

static uint32_t class_counter_of_all(uint32_t counter) {
    switch (counter) {
    case CLASS_flushed_items: return CLASS_items;
    case CLASS_flushed_item_bytes: return CLASS_item_bytes;
    case CLASS_flushed_warm_items: return CLASS_warm_items;
    case CLASS_flushed_temp_items: return CLASS_temp_items;
    default: return counter;
    }
}

static uint32_t counter_of_all(uint32_t counter) {
    switch (counter) {
    case COUNTER_flushed_items: return COUNTER_items;
    case COUNTER_flushed_item_bytes: return COUNTER_item_bytes;
    case COUNTER_flushed_with_copy: return COUNTER_items_with_copy;
    default: return counter;
    }
}

// A slot that nobody ever had counted nothing, and its memory is not touched by looking.
static bool has_counted(const struct store *store, uint32_t slot) {
    return proc_slot_generation(store->arena, slot) != 0;
}

// Adds what one slot counted in one class.
static void add_class_of_slot(const struct store *store, uint32_t slot, uint32_t class_id,
                              bool all_flushed, uint64_t *values) {
    const uint64_t *counters = store_local_at(store, slot)->class_counters[class_id];
    uint64_t oldest = SHARED_LOAD(counters[CLASS_evicted_age_seconds]);
    oldest =
        oldest > values[CLASS_evicted_age_seconds] ? oldest : values[CLASS_evicted_age_seconds];
    for (uint32_t i = 0; i < CLASS_COUNTER_COUNT; i++) {
        values[i] += SHARED_LOAD(counters[UNLIKELY(all_flushed) ? class_counter_of_all(i) : i]);
    }
    values[CLASS_evicted_age_seconds] = oldest;
}

// Sums over all slots since the start; slot by slot, since a slot's classes lie side by side.
static void class_counters_add(const struct store *store, uint32_t first, uint32_t last,
                               uint64_t *values) {
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        bool all_flushed = all_is_flushed(store, slot);
        for (uint32_t class_id = first; has_counted(store, slot) && class_id <= last; class_id++) {
            add_class_of_slot(store, slot, class_id, all_flushed, values);
        }
    }
}

void class_counters_sum(struct store *store, uint32_t first, uint32_t last, uint64_t *values) {
    PYMC_CHECK(first >= 1 && last <= store->slab.root->classes);
    memset(values, 0, CLASS_COUNTER_COUNT * sizeof *values);
    class_counters_add(store, first, last, values);
    for (uint32_t class_id = first; class_id <= last; class_id++) {
        for (uint32_t i = 0; i < CLASS_COUNTER_COUNT; i++) {
            // What `stats reset` left is 0 for gauges.
            values[i] -= SHARED_LOAD(store->root->class_counters_base[class_id][i]);
        }
    }
}

void class_counters_read(struct store *store, uint32_t class_id, uint64_t *values) {
    class_counters_sum(store, class_id, class_id, values);
}

uint32_t store_class_read_next(struct store *store, uint32_t class_id,
                               struct store_class_state *out) {
    for (class_id = class_id ? class_id : 1; class_id <= store->slab.root->classes; class_id++) {
        if (SHARED_LOAD(store->slab.root->class[class_id].pages)) {
            slab_class_read(&store->slab, class_id, &out->slab);
            store_class_ages(store, class_id, &out->ages);
            return class_id;
        }
    }
    return 0;
}

// Sums over all slots since the start.
static void counters_sum(const struct store *store, uint64_t *values) {
    memset(values, 0, COUNTER_COUNT * sizeof *values);
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        const uint64_t *counters = slot_at(store->arena, slot)->counters;
        bool all_flushed = all_is_flushed(store, slot);
        for (uint32_t i = 0; has_counted(store, slot) && i < COUNTER_COUNT; i++) {
            values[i] += SHARED_LOAD(counters[UNLIKELY(all_flushed) ? counter_of_all(i) : i]);
        }
    }
    meter_read_peaks(store->arena, values);
}

void store_counters_read(struct store *store, uint64_t *values) {
    counters_sum(store, values);
    for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
        values[i] -= SHARED_LOAD(store->root->counters_base[i]);
    }
}

static void reset_class(struct store *store, uint32_t class_id) {
    uint64_t values[CLASS_COUNTER_COUNT] = {0};
    class_counters_add(store, class_id, class_id, values);
    for (uint32_t i = 0; i < CLASS_COUNTER_COUNT; i++) {
        if (meter_class_row(i)->kind == METER_COUNTER) {
            SHARED_STORE(store->root->class_counters_base[class_id][i], values[i]);
        }
    }
}

void store_counters_reset(struct store *store) {
    uint64_t values[COUNTER_COUNT];
    counters_sum(store, values);
    for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
        if (meter_row(i)->kind == METER_COUNTER) {
            SHARED_STORE(store->root->counters_base[i], values[i]);
        }
    }
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        reset_class(store, class_id);
    }
}

static bool mask_has(const uint64_t *class_mask, uint32_t class_id) {
    return !class_mask || (class_mask[class_id / 64] >> class_id % 64 & 1);
}

#define PREFETCH_CHUNKS 8

bool store_walk_chunks(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                       const uint64_t *class_mask, store_visit visit, void *context) {
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
            __builtin_prefetch(store_item(store, ahead));
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

void store_sample_dead(struct store *store, uint32_t pages, uint32_t chunks_per_page, uint32_t seed,
                       struct store_dead_sample *out) {
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
                store_item(store, slab_ref(&store->slab, page, chunk, window.chunk_bytes));
            uint32_t state = item_state_of(item);
            if ((state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED) {
                out->items[class_id]++;
                out->dead[class_id] += store_is_dead(store, item, state);
            }
        }
    }
}

struct crawl {
    struct store *store;
    struct store_cursor *cursor;
};

static void crawl_chunk(void *context, uint32_t ref, uint32_t class_id) {
    struct crawl *crawl = context;
    struct store *store = crawl->store;
    const struct item *item = store_item(store, ref);
    uint32_t state = item_state_of(item);
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED) {
        return;
    }
    crawl->cursor->items_seen++;
    class_count(store, class_id, CLASS_crawler_items_checked, 1);
    if (!store_is_dead(store, item, state)) {
        return;
    }
    struct store_locked locked;
    if (!store_lock_ref(store, ref, &locked)) {
        return;
    }
    if (!locked.is_dead) {
        store_unlock(store, &locked, false);
        return;
    }
    class_count(store, class_id, CLASS_crawler_reclaimed, 1);
    if (!(locked.state & ITEM_FETCHED)) {
        class_count(store, class_id, CLASS_expired_unfetched, 1);
    }
    crawl->cursor->items_reclaimed++;
    store_unlink_and_unlock(store, &locked);
}

bool store_crawl_step(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                      const uint64_t *class_mask) {
    struct crawl crawl = {store, cursor};
    return store_walk_chunks(store, cursor, chunks, class_mask, crawl_chunk, &crawl);
}

bool store_shrink_step(struct store *store, uint32_t buckets_max, bool flash_too) {
    bool goes_on = index_shrink_step(&store->index, store->proc, buckets_max);
    if (store->flash && flash_too) {
        goes_on |= flash_index_shrink_step(store->flash, store->proc, buckets_max);
    }
    store_update_pages_limit(store);
    return goes_on;
}

struct sizes {
    struct store *store;
    uint32_t *counts;
    uint32_t buckets;
};

static void size_chunk(void *context, uint32_t ref, uint32_t class_id) {
    (void)class_id;
    struct sizes *sizes = context;
    const struct item *item = store_item(sizes->store, ref);
    uint32_t state = item_state_of(item);
    if ((state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED
        && !store_is_flushed(sizes->store, item_order(item))) {
        uint64_t bucket = (store_item_bytes(sizes->store, item, state) + 31) / 32;
        sizes->counts[bucket < sizes->buckets ? bucket : sizes->buckets - 1]++;
    }
}

bool store_sizes_step(struct store *store, struct store_cursor *cursor, uint32_t chunks,
                      uint32_t *counts, uint32_t buckets) {
    struct sizes sizes = {store, counts, buckets};
    return store_walk_chunks(store, cursor, chunks, NULL, size_chunk, &sizes);
}

struct drop {
    struct store *store;
    uint64_t dropped;
};

static void drop_chunk(void *context, uint32_t ref, uint32_t class_id) {
    (void)class_id;
    struct drop *drop = context;
    uint32_t state = item_state_of(store_item(drop->store, ref));
    struct store_locked locked;
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED
        || !store_lock_ref_patiently(drop->store, ref, &locked)) {
        return;
    }
    if (!(locked.state & ITEM_ON_FLASH)) {
        store_unlock(drop->store, &locked, false);
        return;
    }
    drop->dropped++;
    store_evict_and_unlock(drop->store, &locked);
}

uint64_t store_drop_clean(struct store *store) {
    struct store_cursor cursor = {0};
    struct drop drop = {store, 0};
    while (store_walk_chunks(store, &cursor, UINT32_MAX, NULL, drop_chunk, &drop)) {
    }
    return drop.dropped;
}

void store_class_ages(struct store *store, uint32_t class_id, struct store_ages *out) {
    *out = (struct store_ages){.hot_items = lru_length(&store->lru, class_id)};
    uint32_t now = store->proc->now_seconds;
    uint32_t oldest = lru_oldest(&store->lru, class_id);
    if (oldest) {
        uint32_t age = now - SHARED_LOAD(store_item(store, oldest)->time_seconds);
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
        const struct item *item = store_item(store, ref);
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
