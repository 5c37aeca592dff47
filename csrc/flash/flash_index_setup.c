// Making, repairing and checking the fingerprint index.
#include <stddef.h>
#include <stdlib.h>

#include "flash/flash_index_internal.h"

#define START_BUCKETS_MIN 64
// How often the index may double until it has room for the expected number of records, or reaches
// its limit. Each time costs one of the bits by which the entries of a bucket differ.
#define START_DOUBLINGS 3
#define RECORD_BYTES_MIN 64

// There are 2^*start_bits_out buckets at the start.
static struct table_shape shape_of(const struct flash_geometry *geometry,
                                   uint32_t *start_bits_out) {
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
    bucket_max = bucket_max < TABLE_BUCKETS_MAX ? bucket_max : TABLE_BUCKETS_MAX;
    wanted = wanted < bucket_max ? wanted : bucket_max;
    uint64_t first = START_BUCKETS_MIN;
    while (first << START_DOUBLINGS < wanted) {
        first <<= 1;
    }
    *start_bits_out = 63 - (uint32_t)__builtin_clzll(first);
    uint64_t reachable = 1ull << (*start_bits_out + FLASH_HASH_BITS);
    bucket_max = bucket_max < reachable ? bucket_max : reachable;
    return (struct table_shape){
        .bucket_start = (uint32_t)first,
        .bucket_min = (uint32_t)first,
        .bucket_max = (uint32_t)bucket_max,
        .overflow_max = (uint32_t)(bucket_max / FLASH_BUCKETS_PER_OVERFLOW),
        .buckets_align = ARENA_SYSTEM_PAGE_BYTES,
        .buckets_label = "flash_index",
        .overflow_label = "flash_index",
    };
}

uint64_t flash_index_reserve_bytes(const struct flash_geometry *geometry) {
    uint32_t start_bits;
    struct table_shape shape = shape_of(geometry, &start_bits);
    return table_reserve_bytes(&flash_index_format, &shape) + sizeof(struct flash_index_root)
           + ARENA_SYSTEM_PAGE_BYTES;
}

// How many bits the addresses of a tier need.
static uint32_t bits_of(const struct flash_root *root) {
    uint64_t units = (uint64_t)root->page_count * root->units_per_page;
    uint32_t bits = units > 1 ? 64 - (uint32_t)__builtin_clzll(units - 1) : 1;
    PYMC_CHECK(bits <= FLASH_ADDRESS_BITS);
    return bits;
}

int flash_index_create(struct flash *flash, const struct flash_geometry *geometry) {
    uint32_t start_bits;
    struct table_shape shape = shape_of(geometry, &start_bits);
    shape.local_offset = flash->root->local_offset + offsetof(struct flash_local, table);
    uint64_t offset =
        arena_reserve(flash->arena, sizeof(struct flash_index_root), 64, "flash_index");
    if (!offset) {
        return PYMC_NO_MEMORY;
    }
    struct flash_index_root *root = (struct flash_index_root *)(flash->arena_base + offset);
    if (table_create(flash->arena, &root->table, &flash_index_format, &shape) != PYMC_OK) {
        return PYMC_NO_MEMORY;
    }
    root->start_bits = start_bits;
    root->address_bits = bits_of(flash->root);
    root->spare_bits = FLASH_ADDRESS_BITS - root->address_bits;
    uint32_t left = 64 - start_bits - FLASH_HASH_BITS;
    root->spare_bits = root->spare_bits < left ? root->spare_bits : left;
    root->fingerprint_mask = FLASH_LINK | FLASH_HASH_MASK << FLASH_HASH_SHIFT
                             | ((1ull << root->spare_bits) - 1) << root->address_bits;
    flash->root->index_offset = offset;
    flash->index = root;
    flash->address_mask = (1ull << root->address_bits) - 1;
    table_attach(&flash->table, flash->arena, &root->table, &flash_index_format,
                 sizeof(struct flash_local), flash);
    return PYMC_OK;
}

uint32_t flash_index_hash_bits(const struct flash *flash) {
    return flash->index->start_bits + FLASH_HASH_BITS + flash->index->spare_bits;
}

uint64_t flash_index_bytes(const struct flash *flash) {
    return table_bytes(&flash->table);
}

uint64_t flash_index_version(const struct flash *flash, uint64_t number) {
    return table_version(&flash->table, (uint32_t)number);
}

bool flash_index_shrink_step(struct flash *flash, struct proc *proc, uint32_t buckets_max) {
    return table_shrink_step(&flash->table, proc, buckets_max);
}

uint64_t flash_index_entries(const struct flash *flash) {
    int64_t entries = SHARED_LOAD(flash->index->table.entries);
    for (uint32_t i = 0; i < flash->arena->header->slots; i++) {
        entries += SHARED_LOAD(flash_local(flash, i)->table.entries_pending);
    }
    return entries > 0 ? (uint64_t)entries : 0;
}

void flash_index_repair(struct flash *flash, struct proc *self, uint32_t dead_slot_index) {
    struct flash_home *held = table_repair(&flash->table, self, dead_slot_index);
    FAULT_POINT(self, "flash.index.repair.held");
    if (held) {
        lock_free_dead(&held->words[0]);
    }
}

struct tally {
    struct flash *flash;
    uint64_t entries;
    uint32_t *objects;    // Per page.
    uint32_t *objects_read;
};

static void check_entry(struct tally *tally, uint32_t home, const uint64_t *slot) {
    struct flash *flash = tally->flash;
    const struct flash_index_root *root = flash->index;
    uint64_t entry = *slot;
    uint32_t page = flash_address_page(flash, flash_entry_address(flash, entry));
    PYMC_CHECK(flash_home_of_entry(root, entry, home, root->table.bucket_count) == home);
    PYMC_CHECK(flash_first_alike(flash, home, entry) == slot);
    PYMC_CHECK((entry >> FLASH_SIZE_SHIFT & 31) != 0);
    PYMC_CHECK(page < flash->root->page_count);
    tally->entries++;
    tally->objects[page]++;
    tally->objects_read[page] += (entry & FLASH_READ_BIT) != 0;
}

static void check_bucket(void *context, uint32_t home, const void *memory, bool is_home) {
    struct flash_span span = flash_span_at(memory, is_home);
    for (uint32_t i = flash_span_first(span); i < span.count; i++) {
        PYMC_CHECK(!(span.words[i] & FLASH_LINK) || i == span.count - 1);
        if (flash_is_entry(span.words[i])) {
            check_entry(context, home, &span.words[i]);
        }
    }
}

uint64_t flash_index_check(struct flash *flash) {
    uint32_t pages = flash->root->page_count;
    struct tally tally = {.flash = flash,
                          .objects = calloc(pages, sizeof(uint32_t)),
                          .objects_read = calloc(pages, sizeof(uint32_t))};
    PYMC_CHECK(tally.objects && tally.objects_read);
    table_check(&flash->table, check_bucket, &tally);
    for (uint32_t i = 0; i < pages; i++) {
        PYMC_CHECK(tally.objects[i] <= flash->pages[i].objects);
        PYMC_CHECK(tally.objects_read[i] <= flash->pages[i].objects_read);
    }
    free(tally.objects);
    free(tally.objects_read);
    return tally.entries;
}
