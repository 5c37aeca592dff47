// Buckets of the fingerprint index and the steps on chains that its files share.
//
//   bucket:   | word 8 | 15 entries of 8 |  = 128 bytes, home of the keys whose hash names it
//   overflow: | 8 entries of 8 |            = 64 bytes, chained behind a full one
//
// A full bucket's last slot holds a link to an overflow bucket, which begins with the entry that
// stood there. When a bucket is split or merged (table_inline.h), the hash bits in an entry say
// which of the two it belongs to. Changes are made under the home bucket's word as LOCK_FLASH.
#pragma once

#include "flash/flash_index_inline.h"
#include "flash/flash_internal.h"

#define FLASH_LINK (1ull << 63)
#define FLASH_HASH_BITS 21
#define FLASH_HASH_MASK ((1ull << FLASH_HASH_BITS) - 1)
#define FLASH_HASH_SHIFT 42
#define FLASH_SIZE_SHIFT 36
#define FLASH_HOME_WORDS 16
#define FLASH_OVERFLOW_WORDS 8
// Average load at which the next bucket splits: about 12 bytes per entry and 1.4 buckets per
// look-up.
#define FLASH_ENTRIES_PER_BUCKET 12
// Entries are allowed to be half in overflow buckets of half the size.
#define FLASH_BUCKETS_PER_OVERFLOW 2

struct flash_home {
    uint64_t words[FLASH_HOME_WORDS];    // words[0] is the lock.
} __attribute__((aligned(128)));
_Static_assert(sizeof(struct flash_home) == 128, "a bucket is two cache lines");

struct CACHE_ALIGNED flash_overflow {
    uint64_t words[FLASH_OVERFLOW_WORDS];
};
_Static_assert(sizeof(struct flash_overflow) == 64, "an overflow bucket is one cache line");
struct CACHE_ALIGNED flash_index_root {
    struct table_root table;
    uint64_t fingerprint_mask;    // Of an entry's bits that come from the hash, and FLASH_LINK.
    uint32_t address_bits;
    uint32_t spare_bits;    // Address bits that the tier does not need: more of the hash.
    uint32_t start_bits;    // There were 2^start_bits buckets at the start.
};

// How the table's machine sees the buckets.
extern const struct table_format flash_index_format;

// One bucket of a chain. Of a home bucket's words the first is no slot.
struct flash_span {
    uint64_t *words;
    uint32_t count;
};

static inline struct flash_home *flash_home_at(const struct flash *flash, uint64_t number) {
    return (struct flash_home *)flash->table.buckets + number;
}
static inline struct flash_overflow *flash_overflow_at(const struct flash *flash, uint64_t number) {
    return (struct flash_overflow *)flash->table.overflow + number;
}

// The home bucket's number. Buckets are no more than the first buckets' numbers and an entry's hash
// field can tell apart.
static inline uint32_t flash_home_number(const struct flash_index_root *root, uint64_t hash) {
    return table_home(&root->table, hash);
}
// The home of an entry found in the chain of bucket `number`, when there are `count` buckets.
static inline uint32_t flash_home_of_entry(const struct flash_index_root *root, uint64_t entry,
                                           uint32_t number, uint32_t count) {
    uint64_t low = number & ((1ull << root->start_bits) - 1);
    uint64_t high = entry >> FLASH_HASH_SHIFT & FLASH_HASH_MASK;
    return table_home_of(high << root->start_bits | low, count);
}
// Sizes are kept as classes 1 to 31: 128, 192, 256, 384, ... 4 MiB.
static inline uint32_t flash_size_of_class(uint32_t size_class) {
    return (size_class & 1 ? 128u : 96u) << ((size_class - 1) / 2 + (size_class & 1 ? 0 : 1));
}
static inline uint32_t flash_size_class(uint32_t bytes) {
    uint32_t size_class = 1;
    while (flash_size_of_class(size_class) < bytes) {
        size_class++;
    }
    return size_class;
}
// At least as many bytes as the record has.
static inline uint32_t flash_entry_bytes_most(uint64_t entry) {
    return flash_size_of_class((uint32_t)(entry >> FLASH_SIZE_SHIFT) & 31);
}
// The bits of an entry that its key's hash gives.
static inline uint64_t flash_fingerprint(const struct flash_index_root *root, uint64_t hash) {
    uint64_t spare =
        hash >> (root->start_bits + FLASH_HASH_BITS) & ((1ull << root->spare_bits) - 1);
    return (hash >> root->start_bits & FLASH_HASH_MASK) << FLASH_HASH_SHIFT
           | spare << root->address_bits;
}

static inline struct flash_span flash_span_of(struct flash_home *home) {
    return (struct flash_span){home->words, FLASH_HOME_WORDS};
}
static inline struct flash_span flash_span_at(const void *bucket, bool is_home) {
    return (struct flash_span){(uint64_t *)bucket,
                               is_home ? FLASH_HOME_WORDS : FLASH_OVERFLOW_WORDS};
}
static inline bool flash_is_entry(uint64_t word) {
    return word && !(word & FLASH_LINK);
}
static inline uint32_t flash_span_first(struct flash_span span) {
    return span.count == FLASH_HOME_WORDS;
}
static inline uint64_t *flash_span_last(struct flash_span span) {
    return &span.words[span.count - 1];
}
// Goes on to the next bucket of the chain; false at its end.
static inline bool flash_span_next(const struct flash *flash, struct flash_span *span) {
    uint64_t last = SHARED_LOAD(*flash_span_last(*span));
    uint64_t number = last & ~FLASH_LINK;
    // Who looks without the lock may meet a bucket that is another chain's by now.
    if (LIKELY(!(last & FLASH_LINK)) || number >= flash->index->table.overflow_max) {
        return false;
    }
    *span = (struct flash_span){flash_overflow_at(flash, number)->words, FLASH_OVERFLOW_WORDS};
    return true;
}
// Bits of the slots whose bits under `mask` are `wanted`.
static inline uint32_t flash_match(struct flash_span span, uint64_t mask, uint64_t wanted);

// Locks the home bucket of `hash`, or the one of this number, and returns it. Locks: LOCK_FLASH.
struct flash_home *flash_index_lock(struct flash *flash, struct proc *proc, uint64_t hash);
struct flash_home *flash_index_lock_number(struct flash *flash, struct proc *proc, uint32_t number);
static inline void flash_index_unlock(struct proc *proc, struct flash_home *home, bool changed) {
    lock_give(proc, &home->words[0], changed);
}
// Clears a slot of a locked chain and counts the entry out of its page.
void flash_take_out(struct flash *flash, struct proc *proc, uint64_t *slot);
// Moves entries from the end of a locked chain into holes and frees the overflow buckets that are
// not needed.
void flash_compact(struct flash *flash, struct proc *proc, struct flash_home *home);
// Adds to the number of entries; the index may grow. Requires: no bucket locked.
static inline void flash_count_entries(struct flash *flash, struct proc *proc, int64_t by) {
    table_count(&flash->table, proc, &flash_local(flash, proc->slot_index)->table, (int32_t)by);
}
// The slot of the first entry in a chain that has the address of `wanted`, NULL when there is none.
const uint64_t *flash_first_alike(const struct flash *flash, uint32_t home, uint64_t wanted);
// Adds an entry to a locked chain, `counts` it in its page. Crash: the entry is in or it is not.
MUST_CHECK int flash_put(struct flash *flash, struct proc *proc, struct flash_home *home,
                         uint64_t entry, bool counts);
#if defined(__SSE4_1__) && !defined(__SANITIZE_THREAD__)
#include <smmintrin.h>
static inline uint32_t flash_match(struct flash_span span, uint64_t mask, uint64_t wanted) {
    __m128i masks = _mm_set1_epi64x((int64_t)mask);
    __m128i wants = _mm_set1_epi64x((int64_t)wanted);
    uint32_t bits = 0;
    for (uint32_t i = 0; i < span.count; i += 2) {
        __m128i pair = _mm_load_si128((const __m128i *)(span.words + i));
        __m128i equal = _mm_cmpeq_epi64(_mm_and_si128(pair, masks), wants);
        bits |= (uint32_t)_mm_movemask_pd(_mm_castsi128_pd(equal)) << i;
    }
    return bits & ~flash_span_first(span);
}
#else
static inline uint32_t flash_match(struct flash_span span, uint64_t mask, uint64_t wanted) {
    uint32_t bits = 0;
    for (uint32_t i = flash_span_first(span); i < span.count; i++) {
        bits |= (uint32_t)((SHARED_LOAD(span.words[i]) & mask) == wanted) << i;
    }
    return bits;
}
#endif
