// Buckets of the fingerprint index and the steps on chains that its files share.
//
//   bucket:   | word 8 | 15 entries of 8 |  = 128 bytes, home of the keys whose hash names it
//   overflow: | 8 entries of 8 |            = 64 bytes, chained behind a full one
//
// A full bucket's last slot holds a link to an overflow bucket, which begins with the entry that
// stood there. Linear hashing: bucket s splits into s and s + 2^level when there are too many
// entries, and the two are merged when there are few; the hash bits in an entry say which of the
// two it belongs to. Changes are made under the home bucket's word as LOCK_FLASH and move its
// version; readers take no lock, they read the word, look, and read the word again.
#pragma once

#include "flash/flash_index_inline.h"
#include "flash/flash_internal.h"

#define FLASH_LINK (1ull << 63)
#define FLASH_HASH_BITS 21
#define FLASH_HASH_SHIFT 42
#define FLASH_SIZE_SHIFT 36
#define FLASH_HOME_WORDS 16
#define FLASH_OVERFLOW_WORDS 8
// More overflow buckets than this in one chain cannot be; a loop would be a bug.
#define FLASH_CHAIN_MAX 64
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
#define FLASH_HOMES_PER_PAGE (ARENA_SYSTEM_PAGE_BYTES / sizeof(struct flash_home))
#define FLASH_OVERFLOWS_PER_PAGE (ARENA_SYSTEM_PAGE_BYTES / (uint32_t)sizeof(struct flash_overflow))

struct CACHE_ALIGNED flash_index_root {
    uint64_t homes_offset;
    uint64_t overflow_offset;
    uint64_t overflow_bits_offset;    // A bit per overflow bucket that is in use; under
                                      // overflow_lock.
    uint64_t bucket_count;            // Atomic; the commit of a split and of a merge.
    uint64_t bucket_max;
    uint64_t hash_mask;    // Of the hash bits that name a bucket or stand in an entry's field.
    uint64_t fingerprint_mask;    // Of an entry's bits that come from the hash, and FLASH_LINK.
    uint32_t address_bits;
    uint32_t spare_bits;    // Address bits that the tier does not need: more of the hash.
    uint32_t start_bits;    // There were 2^start_bits buckets at the start.
    uint32_t overflow_max;
    CACHE_ALIGNED uint64_t grow_lock;    // LOCK_FLASH_GROW
    uint64_t version_floor;      // Higher than any version of a bucket that was merged away.
    uint64_t buckets_touched;    // Beyond these no memory is in use; whole system pages.
    uint64_t merges;             // Atomic; counted before the entries' move shows.
    int64_t entries;             // Atomic; without the locals' entries_pending.
    CACHE_ALIGNED uint64_t overflow_lock;    // LOCK_LEAF
    uint32_t overflow_low;      // No bucket is free in the words of overflow bits before this one.
    uint32_t overflow_begun;    // One more than the highest in use.
    uint32_t overflow_touched;    // Beyond these no memory is in use.
};

// One bucket of a chain. Of a home bucket's words the first is no slot.
struct flash_span {
    uint64_t *words;
    uint32_t count;
};

static inline struct flash_home *flash_home_at(const struct flash *flash, uint64_t number) {
    return (struct flash_home *)(flash->arena_base + flash->index->homes_offset) + number;
}
static inline struct flash_overflow *flash_overflow_at(const struct flash *flash, uint64_t number) {
    return (struct flash_overflow *)(flash->arena_base + flash->index->overflow_offset) + number;
}

static inline uint64_t *flash_overflow_bits(const struct flash *flash) {
    return (uint64_t *)(flash->arena_base + flash->index->overflow_bits_offset);
}
// The number of buckets that fill the system pages of the first `count`.
static inline uint64_t flash_homes_end(uint64_t count) {
    return (count + FLASH_HOMES_PER_PAGE - 1) / FLASH_HOMES_PER_PAGE * FLASH_HOMES_PER_PAGE;
}
static inline uint32_t flash_overflows_end(uint32_t count) {
    return (count + FLASH_OVERFLOWS_PER_PAGE - 1) / FLASH_OVERFLOWS_PER_PAGE
           * FLASH_OVERFLOWS_PER_PAGE;
}

// The home bucket's number for masked hash bits when there are `count` buckets.
static inline uint64_t flash_home_of(uint64_t bits, uint64_t count) {
    uint64_t mask = UINT64_MAX >> __builtin_clzll(count);
    uint64_t home = bits & mask;
    return home < count ? home : home & (mask >> 1);
}
static inline uint64_t flash_home_number(const struct flash_index_root *root, uint64_t hash) {
    return flash_home_of(hash & root->hash_mask, SHARED_ACQUIRE(root->bucket_count));
}
// The home of an entry found in the chain of bucket `number`, when there are `count` buckets.
static inline uint64_t flash_home_of_entry(const struct flash_index_root *root, uint64_t entry,
                                           uint64_t number, uint64_t count) {
    uint64_t low = number & ((1ull << root->start_bits) - 1);
    uint64_t high = entry >> FLASH_HASH_SHIFT & ((1u << FLASH_HASH_BITS) - 1);
    return flash_home_of(high << root->start_bits | low, count);
}
// The bucket from which bucket `to` splits off.
static inline uint64_t flash_split_source(uint64_t to) {
    return to - (1ull << (63 - __builtin_clzll(to)));
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
    return (hash & root->hash_mask) >> root->start_bits << FLASH_HASH_SHIFT
           | spare << root->address_bits;
}

static inline struct flash_span flash_span_of(struct flash_home *home) {
    return (struct flash_span){home->words, FLASH_HOME_WORDS};
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
    if (LIKELY(!(last & FLASH_LINK)) || number >= flash->index->overflow_max) {
        return false;
    }
    *span = (struct flash_span){flash_overflow_at(flash, number)->words, FLASH_OVERFLOW_WORDS};
    return true;
}
// Bits of the slots whose bits under `mask` are `wanted`.
static inline uint32_t flash_match(struct flash_span span, uint64_t mask, uint64_t wanted);

// Locks the home bucket of `hash`, or the one of this number, and returns it. Locks: LOCK_FLASH.
struct flash_home *flash_index_lock(struct flash *flash, struct proc *proc, uint64_t hash);
struct flash_home *flash_index_lock_number(struct flash *flash, struct proc *proc, uint64_t number);
static inline void flash_index_unlock(struct proc *proc, struct flash_home *home, bool changed) {
    lock_give(proc, &home->words[0], changed);
}
// Clears a slot of a locked chain and counts the entry out of its page.
void flash_take_out(struct flash *flash, struct proc *proc, uint64_t *slot);
// Moves entries from the end of a locked chain into holes and frees the overflow buckets that are
// not needed.
void flash_compact(struct flash *flash, struct proc *proc, struct flash_home *home);
// Adds to the number of entries.
void flash_count_entries(struct flash *flash, struct proc *proc, int64_t by);
// Adds an entry to a locked chain, `counts` it in its page. Crash: the entry is in or it is not.
MUST_CHECK int flash_put(struct flash *flash, struct proc *proc, struct flash_home *home,
                         uint64_t entry, bool counts);
// Takes an overflow bucket into local->overflow_taken; returns its number + 1, 0 when there is
// none.
uint32_t flash_overflow_take(struct flash *flash, struct proc *proc);
// Frees the overflow bucket in local->overflow_taken, the process's own hand or a dead one's.
void flash_overflow_give(struct flash *flash, struct proc *proc, struct flash_local *local);
// Repairs and frees the lock of the overflow buckets, if it is the dead process's.
void flash_overflow_repair(struct flash *flash, uint32_t dead_slot_index);
// Gives memory beyond the last overflow bucket in use back; true when there was some.
bool flash_overflow_release(struct flash *flash, struct proc *proc);
// Frees the words that a dead process took to give their memory back.
void flash_release_repair(struct flash *flash, uint32_t dead_slot_index);
// Unhangs and frees all overflow buckets of a bucket that nobody can reach, and empties it.
void flash_clear_unreachable(struct flash *flash, struct proc *proc, struct flash_home *home);
// Splits a few buckets when the average load is too high. Locks: LOCK_FLASH_GROW if nobody holds
// it, LOCK_FLASH, LOCK_LEAF.
void flash_grow_if_needed(struct flash *flash, struct proc *proc);

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
