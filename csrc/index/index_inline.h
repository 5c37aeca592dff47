// Buckets of one cache line and the operations on them for the store.
//
//   bucket: | word 8 | 11 tags of 1 byte | chained 1 | 11 references of 4 bytes |  = 64 bytes
//
// A tag of 0 marks an empty slot. When `chained` is set, references[10] is the number of an
// overflow bucket plus one. Linear hashing: bucket s splits into s and s + 2^level when there are
// too many entries, and the two are merged when there are few; no table is ever copied. Readers
// take no lock: they read the home bucket's word, look, copy, and read the word again. Every change
// in a chain is made under the home bucket's word as LOCK_BUCKET and moves its version.
#pragma once

#include "index/index.h"
#include "table/table_inline.h"

#define INDEX_SLOTS 11
#define INDEX_ALL_SLOTS 0x7ffu
#define INDEX_CHAIN_SLOT 10
#define INDEX_CHAIN_MAX TABLE_CHAIN_MAX
#define INDEX_ENTRIES_PER_BUCKET 7    // Average load at which the next bucket splits.

struct CACHE_ALIGNED bucket {
    uint64_t word;
    uint8_t tags[INDEX_SLOTS];
    uint8_t chained;
    uint32_t refs[INDEX_SLOTS];
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket is one cache line");

// What a process is doing to the index; for the repairer.
struct CACHE_ALIGNED index_local {
    struct table_local table;
    uint64_t
        chain_bucket;    // Bucket (arena offset) that an overflow bucket is being chained to, 0
                         // for none.
};

// Hash of the key that a reference stands for; the index itself does not know keys.
typedef uint64_t (*index_hash_of)(void *context, uint32_t ref);

// A process's handle: addresses only.
struct index {
    struct table table;
    struct table_root *root;    // The table's, and so are these two.
    struct bucket *buckets;
    struct bucket *overflow;
    char *arena_base;
    index_hash_of hash_of;
    void *hash_context;
};

uint64_t index_reserve_bytes(uint32_t bucket_max, uint32_t slots);
MUST_CHECK int index_create(struct arena *arena, uint32_t bucket_start, uint32_t bucket_max);
void index_attach(struct arena *arena, struct index *index, index_hash_of hash_of,
                  void *hash_context);

static inline struct index_local *index_local(const struct index *index, uint32_t slot_index) {
    return (struct index_local *)(index->table.locals
                                  + (uint64_t)slot_index * sizeof(struct index_local));
}

static inline uint32_t index_home(const struct index *index, uint64_t hash) {
    return table_home(index->root, hash);
}
static inline uint8_t index_tag(uint64_t hash) {
    return (uint8_t)(1 + (hash >> 56) % 255);
}

// Bits of the slots whose tag equals `tag`; the chain slot never matches while it is a link.
static inline uint32_t index_match(const struct bucket *bucket, uint8_t tag);

static inline const struct bucket *index_next(const struct index *index,
                                              const struct bucket *bucket) {
    if (LIKELY(!SHARED_LOAD(bucket->chained))) {
        return NULL;
    }
    uint32_t number = SHARED_LOAD(bucket->refs[INDEX_CHAIN_SLOT]) - 1;
    return number < index->root->overflow_max ? &index->overflow[number] : NULL;
}

// Locks the home bucket of `hash` and returns it; NULL when another process holds it beyond the
// bound of lock_rounds_max(). Locks: LOCK_BUCKET. Crash: the repairer finds it named in `held`.
struct bucket *index_lock(struct index *index, struct proc *proc, uint64_t hash);
// The same for work that can be left: NULL when it is held after a few microseconds.
struct bucket *index_lock_briefly(struct index *index, struct proc *proc, uint64_t hash);
static inline void index_unlock(struct proc *proc, struct bucket *home, bool changed) {
    lock_give(proc, &home->word, changed);
}

// Where one entry stands inside a locked chain.
struct index_place {
    struct bucket *bucket;
    uint32_t slot;
};

// Adds an entry to a locked chain; PYMC_NO_MEMORY when a new overflow bucket is needed and none is
// left, or the chain is as long as readers follow: then an entry of the chain must go, see
// space_make_chain_room(). Crash: the entry is in or it is not.
MUST_CHECK int index_insert_locked(struct index *index, struct proc *proc, struct bucket *home,
                                   uint8_t tag, uint32_t ref);
// Swaps the reference of an entry. Crash: one or the other.
static inline void index_replace_locked(struct index_place place, uint32_t ref) {
    SHARED_DECIDE(place.bucket->refs[place.slot], ref);
}
// Clears a slot of a locked chain; its bucket stays in the chain though it may be empty then.
void index_clear_slot(struct bucket *bucket, uint32_t slot);
void index_remove_locked(struct index *index, struct proc *proc, struct bucket *home,
                         struct index_place place);
// The references in a locked chain: copies them to `refs`, which has room for INDEX_CHAIN_REFS_MAX,
// and returns how many there are.
#define INDEX_CHAIN_REFS_MAX (INDEX_CHAIN_MAX * INDEX_SLOTS)
uint32_t index_chain_refs(const struct index *index, struct bucket *home, uint32_t *refs);
// Finds the entry of exactly this reference in a locked chain.
bool index_find_ref_locked(const struct index *index, struct bucket *home, uint32_t ref,
                           struct index_place *out);

// Merges up to `buckets_max` buckets away when the average load is low, see table_shrink_step().
// Called with no lock held. Locks: LOCK_GROW if nobody holds it, LOCK_BUCKET, LOCK_SPLIT,
// LOCK_LEAF. Crash: a merge is done or undone.
static inline bool index_shrink_step(struct index *index, struct proc *proc, uint32_t buckets_max) {
    return table_shrink_step(&index->table, proc, buckets_max);
}

// Moves the version of the bucket of `hash`. A look-up without the lock that read version 0 and
// found nothing must call this and look again: memory that is given back and comes anew has that
// version too. Requires: no bucket locked.
void index_move_version(struct index *index, struct proc *proc, uint64_t hash);

// Counts an insert (+1) or removal (-1) and grows the index now and then. Requires: no lock held.
static inline void index_count(struct index *index, struct proc *proc, int32_t by) {
    table_count(&index->table, proc, &index_local(index, proc->slot_index)->table, by);
}

// Memory the index uses, in bytes.
uint64_t index_bytes(const struct index *index);

// Restores what a dead process left half done and frees LOCK_GROW and LOCK_LEAF, and the bucket of
// an unfinished split. The bucket in `held` is made sound but stays locked: the store has work
// there; index_repair_done() frees it. Returns that bucket, NULL when the dead process holds none.
struct bucket *index_repair(struct index *index, struct proc *self, uint32_t dead_slot_index);
void index_repair_done(struct bucket *home);

typedef void (*index_visit)(void *context, uint32_t ref, uint32_t home);
// Calls `visit` for every entry; aborts on a contradiction. Requires: nobody else works in the
// arena.
void index_check(const struct index *index, index_visit visit, void *context);

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>
static inline uint32_t index_match(const struct bucket *bucket, uint8_t tag) {
    __m128i tags = _mm_loadu_si128((const __m128i *)bucket->tags);
    uint32_t bits = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
    return bits & INDEX_ALL_SLOTS;
}
#elif defined(__aarch64__) && !defined(__SANITIZE_THREAD__)
#include <arm_neon.h>
static inline uint32_t index_match(const struct bucket *bucket, uint8_t tag) {
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t equal = vceqq_u8(vld1q_u8(bucket->tags), vdupq_n_u8(tag));
    uint8x16_t bits = vandq_u8(equal, vld1q_u8(weights));
    uint32_t high = vaddv_u8(vget_high_u8(bits));
    return (vaddv_u8(vget_low_u8(bits)) | high << 8) & INDEX_ALL_SLOTS;
}
#else
static inline uint32_t index_match(const struct bucket *bucket, uint8_t tag) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < INDEX_SLOTS; i++) {
        bits |= (uint32_t)(SHARED_LOAD(bucket->tags[i]) == tag) << i;
    }
    return bits;
}
#endif
