// Splitting and merging buckets of the fingerprint index, and giving memory beyond the end back.
//
// A merge is a split backwards, and versions go on where a bucket comes back, as in the index of
// memory: see index_resize.c there. The bucket right behind the last one may have remains of a
// process that died; they are cleared before anybody uses it or goes one bucket further down.
#include "flash/flash_index_internal.h"

#define SPLITS_PER_CALL 8
#define RELEASE_HOMES (64 * FLASH_HOMES_PER_PAGE)
// Buckets are merged when each has fewer entries than this, on average: half of where they are
// split, so that growing and shrinking do not chase each other.
#define MERGE_ENTRIES (FLASH_ENTRIES_PER_BUCKET / 2)

void flash_clear_unreachable(struct flash *flash, struct proc *proc, struct flash_home *home) {
    struct flash_local *local = flash_local(flash, proc->slot_index);
    uint64_t *link = &home->words[FLASH_HOME_WORDS - 1];
    for (uint32_t depth = 0; depth < FLASH_CHAIN_MAX && (*link & FLASH_LINK); depth++) {
        uint64_t number = *link & ~FLASH_LINK;
        uint64_t next = flash_overflow_at(flash, number)->words[FLASH_OVERFLOW_WORDS - 1];
        SHARED_RELEASE(local->overflow_taken, number + 1);
        FAULT_POINT(proc, "flash.index.clear.named");
        SHARED_RELEASE(*link, next & FLASH_LINK ? next : 0);
        FAULT_POINT(proc, "flash.index.clear.unhung");
        flash_overflow_give(flash, proc, local);
    }
    for (uint32_t i = 1; i < FLASH_HOME_WORDS; i++) {
        SHARED_STORE(home->words[i], 0);
    }
}

static bool is_entry(uint64_t word) {
    return word && !(word & FLASH_LINK);
}

// Copies entries of the locked chain `from` into that of bucket `to`: all, or those that belong
// there when it is the last. Returns false when overflow buckets run out.
static bool copy_entries(struct flash *flash, struct proc *proc, struct flash_home *from,
                         uint64_t to, bool all) {
    struct flash_span span = flash_span_of(from);
    struct flash_home *home = flash_home_at(flash, to);
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (is_entry(entry)
                && (all || flash_home_of_entry(flash->index, entry, to, to + 1) == to)
                && flash_put(flash, proc, home, entry, false) != PYMC_OK) {
                return false;
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < FLASH_CHAIN_MAX);
    return true;
}

static void remove_moved(struct flash *flash, struct proc *proc, struct flash_home *from,
                         uint64_t to) {
    struct flash_span span = flash_span_of(from);
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = span.words[i];
            if (is_entry(entry) && flash_home_of_entry(flash->index, entry, to, to + 1) == to) {
                SHARED_RELEASE(span.words[i], 0);
                FAULT_POINT(proc, "flash.index.split.cleared");
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < FLASH_CHAIN_MAX);
    flash_compact(flash, proc, from);
}

// The two buckets of the next split or the last one, locked and named. Requires LOCK_FLASH_GROW.
static struct flash_home *pair_lock(struct flash *flash, struct proc *proc, uint64_t to) {
    struct flash_home *from = flash_home_at(flash, flash_split_source(to));
    SHARED_RELEASE(flash_local(flash, proc->slot_index)->split_to, to + 1);
    lock_take(proc, &from->words[0], LOCK_FLASH);
    lock_take(proc, &flash_home_at(flash, to)->words[0], LOCK_FLASH_SPLIT);
    return from;
}

static void pair_unlock(struct flash *flash, struct proc *proc, struct flash_home *from,
                        uint64_t to) {
    lock_give(proc, &flash_home_at(flash, to)->words[0], true);
    FAULT_POINT(proc, "flash.index.split.half_unlocked");
    lock_give(proc, &from->words[0], true);
    FAULT_POINT(proc, "flash.index.split.unlocked");
    SHARED_RELEASE(flash_local(flash, proc->slot_index)->split_to, 0);
}

// Splits the next bucket. Holds LOCK_FLASH_GROW.
static bool split_one(struct flash *flash, struct proc *proc) {
    struct flash_index_root *root = flash->index;
    uint64_t to = root->bucket_count;
    if (to >= root->bucket_max) {
        return false;
    }
    struct flash_home *from = pair_lock(flash, proc, to);
    struct flash_home *made = flash_home_at(flash, to);
    root->buckets_touched =
        to >= root->buckets_touched ? flash_homes_end(to + 1) : root->buckets_touched;
    if ((SHARED_LOAD(made->words[0]) & ~LOCK_OWNER_MASK) < root->version_floor) {
        SHARED_RELEASE(made->words[0], root->version_floor | lock_owner_bits(proc));
    }
    flash_clear_unreachable(flash, proc, made);
    bool copied = copy_entries(flash, proc, from, to, false);
    FAULT_POINT(proc, "flash.index.split.copied");
    if (copied) {
        SHARED_RELEASE(root->bucket_count, to + 1);
        FAULT_POINT(proc, "flash.index.split.published");
        remove_moved(flash, proc, from, to);
    } else {
        flash_clear_unreachable(flash, proc, made);
    }
    pair_unlock(flash, proc, from, to);
    return copied;
}

// Clears what a dead process left in the bucket behind the last one. Holds LOCK_FLASH_GROW.
static void clear_behind(struct flash *flash, struct proc *proc) {
    struct flash_local *local = flash_local(flash, proc->slot_index);
    uint64_t behind = flash->index->bucket_count;
    if (behind < flash->index->bucket_max && behind < flash->index->buckets_touched) {
        SHARED_RELEASE(local->split_to, behind + 1);
        flash_clear_unreachable(flash, proc, flash_home_at(flash, behind));
        SHARED_RELEASE(local->split_to, 0);
    }
}

// Merges the last bucket into the one it was split from; false when that one's chain has no room.
// Nothing remains behind the last bucket. Holds LOCK_FLASH_GROW.
static bool merge_one(struct flash *flash, struct proc *proc) {
    struct flash_index_root *root = flash->index;
    uint64_t last = root->bucket_count - 1;
    struct flash_home *into = pair_lock(flash, proc, last);
    struct flash_home *gone = flash_home_at(flash, last);
    uint64_t version = (SHARED_LOAD(gone->words[0]) & ~LOCK_OWNER_MASK) + LOCK_VERSION_STEP;
    SHARED_STORE(root->version_floor,
                 version > root->version_floor ? version : root->version_floor);
    bool copied = copy_entries(flash, proc, gone, (uint64_t)(into - flash_home_at(flash, 0)), true);
    FAULT_POINT(proc, "flash.index.merge.copied");
    if (copied) {
        // A sweep that sees fewer buckets sees this too.
        SHARED_RELEASE(root->merges, root->merges + 1);
        SHARED_RELEASE(root->bucket_count, last);
        FAULT_POINT(proc, "flash.index.merge.published");
        flash_clear_unreachable(flash, proc, gone);
        FAULT_POINT(proc, "flash.index.merge.cleared");
        flash_compact(flash, proc, into);
    } else {
        remove_moved(flash, proc, into, last);
    }
    pair_unlock(flash, proc, into, last);
    return copied;
}

static struct lock_range released_words(const struct flash *flash,
                                        const struct flash_local *local) {
    return (struct lock_range){(char *)flash_home_at(flash, 0), sizeof(struct flash_home),
                               local->release_first, local->release_end};
}

void flash_release_repair(struct flash *flash, uint32_t dead_slot_index) {
    struct flash_local *local = flash_local(flash, dead_slot_index);
    if (local->release_end) {
        struct lock_range range = released_words(flash, local);
        lock_range_drop(&range, dead_slot_index);
        SHARED_RELEASE(local->release_end, 0);
    }
}

// Gives some memory beyond the last bucket back; false when there is none, or when somebody holds a
// word in it: the next step will find it free. Nothing remains behind the last bucket. Holds
// LOCK_FLASH_GROW.
static bool release_homes(struct flash *flash, struct proc *proc) {
    struct flash_index_root *root = flash->index;
    struct flash_local *local = flash_local(flash, proc->slot_index);
    uint64_t first = flash_homes_end(root->bucket_count);
    uint64_t end = root->buckets_touched;
    if (first >= end) {
        return false;
    }
    first = end > first + RELEASE_HOMES ? end - RELEASE_HOMES : first;
    SHARED_RELEASE(local->release_first, first);
    SHARED_RELEASE(local->release_end, end);
    struct lock_range range = released_words(flash, local);
    uint64_t highest = 0;
    bool is_taken = lock_range_take(proc, &range, &highest);
    FAULT_POINT(proc, "flash.index.release.locked");
    if (is_taken) {
        highest += LOCK_VERSION_STEP;
        SHARED_STORE(root->version_floor,
                     highest > root->version_floor ? highest : root->version_floor);
        if (!arena_give_back(flash_home_at(flash, first),
                             (end - first) * sizeof(struct flash_home))) {
            lock_range_drop(&range, proc->slot_index);
        }
        FAULT_POINT(proc, "flash.index.release.given");
    }
    SHARED_RELEASE(local->release_end, 0);
    FAULT_POINT(proc, "flash.index.release.forgotten");
    SHARED_STORE(root->buckets_touched, is_taken ? first : end);
    return is_taken;
}

void flash_grow_if_needed(struct flash *flash, struct proc *proc) {
    struct flash_index_root *root = flash->index;
    int64_t entries = SHARED_LOAD(root->entries);
    if (LIKELY(entries <= (int64_t)SHARED_LOAD(root->bucket_count) * FLASH_ENTRIES_PER_BUCKET)
        || SHARED_LOAD(root->bucket_count) >= root->bucket_max
        || !lock_try(proc, &root->grow_lock, LOCK_FLASH_GROW)) {
        return;
    }
    for (int i = 0;
         i < SPLITS_PER_CALL && entries > (int64_t)root->bucket_count * FLASH_ENTRIES_PER_BUCKET;
         i++) {
        if (!split_one(flash, proc)) {
            break;
        }
    }
    lock_give(proc, &root->grow_lock, true);
}

static bool is_sparse(const struct flash_index_root *root) {
    uint64_t buckets = SHARED_LOAD(root->bucket_count);
    return buckets > 1ull << root->start_bits
           && SHARED_LOAD(root->entries) < (int64_t)buckets * MERGE_ENTRIES;
}

bool flash_index_shrink_step(struct flash *flash, struct proc *proc, uint32_t buckets_max) {
    struct flash_index_root *root = flash->index;
    if (!lock_try(proc, &root->grow_lock, LOCK_FLASH_GROW)) {
        return false;
    }
    clear_behind(flash, proc);
    bool has_room = true;
    for (uint32_t i = 0; i < buckets_max && has_room && is_sparse(root); i++) {
        has_room = merge_one(flash, proc);
    }
    bool goes_on = has_room && is_sparse(root);
    goes_on |= release_homes(flash, proc);
    lock_give(proc, &root->grow_lock, true);
    goes_on |= flash_overflow_release(flash, proc);
    return goes_on;
}
