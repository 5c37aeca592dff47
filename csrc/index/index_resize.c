// Splitting and merging buckets, and giving back the memory of those beyond the end.
//
// A merge is a split backwards. Either way entries stand in both buckets for a while, both locked,
// and bucket_count alone says which of the two has them; so one repair serves both.
//
// A bucket that was merged away may still be looked at by who reckoned with more buckets: it is
// empty, or reads as zeroes, and who misses there looks at bucket_count again. A view made of it
// must never fit again when it comes back: the word of a bucket that is made starts above any
// version a bucket had that went, and version 0, which memory that was given back has, is never
// taken for an answer (see index_stir()).
#include "index/index_internal.h"

#define SPLITS_PER_CALL 16
#define RELEASE_BUCKETS (64 * INDEX_BUCKETS_PER_PAGE)
// Buckets are merged when there are fewer entries than this in each, on average: half of where they
// are split, so that growing and shrinking do not chase each other.
#define MERGE_ENTRIES_TWICE INDEX_ENTRIES_PER_BUCKET

// Copies the entries of a chain that belong into bucket `to` of `count` into it; false when
// overflow buckets run out.
static bool copy_entries(struct index *index, struct proc *proc, struct bucket *from, uint32_t to,
                         bool all) {
    struct bucket *bucket = from;
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (!bucket->tags[slot]) {
                continue;
            }
            uint32_t ref = bucket->refs[slot];
            if ((all || index_home_of(index->hash_of(index->hash_context, ref), to + 1) == to)
                && index_insert_locked(index, proc, &index->buckets[to], bucket->tags[slot], ref)) {
                return false;
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
    return true;
}

// Moves entries from the end of a chain into the holes of its home bucket, and frees what is empty
// then.
static void pull_forward(struct index *index, struct proc *proc, struct bucket *home) {
    uint32_t depth = 0;
    for (struct bucket *bucket = (struct bucket *)index_next(index, home);
         bucket && depth < INDEX_CHAIN_MAX;
         bucket = (struct bucket *)index_next(index, bucket), depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            uint32_t holes = index_free_slots(home);
            if (bucket->tags[slot] && holes) {
                // In both places for an instant; a repairer removes the second.
                index_put(home, (uint32_t)__builtin_ctz(holes), bucket->tags[slot],
                          bucket->refs[slot]);
                FAULT_POINT(proc, "index.split.pulled");
                index_clear_slot(bucket, slot);
            }
        }
    }
    index_trim_chain(index, proc, home);
}

void index_remove_moved(struct index *index, struct bucket *from, uint32_t to) {
    uint32_t depth = 0;
    for (struct bucket *bucket = from; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (bucket->tags[slot]
                && index_home_of(index->hash_of(index->hash_context, bucket->refs[slot]), to + 1)
                       == to) {
                index_clear_slot(bucket, slot);
            }
        }
        bucket = (struct bucket *)index_next(index, bucket);
    }
}

void index_clear_unreachable(struct index *index, struct proc *proc, struct bucket *bucket,
                             struct index_local *hand) {
    for (uint32_t depth = 0; depth < INDEX_CHAIN_MAX && bucket->chained; depth++) {
        uint32_t number = bucket->refs[INDEX_CHAIN_SLOT];
        const struct bucket *after = &index->overflow[number - 1];
        uint32_t next = after->chained ? after->refs[INDEX_CHAIN_SLOT] : 0;
        SHARED_DECIDE(hand->overflow_taken, number);
        FAULT_POINT(proc, "index.clear.named");
        SHARED_RELEASE(bucket->refs[INDEX_CHAIN_SLOT], next);
        SHARED_RELEASE(bucket->chained, next != 0);
        FAULT_POINT(proc, "index.clear.unhung");
        index_overflow_give(index, proc, hand);
    }
    index_bucket_clear(bucket);
}

// The two buckets of the next split or the last one, locked and named; NULL while somebody holds
// one of them: it is split or merged another time. Requires LOCK_GROW.
static struct bucket *pair_lock(struct index *index, struct proc *proc, uint32_t to) {
    struct index_local *local = index_local(index, proc->slot_index);
    uint32_t from = to - (1u << (31 - __builtin_clz(to)));
    struct bucket *bucket = &index->buckets[from];
    SHARED_DECIDE(local->split_to, to);
    SHARED_DECIDE(local->split_from, from + 1);
    if (!lock_try(proc, &bucket->word, LOCK_BUCKET)) {
        SHARED_DECIDE(local->split_from, 0);
        return NULL;
    }
    // Until the moved entries have left their old chain nobody may remove one of them from the new
    // one: its chunk could be another item's by the time we ask for its hash.
    if (!lock_try(proc, &index->buckets[to].word, LOCK_SPLIT)) {
        lock_give(proc, &bucket->word, false);
        SHARED_DECIDE(local->split_from, 0);
        return NULL;
    }
    return bucket;
}

static void pair_unlock(struct index *index, struct proc *proc, struct bucket *from, uint32_t to) {
    lock_give(proc, &index->buckets[to].word, true);
    FAULT_POINT(proc, "index.split.half_unlocked");
    lock_give(proc, &from->word, true);
    SHARED_RELEASE(index_local(index, proc->slot_index)->split_from, 0);
}

// Splits the next bucket. Holds LOCK_GROW.
static bool split_one(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    uint32_t to = root->bucket_count;
    if (to >= root->bucket_max) {
        return false;
    }
    struct bucket *from = pair_lock(index, proc, to);
    if (UNLIKELY(!from)) {
        return false;
    }
    struct bucket *made = &index->buckets[to];
    root->buckets_touched =
        to >= root->buckets_touched ? index_page_end(to + 1) : root->buckets_touched;
    if ((SHARED_LOAD(made->word) & ~LOCK_OWNER_MASK) < root->version_floor) {
        SHARED_RELEASE(made->word, root->version_floor | lock_owner_bits(proc));
    }
    bool copied = copy_entries(index, proc, from, to, false);
    FAULT_POINT(proc, "index.split.copied");
    if (copied) {
        SHARED_DECIDE(root->bucket_count, to + 1);
        FAULT_POINT(proc, "index.split.published");
        index_remove_moved(index, from, to);
        pull_forward(index, proc, from);
    } else {
        index_clear_unreachable(index, proc, made, index_local(index, proc->slot_index));
    }
    pair_unlock(index, proc, from, to);
    return copied;
}

// Merges the last bucket into the one it was split from; false when that one's chain has no room.
// Holds LOCK_GROW.
static bool merge_one(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    uint32_t last = root->bucket_count - 1;
    struct bucket *into = pair_lock(index, proc, last);
    if (UNLIKELY(!into)) {
        return false;
    }
    struct bucket *gone = &index->buckets[last];
    uint64_t version = (SHARED_LOAD(gone->word) & ~LOCK_OWNER_MASK) + LOCK_VERSION_STEP;
    SHARED_STORE(root->version_floor,
                 version > root->version_floor ? version : root->version_floor);
    bool copied = copy_entries(index, proc, gone, (uint32_t)(into - index->buckets), true);
    FAULT_POINT(proc, "index.merge.copied");
    if (copied) {
        SHARED_DECIDE(root->bucket_count, last);
        FAULT_POINT(proc, "index.merge.published");
        index_clear_unreachable(index, proc, gone, index_local(index, proc->slot_index));
        FAULT_POINT(proc, "index.merge.cleared");
    } else {
        index_remove_moved(index, into, last);
    }
    pull_forward(index, proc, into);
    pair_unlock(index, proc, into, last);
    return copied;
}

static struct lock_range released_words(const struct index *index,
                                        const struct index_local *local) {
    return (struct lock_range){(char *)index->buckets, sizeof(struct bucket), local->release_first,
                               local->release_end};
}

void index_release_repair(struct index *index, uint32_t dead_slot_index) {
    struct index_local *local = index_local(index, dead_slot_index);
    if (local->release_end) {
        struct lock_range range = released_words(index, local);
        lock_range_drop(&range, dead_slot_index);
        SHARED_DECIDE(local->release_end, 0);
    }
}

// Gives some memory beyond the last bucket back; false when there is none, or when somebody holds a
// word in it: the next step will find it free. Holds LOCK_GROW.
static bool release_buckets(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    struct index_local *local = index_local(index, proc->slot_index);
    uint32_t first = index_page_end(root->bucket_count);
    uint32_t end = root->buckets_touched;
    if (first >= end) {
        return false;
    }
    first = end > first + RELEASE_BUCKETS ? end - RELEASE_BUCKETS : first;
    SHARED_DECIDE(local->release_first, first);
    SHARED_DECIDE(local->release_end, end);
    struct lock_range range = released_words(index, local);
    uint64_t highest = 0;
    bool is_taken = lock_range_take(proc, &range, &highest);
    FAULT_POINT(proc, "index.release.locked");
    if (is_taken) {
        highest += LOCK_VERSION_STEP;
        SHARED_STORE(root->version_floor,
                     highest > root->version_floor ? highest : root->version_floor);
        if (!arena_give_back(&index->buckets[first],
                             (uint64_t)(end - first) * sizeof(struct bucket))) {
            lock_range_drop(&range, proc->slot_index);
        }
        FAULT_POINT(proc, "index.release.given");
    }
    SHARED_DECIDE(local->release_end, 0);
    FAULT_POINT(proc, "index.release.forgotten");
    SHARED_STORE(root->buckets_touched, is_taken ? first : end);
    return is_taken;
}

static int64_t count_entries(struct index *index, struct proc *proc) {
    struct index_local *local = index_local(index, proc->slot_index);
    int64_t entries = SHARED_ADD(index->root->entries, local->entries_pending, RELAXED);
    SHARED_STORE(local->entries_pending, 0);
    return entries;
}

void index_grow_if_needed(struct index *index, struct proc *proc) {
    struct index_root *root = index->root;
    int64_t entries = count_entries(index, proc);
    int64_t room = (int64_t)SHARED_LOAD(root->bucket_count) * INDEX_ENTRIES_PER_BUCKET;
    if (LIKELY(entries <= room) || !lock_try(proc, &root->grow_lock, LOCK_GROW)) {
        return;
    }
    for (int i = 0;
         i < SPLITS_PER_CALL && entries > (int64_t)root->bucket_count * INDEX_ENTRIES_PER_BUCKET;
         i++) {
        if (!split_one(index, proc)) {
            break;
        }
    }
    lock_give(proc, &root->grow_lock, true);
}

static bool is_sparse(const struct index_root *root) {
    uint32_t buckets = SHARED_LOAD(root->bucket_count);
    return buckets > root->bucket_min
           && SHARED_LOAD(root->entries) * 2 < (int64_t)buckets * MERGE_ENTRIES_TWICE;
}

bool index_shrink_step(struct index *index, struct proc *proc, uint32_t buckets_max) {
    struct index_root *root = index->root;
    count_entries(index, proc);
    if (!lock_try(proc, &root->grow_lock, LOCK_GROW)) {
        return false;
    }
    bool has_room = true;
    for (uint32_t i = 0; i < buckets_max && has_room && is_sparse(root); i++) {
        has_room = merge_one(index, proc);
    }
    bool goes_on = has_room && is_sparse(root);
    goes_on |= release_buckets(index, proc);
    lock_give(proc, &root->grow_lock, true);
    goes_on |= index_overflow_release(index, proc);
    return goes_on;
}

void index_stir(struct index *index, struct proc *proc, uint64_t hash) {
    struct bucket *home = index_lock(index, proc, hash);
    if (home) {
        index_unlock(proc, home, true);
    }
}

uint64_t index_bytes(const struct index *index) {
    return ((uint64_t)SHARED_LOAD(index->root->bucket_count)
            + SHARED_LOAD(index->root->overflow_begun))
           * sizeof(struct bucket);
}
