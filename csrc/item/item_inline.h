// The bytes of an item in its chunk.
//
//   | last access 4 | value bytes 24 bits, key bytes 8 | order 6 | state 2 | [expiry 4] [client
//   flags 4] [own cas 8] | key | value                                          inline item | key |
//   pad to 4 | value bytes 4 | parts 4 | part references 4 each       large item (ITEM_LARGE)
//
// Every store takes the next order number, see link_numbers_for(): it tells which items a flush
// covers, and it is unique to a stored value. It is also the CAS number that clients see, unless
// the item has one of its own: the field is there since a client gave a number, or from the start
// in a large item, and then holds what clients see.
//
// A part chunk of a large item has the same first 16 bytes: the owner's reference, 0, 0, ITEM_PART;
// then value bytes. Changed only under the bucket lock of the key once linked; read by others with
// a version check.
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/check_inline.h"
#include "base/racy_inline.h"

#define ITEM_HEADER_BYTES 16
#define ITEM_KEY_BYTES_MAX 250
#define ITEM_VALUE_BYTES_INLINE_MAX 0xffffffu
#define ITEM_ORDER_MASK 0xffffffffffffull

enum item_state {
    ITEM_LINKED = 1,
    ITEM_LARGE = 2,
    ITEM_EXPIRES = 4,
    ITEM_CLIENT_FLAGS = 8,
    ITEM_OWN_CAS = 16,    // Has a field for a CAS number that is not its order number.
    ITEM_BINARY_KEY = 32,
    ITEM_STALE = 64,
    ITEM_TOKEN_SENT = 128,
    ITEM_FETCHED = 256,      // Read at least once since stored.
    ITEM_READS_LOW = 512,    // With ITEM_READS_HIGH: how often it was read, see item_reads().
    ITEM_QUEUE_SHIFT = 10,
    ITEM_QUEUE_MASK = 3 << 10,
    ITEM_PART = 4096,
    ITEM_LIMBO = ITEM_PART | ITEM_STALE,    // Together only for unlinked items in the limbo list.
    ITEM_READS_HIGH = 8192,
    ITEM_ON_FLASH = 32768    // It has a copy on flash; unless that page was dropped, the index
                             // there names it.
};

enum item_queue { QUEUE_HOT = 0, QUEUE_WARM = 1, QUEUE_COLD = 2, QUEUE_TEMP = 3 };

struct item {
    uint32_t time_seconds;
    uint32_t sizes;
    uint32_t order_low;
    uint16_t order_high;
    uint16_t state;
};
_Static_assert(sizeof(struct item) == ITEM_HEADER_BYTES, "the fixed part is 16 bytes");

static inline uint32_t item_optional_bytes(uint32_t state) {
    return (state & ITEM_EXPIRES ? 4u : 0) + (state & ITEM_CLIENT_FLAGS ? 4u : 0)
           + (state & ITEM_OWN_CAS ? 8u : 0);
}
static inline uint32_t item_key_bytes(uint32_t sizes) {
    return sizes & 0xff;
}
static inline uint32_t item_inline_value_bytes(uint32_t sizes) {
    return sizes >> 8;
}
static inline uint32_t item_pack_sizes(uint32_t value_bytes, uint32_t key_bytes) {
    return value_bytes << 8 | key_bytes;
}
static inline enum item_queue item_queue_of(uint32_t state) {
    return (enum item_queue)((state & ITEM_QUEUE_MASK) >> ITEM_QUEUE_SHIFT);
}
// Reads since the item was stored or passed probation, less one for each time the eviction hand
// spared it; at most 3.
#define ITEM_READS_MAX 3u
#define ITEM_READS_MASK (ITEM_READS_LOW | ITEM_READS_HIGH)
static inline uint32_t item_reads(uint32_t state) {
    return (state & ITEM_READS_LOW ? 1 : 0) | (state & ITEM_READS_HIGH ? 2 : 0);
}
static inline uint32_t item_with_reads(uint32_t state, uint32_t reads) {
    return (state & ~(uint32_t)ITEM_READS_MASK) | (reads & 1 ? ITEM_READS_LOW : 0)
           | (reads & 2 ? ITEM_READS_HIGH : 0);
}
// In use without having been read: an incr, or an add that found it. It weighs as a read when
// something has to go.
static inline uint32_t item_used_once_more(uint32_t state) {
    uint32_t reads = item_reads(state);
    return item_with_reads(state, reads < ITEM_READS_MAX ? reads + 1 : reads);
}
static inline uint32_t item_read_once_more(uint32_t state) {
    return item_used_once_more(state) | ITEM_FETCHED;
}
static inline char *item_key(const struct item *item, uint32_t state) {
    return (char *)item + ITEM_HEADER_BYTES + item_optional_bytes(state);
}
static inline uint32_t item_state_of(const struct item *item) {
    return SHARED_LOAD(item->state);
}
static inline void item_set_state(struct item *item, uint32_t state) {
    SHARED_RELEASE(item->state, (uint16_t)state);
}
static inline uint32_t item_load32(const void *place) {
    uint32_t value;
    racy_copy(&value, place, sizeof value);
    return value;
}
static inline uint32_t item_expiry(const struct item *item, uint32_t state) {
    return state & ITEM_EXPIRES ? item_load32((const char *)item + ITEM_HEADER_BYTES) : 0;
}
static inline void item_set_expiry(struct item *item, uint32_t expiry_seconds) {
    racy_write((char *)item + ITEM_HEADER_BYTES, &expiry_seconds, sizeof expiry_seconds);
}
static inline char *item_flags_place(const struct item *item, uint32_t state) {
    return (char *)item + ITEM_HEADER_BYTES + (state & ITEM_EXPIRES ? 4 : 0);
}
static inline uint32_t item_client_flags(const struct item *item, uint32_t state) {
    return state & ITEM_CLIENT_FLAGS ? item_load32(item_flags_place(item, state)) : 0;
}
static inline void item_set_client_flags(struct item *item, uint32_t state, uint32_t flags) {
    racy_write(item_flags_place(item, state), &flags, sizeof flags);
}
// Order number and the CAS number that clients see.
struct item_numbers {
    uint64_t order;
    uint64_t cas;
};
static inline uint64_t item_order(const struct item *item) {
    return (uint64_t)SHARED_LOAD(item->order_high) << 32 | SHARED_LOAD(item->order_low);
}
static inline char *item_own_cas_place(const struct item *item, uint32_t state) {
    return item_flags_place(item, state) + (state & ITEM_CLIENT_FLAGS ? 4 : 0);
}
// Requires: the item has the field.
static inline uint64_t item_own_cas(const struct item *item, uint32_t state) {
    uint64_t cas;
    racy_copy(&cas, item_own_cas_place(item, state), sizeof cas);
    return cas;
}
// Requires: the two are the same (or nobody is shown one), or the item has the field.
static inline void item_set_numbers(struct item *item, uint32_t state,
                                    struct item_numbers numbers) {
    if (UNLIKELY(state & ITEM_OWN_CAS)) {
        racy_write(item_own_cas_place(item, state), &numbers.cas, sizeof numbers.cas);
    }
    SHARED_STORE(item->order_low, (uint32_t)numbers.order);
    SHARED_STORE(item->order_high, (uint16_t)(numbers.order >> 32));
}

// The tail of a large item, behind its key.
struct item_large {
    uint32_t value_bytes;
    uint32_t part_count;
    uint32_t parts[];
};
static inline uint32_t item_large_offset(uint32_t state, uint32_t key_bytes) {
    return (ITEM_HEADER_BYTES + item_optional_bytes(state) + key_bytes + 3) & ~3u;
}
static inline struct item_large *item_large_of(const struct item *item, uint32_t state) {
    return (
        struct item_large *)((char *)item
                             + item_large_offset(state, item_key_bytes(SHARED_LOAD(item->sizes))));
}
static inline char *item_inline_value(const struct item *item, uint32_t state, uint32_t key_bytes) {
    return item_key(item, state) + key_bytes;
}

// The bytes of the value, in parts or not.
uint32_t item_value_bytes(const struct item *item, uint32_t state);
// Bytes an item occupies, parts included.
uint64_t item_total_bytes(const struct item *item, uint32_t state);
