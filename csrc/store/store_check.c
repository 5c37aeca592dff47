// Walks every structure of the store and aborts on a contradiction: the judge of model and crash
// tests.
#include <stdlib.h>

#include "link/link_claims_inline.h"
#include "store/store_internal.h"

struct check {
    struct store *store;
    uint8_t *seen;    // One bit per unit of the page area up to the last page begun.
    uint64_t units;
    uint64_t item_bytes;
    uint64_t flushed_items;
    uint64_t flushed_bytes;
    struct store_chunks chunks;
};

// Every chunk has one owner: marks the chunk's first unit, aborts when it was marked before, and
// counts it.
static void own(struct check *check, uint32_t ref, uint64_t *counted) {
    PYMC_CHECK(ref > 0 && ref < check->units);
    PYMC_CHECK(!(check->seen[ref / 8] & (1u << ref % 8)));
    check->seen[ref / 8] |= (uint8_t)(1u << ref % 8);
    const struct slab *slab = &check->store->slab;
    uint32_t class_id = slab_class_of(slab, ref);
    PYMC_CHECK(class_id >= 1);
    uint64_t inside = ((uint64_t)ref << slab->unit_shift) & (SLAB_PAGE_BYTES - 1);
    PYMC_CHECK(inside % slab_chunk_bytes(slab, class_id) == 0);
    ++*counted;
}

// An item that no index names, with the parts it has.
static void own_unlinked(struct check *check, uint32_t ref, uint64_t *counted) {
    const struct item *item = link_item(check->store, ref);
    uint32_t state = item_state_of(item);
    own(check, ref, counted);
    PYMC_CHECK(!(state & ITEM_LINKED));
    for (uint32_t part = 0; (state & ITEM_LARGE) && part < item_large_of(item, state)->part_count;
         part++) {
        own(check, item_large_of(item, state)->parts[part], counted);
    }
}

static void visit_item(void *context, uint32_t ref, uint32_t home) {
    (void)home;
    struct check *check = context;
    const struct store *store = check->store;
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    own(check, ref, &check->chunks.items);
    PYMC_CHECK((state & ITEM_LINKED) && !(state & ITEM_PART));
    PYMC_CHECK(item_key_bytes(item->sizes) > 0);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, slab_class_of(&store->slab, ref));
    check->item_bytes += item_total_bytes(item, state);
    if (link_is_flushed(store, item_order(item))) {
        check->flushed_items++;
        check->flushed_bytes += item_total_bytes(item, state);
    }
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        for (uint32_t i = 0; i < large->part_count; i++) {
            own(check, large->parts[i], &check->chunks.parts);
            PYMC_CHECK(item_state_of(link_item(store, large->parts[i])) == ITEM_PART);
        }
    } else {
        PYMC_CHECK(item_total_bytes(item, state) <= chunk_bytes);
    }
}

static void own_magazines(struct check *check) {
    const struct store *store = check->store;
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        const struct slab_local *local = slab_local(&store->slab, slot);
        PYMC_CHECK(local->intent.step == SLAB_STEP_NONE);
        for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
            const struct slab_magazine *magazine = &local->magazine[class_id];
            PYMC_CHECK(magazine->count <= SLAB_MAGAZINE_CHUNKS);
            for (uint32_t i = 0; i < magazine->count; i++) {
                own(check, magazine->refs[i], &check->chunks.magazines);
                PYMC_CHECK(slab_class_of(&store->slab, magazine->refs[i]) == class_id);
                PYMC_CHECK(item_state_of(link_item(store, magazine->refs[i])) == 0);
            }
        }
        // Between two operations nothing is under way, and nobody has a chunk in hand.
        PYMC_CHECK(!local->hand && link_local_at(store, slot)->txn.kind == TXN_NONE);
    }
}

static void own_claims(struct check *check) {
    const struct store *store = check->store;
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        const struct store_local *local = link_local_at(store, slot);
        const uint32_t *makings = link_makings_at(store, slot);
        uint32_t used = 0;
        for (uint32_t i = 0; i < local->makings_high; i++) {
            used += makings[i] != 0;
            if (makings[i]) {
                own_unlinked(check, makings[i], &check->chunks.making);
            }
        }
        // What a process takes for free is all that it does not use.
        PYMC_CHECK(local != store->local
                   || used + store->claims->free_count == store->root->makings_max);
        check->chunks.claims_making += used;
        check->chunks.pins += link_pins_check(store, slot);
    }
}

static void own_limbo(struct check *check) {
    const struct store *store = check->store;
    uint32_t waiting = 0;
    uint64_t bytes = 0;
    uint32_t previous = 0;
    for (uint32_t ref = store->root->limbo_head; ref; ref = link_item(store, ref)->time_seconds) {
        const struct item *item = link_item(store, ref);
        own_unlinked(check, ref, &check->chunks.limbo);
        PYMC_CHECK(link_is_in_limbo(item) && item->order_low == previous);
        bytes += item_total_bytes(item, item_state_of(item));
        previous = ref;
        waiting++;
    }
    PYMC_CHECK(waiting == store->root->limbo_count && bytes == store->root->limbo_bytes);
}

static void own_page_lists(struct check *check) {
    const struct slab *slab = &check->store->slab;
    for (uint32_t i = 1; i <= slab->root->pages_begun; i++) {
        const struct slab_page *page = &slab->pages[i];
        if (page->state == SLAB_PAGE_FREE) {
            continue;
        }
        check->chunks.carved += page->carved;
        for (uint32_t ref = page->free_head; ref; ref = *(const uint32_t *)slab_chunk(slab, ref)) {
            own(check, ref, &check->chunks.listed);
            PYMC_CHECK(item_state_of(link_item(check->store, ref)) == 0);
        }
    }
}

void store_check_chunks(struct store *store, struct store_chunks *out) {
    slab_check(&store->slab);
    lru_check(&store->lru);
    struct check check = {.store = store};
    check.units = ((uint64_t)(store->slab.root->pages_begun + 1) << SLAB_PAGE_SHIFT)
                  >> store->slab.unit_shift;
    check.seen = calloc(check.units / 8 + 1, 1);
    PYMC_CHECK(check.seen);
    index_check(&store->index, visit_item, &check);
    own_magazines(&check);
    own_claims(&check);
    own_limbo(&check);
    own_page_lists(&check);
    free(check.seen);
    const struct store_chunks *chunks = &check.chunks;
    // Every chunk ever handed out was met exactly once: nothing leaked, nothing is owned twice.
    PYMC_CHECK(chunks->items + chunks->parts + chunks->magazines + chunks->listed + chunks->making
                   + chunks->limbo
               == chunks->carved);
    uint64_t counters[COUNTER_COUNT];
    store_counters_read(store, counters);
    PYMC_CHECK(counters[COUNTER_items] == chunks->items
               && counters[COUNTER_item_bytes] == check.item_bytes);
    PYMC_CHECK(counters[COUNTER_flushed_items] == check.flushed_items
               && counters[COUNTER_flushed_item_bytes] == check.flushed_bytes);
    *out = check.chunks;
}

uint64_t store_check(struct store *store) {
    struct store_chunks chunks;
    store_check_chunks(store, &chunks);
    return chunks.items;
}
