// Entries of the fingerprint index on their way between buckets: what a split, a merge and a repair
// do to them.
#include "flash/flash_index_internal.h"

static uint32_t link_of(const void *bucket, bool is_home) {
    uint64_t last = *flash_span_last(flash_span_at(bucket, is_home));
    return last & FLASH_LINK ? (uint32_t)(last & ~FLASH_LINK) + 1 : 0;
}

static void relink(void *bucket, bool is_home, uint32_t link) {
    uint64_t *last = flash_span_last(flash_span_at(bucket, is_home));
    SHARED_RELEASE(*last, link ? FLASH_LINK | (link - 1) : 0);
}

static void clear(void *bucket, bool is_home) {
    struct flash_span span = flash_span_at(bucket, is_home);
    for (uint32_t i = flash_span_first(span); i < span.count; i++) {
        SHARED_STORE(span.words[i], 0);
    }
}

static bool belongs(const struct flash *flash, uint64_t entry, uint32_t to) {
    return flash_home_of_entry(flash->index, entry, to, to + 1) == to;
}

static bool copy(struct table *table, struct proc *proc, uint32_t from, uint32_t to, bool all) {
    struct flash *flash = table->owner;
    struct flash_home *home = flash_home_at(flash, to);
    struct flash_span span = flash_span_of(flash_home_at(flash, from));
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (flash_is_entry(entry) && (all || belongs(flash, entry, to))
                && flash_put(flash, proc, home, entry, false) != PYMC_OK) {
                return false;
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
    return true;
}

static void remove_moved(struct table *table, struct proc *proc, uint32_t from, uint32_t to) {
    struct flash *flash = table->owner;
    struct flash_span span = flash_span_of(flash_home_at(flash, from));
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (flash_is_entry(entry) && belongs(flash, entry, to)) {
                SHARED_RELEASE(span.words[i], 0);
                FAULT_POINT(proc, "flash.index.split.cleared");
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
}

static void compact(struct table *table, struct proc *proc, uint32_t home) {
    struct flash *flash = table->owner;
    flash_compact(flash, proc, flash_home_at(flash, home));
}

const uint64_t *flash_first_alike(const struct flash *flash, uint32_t home, uint64_t wanted) {
    struct flash_span span = flash_span_of(flash_home_at(flash, home));
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (flash_is_entry(entry)
                && flash_entry_address(flash, entry) == flash_entry_address(flash, wanted)) {
                return &span.words[i];
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
    return NULL;
}

static void remove_duplicates(struct table *table, uint32_t home) {
    struct flash *flash = table->owner;
    struct flash_span span = flash_span_of(flash_home_at(flash, home));
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (flash_is_entry(entry) && flash_first_alike(flash, home, entry) != &span.words[i]) {
                SHARED_RELEASE(span.words[i], 0);
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
}

const struct table_format flash_index_format = {
    .bucket_bytes = sizeof(struct flash_home),
    .overflow_bytes = sizeof(struct flash_overflow),
    .entries_per_bucket = FLASH_ENTRIES_PER_BUCKET,
    .splits_max = 8,
    .grow_rank = LOCK_FLASH_GROW,
    .bucket_rank = LOCK_FLASH,
    .split_rank = LOCK_FLASH_SPLIT,
    .link = link_of,
    .relink = relink,
    .clear = clear,
    .copy = copy,
    .remove_moved = remove_moved,
    .compact = compact,
    .remove_duplicates = remove_duplicates,
};
