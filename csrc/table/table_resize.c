// Splitting and merging buckets, and giving back the memory of those beyond the end.
//
// A merge is a split backwards. Either way entries stand in both buckets for a while, both locked,
// and bucket_count alone says which of the two has them; so one repair serves both.
//
// A bucket that was merged away may still be looked at by who reckoned with more buckets: it is
// empty, or reads as zeroes, and who misses there looks at bucket_count again. A view made of it
// must never fit again when it comes back: the word of a bucket that is made starts above any
// version a bucket had that went, and version 0, which memory that was given back has, is never
// taken for an answer.
#include "table/table_internal.h"

void table_clear_unreachable(struct table *table, struct proc *proc, uint32_t number,
                             struct table_local *hand) {
    const struct table_format *format = table->format;
    char *bucket = table_bucket(table, number);
    for (uint32_t depth = 0; depth < TABLE_CHAIN_MAX && format->link(bucket, true); depth++) {
        uint32_t link = format->link(bucket, true);
        uint32_t next = format->link(table_overflow(table, link - 1), false);
        SHARED_DECIDE(hand->overflow_taken, link);
        FAULT_POINT(proc, "table.clear.named");
        format->relink(bucket, true, next);
        FAULT_POINT(proc, "table.clear.detached");
        table_overflow_give(table, proc, hand);
    }
    format->clear(bucket, true);
}

// Locks and names the two buckets of the next split or of the last one; false while somebody holds
// one of them: it is split or merged another time. Holds the grow lock.
static bool pair_lock(struct table *table, struct proc *proc, uint32_t to) {
    struct table_local *local = table_local(table, proc->slot_index);
    uint64_t *word = table_word(table, table_source_of(to));
    SHARED_DECIDE(local->pair, to + 1);
    if (!lock_try(proc, word, table->format->bucket_rank)) {
        SHARED_DECIDE(local->pair, 0);
        return false;
    }
    // Until the moved entries have left their old chain nobody may remove one of them from the new
    // one: what it names could be something else by the time its hash is asked for.
    if (!lock_try(proc, table_word(table, to), table->format->split_rank)) {
        lock_give(proc, word, false);
        SHARED_DECIDE(local->pair, 0);
        return false;
    }
    return true;
}

static void pair_unlock(struct table *table, struct proc *proc, uint32_t to) {
    lock_give(proc, table_word(table, to), true);
    FAULT_POINT(proc, "table.split.half_unlocked");
    lock_give(proc, table_word(table, table_source_of(to)), true);
    FAULT_POINT(proc, "table.split.unlocked");
    SHARED_RELEASE(table_local(table, proc->slot_index)->pair, 0);
}

static void raise_floor(struct table_root *root, uint64_t version) {
    SHARED_STORE(root->version_floor,
                 version > root->version_floor ? version : root->version_floor);
}

// Splits the next bucket; false when that cannot be now. Holds the grow lock.
static bool split_one(struct table *table, struct proc *proc) {
    const struct table_format *format = table->format;
    struct table_root *root = table->root;
    uint32_t to = root->bucket_count;
    if (to >= root->bucket_max || !pair_lock(table, proc, to)) {
        return false;
    }
    uint32_t from = table_source_of(to);
    if (to >= root->buckets_touched) {
        SHARED_STORE(root->buckets_touched, table_page_end(to + 1, format->bucket_bytes));
    }
    uint64_t *word = table_word(table, to);
    if ((SHARED_LOAD(*word) & ~LOCK_OWNER_MASK) < root->version_floor) {
        SHARED_RELEASE(*word, root->version_floor | lock_owner_bits(proc));
    }
    bool copied = format->copy(table, proc, from, to, false);
    FAULT_POINT(proc, "table.split.copied");
    if (copied) {
        SHARED_DECIDE(root->bucket_count, to + 1);
        FAULT_POINT(proc, "table.split.published");
        format->remove_moved(table, proc, from, to);
        format->compact(table, proc, from);
    } else {
        table_clear_unreachable(table, proc, to, table_local(table, proc->slot_index));
    }
    pair_unlock(table, proc, to);
    return copied;
}

// Merges the last bucket into the one it was split from; false when that one's chain has no room,
// or somebody holds one of the two. Holds the grow lock.
static bool merge_one(struct table *table, struct proc *proc) {
    const struct table_format *format = table->format;
    struct table_root *root = table->root;
    uint32_t last = root->bucket_count - 1;
    if (UNLIKELY(!pair_lock(table, proc, last))) {
        return false;
    }
    uint32_t into = table_source_of(last);
    raise_floor(root,
                (SHARED_LOAD(*table_word(table, last)) & ~LOCK_OWNER_MASK) + LOCK_VERSION_STEP);
    bool copied = format->copy(table, proc, last, into, true);
    FAULT_POINT(proc, "table.merge.copied");
    if (copied) {
        // A walk that sees fewer buckets sees this too.
        SHARED_RELEASE(root->merges, root->merges + 1);
        SHARED_DECIDE(root->bucket_count, last);
        FAULT_POINT(proc, "table.merge.published");
        table_clear_unreachable(table, proc, last, table_local(table, proc->slot_index));
        FAULT_POINT(proc, "table.merge.cleared");
    } else {
        format->remove_moved(table, proc, into, last);
    }
    format->compact(table, proc, into);
    pair_unlock(table, proc, last);
    return copied;
}

static struct lock_range released_words(const struct table *table,
                                        const struct table_local *local) {
    return (struct lock_range){table->buckets, table->format->bucket_bytes, local->release_first,
                               local->release_end};
}

void table_release_repair(struct table *table, uint32_t dead_slot_index) {
    struct table_local *local = table_local(table, dead_slot_index);
    if (local->release_end) {
        struct lock_range range = released_words(table, local);
        lock_range_drop(&range, dead_slot_index);
        SHARED_DECIDE(local->release_end, 0);
    }
}

// Gives some memory beyond the last bucket back; false when there is none, or when somebody holds a
// word in it: the next step will find it free. Holds the grow lock.
static bool release_buckets(struct table *table, struct proc *proc) {
    struct table_root *root = table->root;
    struct table_local *local = table_local(table, proc->slot_index);
    uint32_t bytes = table->format->bucket_bytes;
    uint32_t most = TABLE_RELEASE_PAGES * (ARENA_SYSTEM_PAGE_BYTES / bytes);
    uint32_t first = table_page_end(root->bucket_count, bytes);
    uint32_t end = root->buckets_touched;
    if (first >= end) {
        return false;
    }
    first = end > first + most ? end - most : first;
    SHARED_DECIDE(local->release_first, first);
    SHARED_DECIDE(local->release_end, end);
    struct lock_range range = released_words(table, local);
    uint64_t highest = 0;
    bool is_taken = lock_range_take(proc, &range, &highest);
    FAULT_POINT(proc, "table.release.locked");
    if (is_taken) {
        raise_floor(root, highest + LOCK_VERSION_STEP);
        if (!arena_give_back(table_bucket(table, first), (uint64_t)(end - first) * bytes)) {
            lock_range_drop(&range, proc->slot_index);
        }
        FAULT_POINT(proc, "table.release.given");
    }
    SHARED_DECIDE(local->release_end, 0);
    FAULT_POINT(proc, "table.release.forgotten");
    SHARED_STORE(root->buckets_touched, is_taken ? first : end);
    return is_taken;
}

static int64_t count_entries(struct table *table, struct proc *proc) {
    struct table_local *local = table_local(table, proc->slot_index);
    int64_t entries = SHARED_ADD(table->root->entries, local->entries_pending, RELAXED);
    SHARED_STORE(local->entries_pending, 0);
    return entries;
}

static bool is_crowded(const struct table *table, int64_t entries) {
    uint32_t buckets = SHARED_LOAD(table->root->bucket_count);
    return entries > (int64_t)buckets * table->format->entries_per_bucket
           && buckets < table->root->bucket_max;
}

void table_grow_if_needed(struct table *table, struct proc *proc) {
    struct table_root *root = table->root;
    int64_t entries = count_entries(table, proc);
    if (LIKELY(!is_crowded(table, entries))
        || !lock_try(proc, &root->grow_lock, table->format->grow_rank)) {
        return;
    }
    uint32_t splits = 0;
    while (splits < table->format->splits_max && is_crowded(table, entries)
           && split_one(table, proc)) {
        splits++;
    }
    lock_give(proc, &root->grow_lock, true);
}

static bool is_sparse(const struct table *table) {
    uint32_t buckets = SHARED_LOAD(table->root->bucket_count);
    return buckets > table->root->bucket_min
           && SHARED_LOAD(table->root->entries) * 2
                  < (int64_t)buckets * table->format->entries_per_bucket;
}

bool table_shrink_step(struct table *table, struct proc *proc, uint32_t buckets_max) {
    struct table_root *root = table->root;
    count_entries(table, proc);
    if (!lock_try(proc, &root->grow_lock, table->format->grow_rank)) {
        return false;
    }
    bool has_room = true;
    for (uint32_t i = 0; i < buckets_max && has_room && is_sparse(table); i++) {
        has_room = merge_one(table, proc);
    }
    bool goes_on = has_room && is_sparse(table);
    goes_on |= release_buckets(table, proc);
    lock_give(proc, &root->grow_lock, true);
    goes_on |= table_overflow_release(table, proc);
    return goes_on;
}
