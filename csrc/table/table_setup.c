// Making, repairing and checking a table.
#include "base/bits_inline.h"
#include "table/table_internal.h"

// Buckets fill whole system pages, so that what is given back is nothing else's.
static uint64_t pages_bytes(uint32_t count, uint32_t record_bytes) {
    return (uint64_t)table_page_end(count, record_bytes) * record_bytes;
}

uint64_t table_reserve_bytes(const struct table_format *format, const struct table_shape *shape) {
    return pages_bytes(shape->bucket_max, format->bucket_bytes) + shape->buckets_align
           + pages_bytes(shape->overflow_max, format->overflow_bytes) + ARENA_SYSTEM_PAGE_BYTES
           + bits_words(shape->overflow_max) * sizeof(uint64_t) + 64;
}

int table_create(struct arena *arena, struct table_root *root, const struct table_format *format,
                 const struct table_shape *shape) {
    root->bucket_count = shape->bucket_start;
    root->bucket_min = shape->bucket_min;
    root->bucket_max = shape->bucket_max;
    root->buckets_touched = table_page_end(shape->bucket_start, format->bucket_bytes);
    root->overflow_max = shape->overflow_max;
    root->slots = arena->header->slots;
    root->local_offset = shape->local_offset;
    root->buckets_offset =
        arena_reserve(arena, pages_bytes(shape->bucket_max, format->bucket_bytes),
                      shape->buckets_align, shape->buckets_label);
    root->overflow_offset =
        arena_reserve(arena, pages_bytes(shape->overflow_max, format->overflow_bytes),
                      ARENA_SYSTEM_PAGE_BYTES, shape->overflow_label);
    uint64_t bits_bytes = bits_words(shape->overflow_max) * sizeof(uint64_t);
    root->overflow_bits_offset = arena_reserve(arena, bits_bytes, 64, shape->overflow_label);
    return root->buckets_offset && root->overflow_offset && root->overflow_bits_offset
               ? PYMC_OK
               : PYMC_NO_MEMORY;
}

void table_attach(struct table *table, struct arena *arena, struct table_root *root,
                  const struct table_format *format, uint32_t local_bytes, void *owner) {
    table->buckets = arena->base + root->buckets_offset;
    table->overflow = arena->base + root->overflow_offset;
    table->overflow_bits = (uint64_t *)(arena->base + root->overflow_bits_offset);
    table->root = root;
    table->locals = arena->base + root->local_offset;
    table->local_bytes = local_bytes;
    table->format = format;
    table->owner = owner;
}

uint64_t table_version(const struct table *table, uint32_t number) {
    PYMC_CHECK(number < SHARED_LOAD(table->root->bucket_count));
    return SHARED_LOAD(*table_word(table, number)) / LOCK_VERSION_STEP;
}

uint64_t table_bytes(const struct table *table) {
    return (uint64_t)SHARED_LOAD(table->root->bucket_count) * table->format->bucket_bytes
           + (uint64_t)SHARED_LOAD(table->root->overflow_begun) * table->format->overflow_bytes;
}

static bool holds(const struct table *table, uint32_t number, uint32_t slot_index) {
    return lock_is_held_by(table_word(table, number), slot_index);
}

static bool chain_has(const struct table *table, uint32_t number, uint32_t overflow) {
    const void *wanted = table_overflow(table, overflow);
    bool is_home = true;
    const void *bucket = table_bucket(table, number);
    for (uint32_t depth = 0; bucket && depth <= TABLE_CHAIN_MAX; depth++) {
        if (bucket == wanted) {
            return true;
        }
        bucket = table_next(table, bucket, &is_home);
    }
    return false;
}

// The overflow bucket in the dead process's hand hangs in a chain that it was changing, and stays
// there, or goes back.
static void repair_hand(struct table *table, struct proc *self, uint32_t dead_slot_index) {
    struct table_local *local = table_local(table, dead_slot_index);
    uint32_t taken = local->overflow_taken;
    if (!taken) {
        return;
    }
    uint32_t held = local->held;
    bool hangs =
        held && holds(table, held - 1, dead_slot_index) && chain_has(table, held - 1, taken - 1);
    if (local->pair && !hangs) {
        uint32_t to = local->pair - 1;
        uint32_t from = table_source_of(to);
        hangs = holds(table, from, dead_slot_index)
                && (chain_has(table, from, taken - 1) || chain_has(table, to, taken - 1));
    }
    if (hangs) {
        SHARED_DECIDE(local->overflow_taken, 0);
    } else {
        table_overflow_give(table, self, local);
    }
}

// Finishes a split or merge that was decided and undoes one that was not: the bucket that is not
// counted is emptied, and what belongs into one that is leaves the other.
static void repair_pair(struct table *table, struct proc *self, uint32_t dead_slot_index) {
    struct table_local *local = table_local(table, dead_slot_index);
    uint32_t to = local->pair - 1;
    uint32_t from = table_source_of(to);
    if (!holds(table, from, dead_slot_index)) {
        return;
    }
    if (to < table->root->bucket_count) {
        table->format->remove_moved(table, self, from, to);
    } else {
        table_clear_unreachable(table, self, to, local);
    }
    table->format->remove_duplicates(table, from);
    FAULT_POINT(self, "table.repair.pair");
    if (holds(table, to, dead_slot_index)) {
        lock_free_dead(table_word(table, to));
    }
    FAULT_POINT(self, "table.repair.half_freed");
    lock_free_dead(table_word(table, from));
}

void *table_repair(struct table *table, struct proc *self, uint32_t dead_slot_index) {
    struct table_root *root = table->root;
    struct table_local *local = table_local(table, dead_slot_index);
    table_overflow_repair(table, dead_slot_index);
    table_release_repair(table, dead_slot_index);
    repair_hand(table, self, dead_slot_index);
    FAULT_POINT(self, "table.repair.hand");
    if (local->pair) {
        repair_pair(table, self, dead_slot_index);
        SHARED_DECIDE(local->pair, 0);
    }
    FAULT_POINT(self, "table.repair.done");
    if (lock_is_held_by(&root->grow_lock, dead_slot_index)) {
        lock_free_dead(&root->grow_lock);
    }
    if (!local->held || !holds(table, local->held - 1, dead_slot_index)) {
        return NULL;
    }
    table->format->remove_duplicates(table, local->held - 1);
    return table_bucket(table, local->held - 1);
}

void table_check(const struct table *table, table_visit visit, void *context) {
    const struct table_root *root = table->root;
    uint32_t overflow_seen = 0;
    PYMC_CHECK(root->bucket_count >= root->bucket_min && root->bucket_count <= root->bucket_max
               && root->bucket_count <= root->buckets_touched);
    PYMC_CHECK(!lock_is_held(root->grow_lock) && !lock_is_held(root->overflow_lock));
    for (uint32_t home = 0; home < root->bucket_count; home++) {
        PYMC_CHECK(!lock_is_held(*table_word(table, home)));
        bool is_home = true;
        uint32_t depth = 0;
        for (const void *bucket = table_bucket(table, home); bucket; depth++) {
            PYMC_CHECK(depth < TABLE_CHAIN_MAX);
            visit(context, home, bucket, is_home);
            PYMC_CHECK(table->format->link(bucket, is_home) <= root->overflow_max);
            overflow_seen += !is_home;
            bucket = table_next(table, bucket, &is_home);
        }
    }
    PYMC_CHECK(overflow_seen == root->overflow_used);
    PYMC_CHECK(overflow_seen == bits_count(table->overflow_bits, root->overflow_max));
    PYMC_CHECK(bits_end(table->overflow_bits, root->overflow_max) <= root->overflow_begun);
}
