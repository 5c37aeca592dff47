// Making, reading, repairing and checking the index.
#include "index/index_internal.h"

static struct table_shape shape_of(uint32_t bucket_start, uint32_t bucket_max) {
    return (struct table_shape){
        .bucket_start = bucket_start,
        .bucket_min = bucket_start < INDEX_BUCKETS_MIN ? bucket_start : INDEX_BUCKETS_MIN,
        .bucket_max = bucket_max,
        .overflow_max = bucket_max / 2 + 64,
        .buckets_align = ARENA_HUGE_PAGE_BYTES,
        .buckets_label = "index_buckets",
        .overflow_label = "index_overflow",
    };
}

uint64_t index_reserve_bytes(uint32_t bucket_max, uint32_t slots) {
    struct table_shape shape = shape_of(0, bucket_max);
    return table_reserve_bytes(&index_format, &shape) + sizeof(struct table_root)
           + (uint64_t)slots * sizeof(struct index_local) + ARENA_SYSTEM_PAGE_BYTES;
}

int index_create(struct arena *arena, uint32_t bucket_start, uint32_t bucket_max) {
    if (bucket_start == 0 || bucket_start > bucket_max) {
        return PYMC_INVALID;
    }
    struct table_shape shape = shape_of(bucket_start, bucket_max);
    uint64_t root_offset = arena_reserve(arena, sizeof(struct table_root), 64, "index_local");
    shape.local_offset = arena_reserve(
        arena, (uint64_t)arena->header->slots * sizeof(struct index_local), 64, "index_local");
    if (!root_offset || !shape.local_offset) {
        return PYMC_NO_MEMORY;
    }
    struct table_root *root = (struct table_root *)(arena->base + root_offset);
    arena->header->roots[ARENA_ROOT_INDEX] = root_offset;
    return table_create(arena, root, &index_format, &shape);
}

void index_attach(struct arena *arena, struct index *index, index_hash_of hash_of,
                  void *hash_context) {
    index->arena_base = arena->base;
    index->root = (struct table_root *)(arena->base + arena->header->roots[ARENA_ROOT_INDEX]);
    table_attach(&index->table, arena, index->root, &index_format, sizeof(struct index_local),
                 index);
    index->buckets = (struct bucket *)index->table.buckets;
    index->overflow = (struct bucket *)index->table.overflow;
    index->hash_of = hash_of;
    index->hash_context = hash_context;
}

uint64_t index_version(const struct index *index, uint32_t number) {
    return table_version(&index->table, number);
}

uint64_t index_bytes(const struct index *index) {
    return table_bytes(&index->table);
}

void index_read(const struct index *index, struct index_snapshot *out) {
    out->buckets = SHARED_LOAD(index->root->bucket_count);
    out->overflow_buckets = SHARED_LOAD(index->root->overflow_used);
    int64_t entries = SHARED_LOAD(index->root->entries);
    out->entries = entries > 0 ? (uint64_t)entries : 0;
    out->bytes = index_bytes(index);
}

struct bucket *index_repair(struct index *index, struct proc *self, uint32_t dead_slot_index) {
    struct index_local *local = index_local(index, dead_slot_index);
    // Hanging an overflow bucket into a chain takes three stores: they are made to the end.
    if (local->chain_bucket && local->table.overflow_taken) {
        index_chain_commit((struct bucket *)(index->arena_base + local->chain_bucket),
                           local->table.overflow_taken);
        SHARED_DECIDE(local->table.overflow_taken, 0);
    }
    SHARED_DECIDE(local->chain_bucket, 0);
    return table_repair(&index->table, self, dead_slot_index);
}

void index_repair_done(struct bucket *home) {
    lock_free_dead(&home->word);
}

struct check {
    const struct index *index;
    index_visit visit;
    void *context;
};

static void check_bucket(void *context, uint32_t home, const void *memory, bool is_home) {
    const struct check *check = context;
    const struct index *index = check->index;
    const struct bucket *bucket = memory;
    for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
        if (bucket->tags[slot]) {
            uint64_t hash = index->hash_of(index->hash_context, bucket->refs[slot]);
            PYMC_CHECK(table_home_of(hash, index->root->bucket_count) == home);
            PYMC_CHECK(index_tag(hash) == bucket->tags[slot]);
            check->visit(check->context, bucket->refs[slot], home);
        }
    }
}

void index_check(const struct index *index, index_visit visit, void *context) {
    struct check check = {.index = index, .visit = visit, .context = context};
    table_check(&index->table, check_bucket, &check);
}
