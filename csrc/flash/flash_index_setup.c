// Making, repairing and checking the fingerprint index.
#include <string.h>

#include "base/bits_inline.h"
#include "flash/flash_index_internal.h"

#define START_BUCKETS_MIN 64
// How often the index may double until it has room for the expected number of records, or reaches
// its limit. Each time costs one of the bits by which the entries of a bucket differ.
#define START_DOUBLINGS 3
#define RECORD_BYTES_MIN 64

struct shape {
    uint64_t bucket_max;
    uint32_t start_bits;
    uint32_t overflow_max;
};

static struct shape shape_of(const struct flash_geometry *geometry) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < geometry->path_count; i++) {
        bytes += geometry->paths[i].bytes;
    }
    uint64_t hint =
        geometry->item_bytes_hint > RECORD_BYTES_MIN ? geometry->item_bytes_hint : RECORD_BYTES_MIN;
    uint64_t wanted = bytes / hint / FLASH_ENTRIES_PER_BUCKET;
    uint64_t bucket_max =
        geometry->index_bytes_max
        / (sizeof(struct flash_home) + sizeof(struct flash_overflow) / FLASH_BUCKETS_PER_OVERFLOW);
    bucket_max = bucket_max > START_BUCKETS_MIN ? bucket_max : START_BUCKETS_MIN;
    bucket_max = bucket_max < UINT32_MAX ? bucket_max : UINT32_MAX;
    wanted = wanted < bucket_max ? wanted : bucket_max;
    uint64_t first = START_BUCKETS_MIN;
    while (first << START_DOUBLINGS < wanted) {
        first <<= 1;
    }
    struct shape shape = {.start_bits = 63 - (uint32_t)__builtin_clzll(first)};
    uint64_t reachable = 1ull << (shape.start_bits + FLASH_HASH_BITS);
    shape.bucket_max = bucket_max < reachable ? bucket_max : reachable;
    shape.overflow_max = (uint32_t)(shape.bucket_max / FLASH_BUCKETS_PER_OVERFLOW);
    return shape;
}

// Tables of buckets fill whole system pages, so that what is given back is nothing else's.
static uint64_t homes_bytes(const struct shape *shape) {
    return flash_homes_end(shape->bucket_max) * sizeof(struct flash_home);
}
static uint64_t overflow_bytes(const struct shape *shape) {
    return (uint64_t)flash_overflows_end(shape->overflow_max) * sizeof(struct flash_overflow);
}

uint64_t flash_index_reserve_bytes(const struct flash_geometry *geometry) {
    struct shape shape = shape_of(geometry);
    return homes_bytes(&shape) + overflow_bytes(&shape)
           + bits_words(shape.overflow_max) * sizeof(uint64_t) + sizeof(struct flash_index_root)
           + 3 * ARENA_SYSTEM_PAGE_BYTES;
}

// How many bits the addresses of a tier need.
static uint32_t bits_of(const struct flash_root *root) {
    uint64_t units = (uint64_t)root->page_count * root->units_per_page;
    uint32_t bits = units > 1 ? 64 - (uint32_t)__builtin_clzll(units - 1) : 1;
    PYMC_CHECK(bits <= FLASH_ADDRESS_BITS);
    return bits;
}

int flash_index_create(struct flash *flash, const struct flash_geometry *geometry) {
    struct shape shape = shape_of(geometry);
    uint64_t offset =
        arena_reserve(flash->arena, sizeof(struct flash_index_root), 64, "flash_index");
    if (!offset) {
        return PYMC_NO_MEMORY;
    }
    struct flash_index_root *root = (struct flash_index_root *)(flash->arena_base + offset);
    root->homes_offset =
        arena_reserve(flash->arena, homes_bytes(&shape), ARENA_SYSTEM_PAGE_BYTES, "flash_index");
    root->overflow_offset =
        arena_reserve(flash->arena, overflow_bytes(&shape), ARENA_SYSTEM_PAGE_BYTES, "flash_index");
    uint64_t bits_bytes = bits_words(shape.overflow_max) * sizeof(uint64_t);
    root->overflow_bits_offset = arena_reserve(flash->arena, bits_bytes, 64, "flash_index");
    if (!root->homes_offset || !root->overflow_offset || !root->overflow_bits_offset) {
        return PYMC_NO_MEMORY;
    }
    root->start_bits = shape.start_bits;
    root->bucket_count = 1ull << shape.start_bits;
    root->buckets_touched = flash_homes_end(root->bucket_count);
    root->bucket_max = shape.bucket_max;
    root->overflow_max = shape.overflow_max;
    root->hash_mask = (1ull << (shape.start_bits + FLASH_HASH_BITS)) - 1;
    root->address_bits = bits_of(flash->root);
    flash->address_mask = (1ull << root->address_bits) - 1;
    root->spare_bits = FLASH_ADDRESS_BITS - root->address_bits;
    uint32_t left = 64 - shape.start_bits - FLASH_HASH_BITS;
    root->spare_bits = root->spare_bits < left ? root->spare_bits : left;
    root->fingerprint_mask = FLASH_LINK | ((1ull << FLASH_HASH_BITS) - 1) << FLASH_HASH_SHIFT
                             | ((1ull << root->spare_bits) - 1) << root->address_bits;
    flash->root->index_offset = offset;
    flash->index = root;
    return PYMC_OK;
}

uint32_t flash_index_hash_bits(const struct flash *flash) {
    return flash->index->start_bits + FLASH_HASH_BITS + flash->index->spare_bits;
}

uint64_t flash_index_bytes(const struct flash *flash) {
    const struct flash_index_root *root = flash->index;
    return SHARED_LOAD(root->bucket_count) * sizeof(struct flash_home)
           + SHARED_LOAD(root->overflow_begun) * sizeof(struct flash_overflow);
}

uint64_t flash_index_version(const struct flash *flash, uint64_t number) {
    PYMC_CHECK(number < SHARED_LOAD(flash->index->bucket_count));
    return SHARED_LOAD(flash_home_at(flash, number)->words[0]) / LOCK_VERSION_STEP;
}

uint64_t flash_index_entries(const struct flash *flash) {
    int64_t entries = SHARED_LOAD(flash->index->entries);
    for (uint32_t i = 0; i < flash->arena->header->slots; i++) {
        entries += SHARED_LOAD(flash_local(flash, i)->entries_pending);
    }
    return entries > 0 ? (uint64_t)entries : 0;
}

static bool chain_has(const struct flash *flash, struct flash_home *home, uint64_t overflow) {
    struct flash_span span = flash_span_of(home);
    for (uint32_t depth = 0; flash_span_next(flash, &span); depth++) {
        PYMC_CHECK(depth < FLASH_CHAIN_MAX);
        if (span.words == flash_overflow_at(flash, overflow)->words) {
            return true;
        }
    }
    return false;
}

// The overflow bucket in the dead process's hand hangs in a chain that it holds, or goes back.
static void repair_hand(struct flash *flash, struct proc *self, struct flash_local *local,
                        struct flash_home **held) {
    uint64_t taken = local->overflow_taken;
    if (!taken) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        if (held[i] && chain_has(flash, held[i], taken - 1)) {
            SHARED_RELEASE(local->overflow_taken, 0);
            return;
        }
    }
    flash_overflow_give(flash, self, local);
}

// The slot of the first entry of this address in a chain.
static const uint64_t *first_of(const struct flash *flash, struct flash_home *home,
                                uint64_t address) {
    struct flash_span span = flash_span_of(home);
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (entry && !(entry & FLASH_LINK) && flash_entry_address(flash, entry) == address) {
                return &span.words[i];
            }
        }
    } while (flash_span_next(flash, &span));
    return NULL;
}

// Drops entries that live in another bucket by now, and second copies of those that were on their
// way in the chain.
static void scrub(struct flash *flash, struct flash_home *home) {
    const struct flash_index_root *root = flash->index;
    uint64_t number = (uint64_t)(home - flash_home_at(flash, 0));
    struct flash_span span = flash_span_of(home);
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (entry && !(entry & FLASH_LINK)
                && (flash_home_of_entry(root, entry, number, root->bucket_count) != number
                    || first_of(flash, home, flash_entry_address(flash, entry))
                           != &span.words[i])) {
                SHARED_RELEASE(span.words[i], 0);
            }
        }
    } while (flash_span_next(flash, &span));
}

static struct flash_home *home_held(const struct flash *flash, uint64_t number_plus_one,
                                    uint32_t dead_slot_index) {
    struct flash_home *home = number_plus_one ? flash_home_at(flash, number_plus_one - 1) : NULL;
    return home && lock_is_held_by(&home->words[0], dead_slot_index) ? home : NULL;
}

void flash_index_repair(struct flash *flash, struct proc *self, uint32_t dead_slot_index) {
    struct flash_index_root *root = flash->index;
    struct flash_local *local = flash_local(flash, dead_slot_index);
    flash_overflow_repair(flash, dead_slot_index);
    flash_release_repair(flash, dead_slot_index);
    uint64_t to = local->split_to;
    struct flash_home *held[4] = {home_held(flash, local->held, dead_slot_index)};
    if (to) {
        held[1] = home_held(flash, flash_split_source(to - 1) + 1, dead_slot_index);
        held[2] = home_held(flash, to, dead_slot_index);
        // Nobody can reach it; what it has is cleared by the next split or merge.
        held[3] = root->bucket_count == to - 1 ? flash_home_at(flash, to - 1) : NULL;
    }
    repair_hand(flash, self, local, held);
    FAULT_POINT(self, "flash.index.repair.hand");
    for (int i = 0; i < 3; i++) {
        // The same bucket may be held for two reasons.
        if (held[i] && lock_is_held_by(&held[i]->words[0], dead_slot_index)) {
            // Nobody can reach one that is not counted, and who clears it does so without its lock:
            // its overflow buckets may be in other chains by now. While the dead one's lock is held
            // nobody splits or merges it, so it stays counted or not.
            if ((uint64_t)(held[i] - flash_home_at(flash, 0)) < SHARED_LOAD(root->bucket_count)) {
                scrub(flash, held[i]);
            }
            FAULT_POINT(self, "flash.index.repair.scrubbed");
            lock_free_dead(&held[i]->words[0]);
        }
    }
    FAULT_POINT(self, "flash.index.repair.freed");
    SHARED_RELEASE(local->split_to, 0);
    if (lock_is_held_by(&root->grow_lock, dead_slot_index)) {
        lock_free_dead(&root->grow_lock);
    }
}

struct tally {
    uint64_t entries;
    uint64_t overflow;
    uint32_t *objects;    // Per page.
    uint32_t *objects_read;
};

static void check_entry(struct flash *flash, struct flash_home *home, const uint64_t *slot,
                        struct tally *tally) {
    const struct flash_index_root *root = flash->index;
    uint64_t number = (uint64_t)(home - flash_home_at(flash, 0));
    uint64_t entry = *slot;
    uint32_t page = flash_address_page(flash, flash_entry_address(flash, entry));
    PYMC_CHECK(flash_home_of_entry(root, entry, number, root->bucket_count) == number);
    PYMC_CHECK(first_of(flash, home, flash_entry_address(flash, entry)) == slot);
    PYMC_CHECK((entry >> FLASH_SIZE_SHIFT & 31) != 0);
    PYMC_CHECK(page < flash->root->page_count);
    tally->entries++;
    tally->objects[page]++;
    tally->objects_read[page] += (entry & FLASH_READ_BIT) != 0;
}

static void check_chain(struct flash *flash, struct flash_home *home, bool is_reachable,
                        struct tally *tally) {
    struct flash_span span = flash_span_of(home);
    PYMC_CHECK(!lock_is_held(home->words[0]));
    for (uint32_t depth = 0;; depth++) {
        PYMC_CHECK(depth < FLASH_CHAIN_MAX);
        for (uint32_t i = flash_span_first(span); i < span.count && is_reachable; i++) {
            uint64_t entry = span.words[i];
            PYMC_CHECK(!(entry & FLASH_LINK) || i == span.count - 1);
            if (entry && !(entry & FLASH_LINK)) {
                check_entry(flash, home, &span.words[i], tally);
            }
        }
        if (!flash_span_next(flash, &span)) {
            PYMC_CHECK(!(*flash_span_last(span) & FLASH_LINK));
            return;
        }
        tally->overflow++;
    }
}

uint64_t flash_index_check(struct flash *flash) {
    const struct flash_index_root *root = flash->index;
    uint32_t pages = flash->root->page_count;
    struct tally tally = {.objects = calloc(pages, sizeof(uint32_t)),
                          .objects_read = calloc(pages, sizeof(uint32_t))};
    PYMC_CHECK(tally.objects && tally.objects_read);
    for (uint64_t number = 0; number < root->bucket_count; number++) {
        check_chain(flash, flash_home_at(flash, number), true, &tally);
    }
    PYMC_CHECK(root->bucket_count >= 1ull << root->start_bits
               && root->bucket_count <= root->buckets_touched);
    if (root->bucket_count < root->bucket_max) {
        check_chain(flash, flash_home_at(flash, root->bucket_count), false, &tally);
    }
    PYMC_CHECK(!lock_is_held(root->grow_lock) && !lock_is_held(root->overflow_lock));
    const uint64_t *bits = flash_overflow_bits(flash);
    PYMC_CHECK(tally.overflow == bits_count(bits, root->overflow_max));
    PYMC_CHECK(bits_end(bits, root->overflow_max) <= root->overflow_begun);
    for (uint32_t i = 0; i < pages; i++) {
        PYMC_CHECK(tally.objects[i] <= flash->pages[i].objects);
        PYMC_CHECK(tally.objects_read[i] <= flash->pages[i].objects_read);
    }
    free(tally.objects);
    free(tally.objects_read);
    return tally.entries;
}
