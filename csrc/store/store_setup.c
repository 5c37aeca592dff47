// Making and opening the store, its limit, its turn at every wake-up.
#include <stdlib.h>

#include "link/link_copy_inline.h"
#include "link/link_probation_inline.h"
#include "link/link_txn_inline.h"
#include "space/space_take_inline.h"
#include "store/store_internal.h"

// The smallest item is about one chunk of the first class; the index never needs more buckets than
// this.
static uint32_t bucket_max_of(const struct store_geometry *geometry) {
    uint64_t items = geometry->limit_bytes_max / (geometry->chunk_bytes[0] + 8);
    uint64_t buckets = items / (INDEX_ENTRIES_PER_BUCKET - 1) + geometry->bucket_start + 64;
    return buckets > 0x7fffffffu ? 0x7fffffffu : (uint32_t)buckets;
}

static uint32_t pages_max_of(const struct store_geometry *geometry) {
    // One more page per class may be opened beyond the limit, and page 0 is never used.
    return (uint32_t)(geometry->limit_bytes_max >> SLAB_PAGE_SHIFT) + geometry->class_count + 2;
}

static struct lru_geometry lru_geometry_of(const struct store_geometry *geometry) {
    // Besides its chunk an item costs its share of the index.
    return (struct lru_geometry){.classes = geometry->class_count,
                                 .items_max =
                                     geometry->limit_bytes_max / (geometry->chunk_bytes[0] + 8)};
}

uint64_t store_reserve_bytes(const struct store_geometry *geometry, uint32_t slots) {
    if (geometry->class_count == 0 || geometry->class_count >= SLAB_CLASSES_MAX) {
        return 0;
    }
    struct lru_geometry lru = lru_geometry_of(geometry);
    struct slab_geometry slab = {.pages_max = pages_max_of(geometry),
                                 .class_count = geometry->class_count,
                                 .chunk_bytes = geometry->chunk_bytes};
    return slab_reserve_bytes(&slab, slots) + index_reserve_bytes(bucket_max_of(geometry), slots)
           + lru_reserve_bytes(&lru) + sizeof(struct store_root)
           + slots
                 * link_claims_bytes(link_pin_groups_for(geometry->connections_max),
                                     link_makings_for(geometry->connections_max))
           + (uint64_t)slots * (sizeof(struct store_local) + sizeof(struct slot)) + (2u << 20);
}

int store_create(struct arena *arena, const struct store_geometry *geometry) {
    if (geometry->class_count == 0 || geometry->class_count >= SLAB_CLASSES_MAX
        || geometry->limit_bytes > geometry->limit_bytes_max) {
        return PYMC_INVALID;
    }
    uint64_t root_offset = arena_reserve(arena, sizeof(struct store_root), 64, "store_local");
    if (!root_offset) {
        return PYMC_NO_MEMORY;
    }
    struct store_root *root = (struct store_root *)(arena->base + root_offset);
    root->limit_bytes_max = geometry->limit_bytes_max;
    root->local_offset = arena_reserve(
        arena, (uint64_t)arena->header->slots * sizeof(struct store_local), 64, "store_local");
    root->pin_groups = link_pin_groups_for(geometry->connections_max);
    root->makings_max = link_makings_for(geometry->connections_max);
    root->claims_offset = arena_reserve(
        arena, arena->header->slots * link_claims_bytes(root->pin_groups, root->makings_max), 64,
        "store_claims");
    arena->header->roots[ARENA_ROOT_STORE] = root_offset;
    struct lru_geometry lru = lru_geometry_of(geometry);
    int status = root->local_offset && root->claims_offset ? PYMC_OK : PYMC_NO_MEMORY;
    if (status == PYMC_OK) {
        status = index_create(arena, geometry->bucket_start, bucket_max_of(geometry));
    }
    if (status == PYMC_OK) {
        status = lru_create(arena, &lru);
    }
    if (status == PYMC_OK) {
        // Last, since its page area is the largest part and reads may run a little past an item.
        struct slab_geometry slab = {.pages_max = pages_max_of(geometry),
                                     .class_count = geometry->class_count,
                                     .chunk_bytes = geometry->chunk_bytes};
        status = slab_create(arena, &slab);
    }
    if (status == PYMC_OK) {
        arena->header->live[LIVE_memory_limit_bytes] = (int64_t)geometry->limit_bytes;
    }
    return status;
}

// Items' times are precise enough to tell what was used lately when they are renewed some times
// within a lifetime.
#define BUMPS_PER_LIFETIME 8

// What reads note in items: whether it is proven, while nothing is evicted; else how many, and more
// precisely when.
static void follow_lifetime(struct store *store) {
    uint32_t lifetime = SHARED_LOAD(store->root->lifetime_seconds);
    uint32_t seconds = lifetime / BUMPS_PER_LIFETIME;
    bool is_short = lifetime && seconds < STORE_BUMP_SECONDS_MAX;
    store->bump_seconds = !is_short ? STORE_BUMP_SECONDS_MAX : seconds ? seconds : 1;
    if (UNLIKELY(store->flash)) {
        // What is in use must not leave memory for being idle, see tier_leave_step().
        uint64_t wanted =
            (uint64_t)live_get(store->arena, LIVE_ext_item_age_seconds) / BUMPS_PER_LIFETIME;
        store->bump_seconds =
            wanted < store->bump_seconds ? (wanted ? (uint32_t)wanted : 1) : store->bump_seconds;
    }
    store->bump_mask = ITEM_FETCHED | (lifetime ? ITEM_READS_MASK : ITEM_READS_LOW);
}

static uint64_t hash_of_ref(void *context, uint32_t ref) {
    const struct store *store = context;
    if (UNLIKELY(ref >= store->ref_end)) {
        return 0;    // Who locks its bucket removes it.
    }
    const struct item *item = link_item(store, ref);
    return link_hash(store, item_key(item, item_state_of(item)), item_key_bytes(item->sizes));
}

// Parts are far smaller than the largest chunk, so that a value that comes in slowly holds little
// more than has come; and not so small that their number counts.
#define PART_BYTES_MIN (64u << 10)
#define PART_BYTES_MAX (128u << 10)

// The class whose chunks leave least of a page unused; of equals the largest.
static uint32_t part_class_of(const struct slab *slab) {
    uint32_t best = slab->root->classes;
    uint32_t best_waste = SLAB_PAGE_BYTES;
    for (uint32_t class_id = slab->root->classes; class_id >= 1; class_id--) {
        uint32_t bytes = slab_chunk_bytes(slab, class_id);
        if (bytes < PART_BYTES_MIN) {
            break;
        }
        uint32_t waste = bytes > PART_BYTES_MAX ? SLAB_PAGE_BYTES : SLAB_PAGE_BYTES % bytes;
        // Without one of the wanted size the next larger one serves.
        if (waste < best_waste || best_waste == SLAB_PAGE_BYTES) {
            best = class_id;
            best_waste = waste;
        }
    }
    return best;
}

int store_open(struct arena *arena, struct flash *flash, uint32_t slot_index, int role,
               struct store **store_out) {
    struct store *store = calloc(1, sizeof *store);
    if (!store) {
        return PYMC_NO_MEMORY;
    }
    store->arena = arena;
    store->flash = flash;
    store->header = arena->header;
    store->hash_seed = arena->header->hash_seed;
    store->root = (struct store_root *)(arena->base + arena->header->roots[ARENA_ROOT_STORE]);
    slab_attach(arena, &store->slab);
    index_attach(arena, &store->index, hash_of_ref, store);
    lru_attach(arena, &store->lru);
    store->ref_end = (uint32_t)(((uint64_t)store->slab.root->pages_max << SLAB_PAGE_SHIFT)
                                >> store->slab.unit_shift);
    store->largest_class = store->slab.root->classes;
    store->part_class = part_class_of(&store->slab);
    for (uint32_t units = 0; units <= 1024; units++) {
        store->class_by_units[units] = (uint8_t)slab_class_for(&store->slab, units * 8);
    }
    // Every fourth of a size is an anchor, from the largest class down.
    uint32_t anchor = store->slab.root->classes;
    for (uint32_t class_id = anchor; class_id >= 1; class_id--) {
        uint64_t bytes = slab_chunk_bytes(&store->slab, class_id);
        anchor =
            bytes * 5 < (uint64_t)slab_chunk_bytes(&store->slab, anchor) * 4 ? class_id : anchor;
        store->anchor[class_id] = (uint8_t)anchor;
    }
    int status = proc_open(arena, slot_index, role, store_repair, store, &store->proc);
    if (status != PYMC_OK) {
        free(store);
        return status;
    }
    watch_open(store->proc, &store->watch);
    slab_enter(&store->slab, store->proc);
    lru_enter(&store->lru, store->proc);
    status = link_flash_open(store);
    if (status != PYMC_OK) {
        proc_close(store->proc);
        free(store);
        return status;
    }
    store->local = link_local_at(store, slot_index);
    status = link_claims_open(store);
    if (status == PYMC_OK) {
        status = space_room_open(store);
    }
    if (status != PYMC_OK) {
        link_claims_close(store);
        link_flash_close(store);
        proc_close(store->proc);
        free(store);
        return status;
    }
    follow_lifetime(store);
    slab_end_rest(&store->slab, store->proc, false);
    link_txn_reclaim(store);
    link_claims_begin(store);
    slab_drain_cancel_all(&store->slab, store->proc);
    // A predecessor may have died with a full list, and the next item would be written past its
    // end.
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        link_push_pending(store, class_id);
    }
    store->proc->now_seconds = 2;
    space_update_pages_limit(store);
    *store_out = store;
    return PYMC_OK;
}

void store_close(struct store *store) {
    if (!store) {
        return;
    }
    store_wake(store);
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        link_push_pending(store, class_id);
    }
    space_room_close(store);
    slab_flush(&store->slab, store->proc);
    slab_end_rest(&store->slab, store->proc, true);
    proc_close(store->proc);
    link_flash_close(store);
    link_claims_close(store);
    free(store);
}

struct proc *store_proc(struct store *store) {
    return store->proc;
}

const struct slab *store_slab(const struct store *store) {
    return &store->slab;
}

const struct index *store_index(const struct store *store) {
    return &store->index;
}

struct lru *store_lru(struct store *store) {
    return &store->lru;
}

int store_set_limit(struct store *store, uint64_t limit_bytes) {
    if (limit_bytes > store->root->limit_bytes_max) {
        return PYMC_INVALID;
    }
    SHARED_STORE(store->header->live[LIVE_memory_limit_bytes], (int64_t)limit_bytes);
    space_update_pages_limit(store);
    return PYMC_OK;
}

void store_wake(struct store *store) {
    if (store->is_resting) {
        slab_wake(&store->slab, store->proc);
        store->is_resting = false;
    }
}

void store_rest(struct store *store) {
    slab_rest(&store->slab, store->proc);
    store->is_resting = true;
}

void store_turn(struct store *store) {
    slab_flush_if_asked(&store->slab, store->proc);
    space_room_turn(store);
    if (UNLIKELY(store->has_full_chain)) {
        space_make_chain_room(store);
    }
    follow_lifetime(store);
    store_flush_turn(store);
    watch_turn(&store->watch);
}

void store_note_text(struct store *store, uint32_t watch_class, const char *text,
                     uint32_t text_bytes) {
    watch_turn(&store->watch);
    watch_note_text(&store->watch, watch_class, text, text_bytes);
}
