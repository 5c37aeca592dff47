// The rings as they lie in the arena, and who reads them.
//
// A ring has one writer, its slot's owner, and any number of readers, who see how far it is and
// never write. Positions count bytes from the beginning of time; a record of `bytes` bytes begins
// at a position modulo the ring's size and may go round its end. The writer says in `reserved` up
// to where it may be writing, writes, and says in `written` up to where all is whole. A reader
// copies and then looks at `reserved`: what lies more than a ring behind that was overwritten.
//
// The number of an event is taken after `reserved` was raised. So who has read the last number
// given, and then finds `written` not behind `reserved` in a ring, has all of that ring's events up
// to that number: the streams are merged in the order of the numbers.
#pragma once

#include "base/racy_inline.h"
#include "shm/arena_inline.h"
#include "watch/watch_inline.h"

// Places in a ring where a record begins, one in each part of it: who was overtaken goes on there.
#define WATCH_MARKS 8
#define WATCH_TEXT_BYTES_MAX 400
#define WATCH_KEY_BYTES_MAX 250

struct CACHE_ALIGNED watch_ring {
    uint64_t reserved;
    uint64_t written;
    uint64_t marks[WATCH_MARKS];
    uint32_t class_seq[WATCH_CLASSES];    // How many events of each class were written so far.
};

struct watch_root {
    CACHE_ALIGNED uint64_t gid;    // The last number given. Atomic add by every event.
    // All that is wanted, made from `readers` by watch_recount().
    CACHE_ALIGNED uint32_t wanted;
    uint32_t slots;
    uint64_t ring_bytes;
    uint64_t rings_offset;
    uint64_t data_offset;
    // Who watches: slot + 1, and the classes above it; 0 for nobody.
    uint64_t readers[WATCH_READERS_MAX];
};
#define WATCH_CLASSES_SHIFT 32

// In a ring; key and text stand behind it.
struct watch_record {
    uint16_t bytes;    // All of it, a multiple of 8.
    uint8_t kind;
    uint8_t class_number;
    uint32_t class_seq;    // How many events of the class this process had noted before.
    uint64_t gid;
    uint64_t time_us;    // Since 1970.
    uint32_t connection;
    uint32_t size_bytes;
    int64_t ttl_seconds;
    uint32_t idle_seconds;
    uint16_t text_bytes;
    uint16_t port;
    uint8_t key_bytes;
    uint8_t status;
    uint8_t command;
    uint8_t class_id;
    uint8_t family;
    bool is_fetched;
    bool has_address;    // 16 bytes of it stand before the key.
    bool is_datagram;
};
_Static_assert(sizeof(struct watch_record) % 8 == 0, "records begin at multiples of 8");
#define WATCH_RECORD_BYTES_MAX                                                                     \
    (sizeof(struct watch_record) + 16 + WATCH_KEY_BYTES_MAX + WATCH_TEXT_BYTES_MAX + 8)

static inline struct watch_root *watch_root_of(const struct arena *arena) {
    uint64_t offset = arena->header->roots[ARENA_ROOT_WATCH];
    return offset ? (struct watch_root *)(arena->base + offset) : NULL;
}
static inline struct watch_ring *watch_ring_at(const struct arena *arena,
                                               const struct watch_root *root, uint32_t slot) {
    return (struct watch_ring *)(arena->base + root->rings_offset) + slot;
}
static inline char *watch_data_at(const struct arena *arena, const struct watch_root *root,
                                  uint32_t slot) {
    return arena->base + root->data_offset + (uint64_t)slot * root->ring_bytes;
}

// Sets `wanted` from who watches. Whoever changes `readers` calls it afterwards; of several at a
// time the last one sees all changes.
void watch_recount(struct watch_root *root);
// Makes the line of a record that is known to be whole: up to WATCH_LINE_BYTES_MAX bytes. Returns
// its end.
char *watch_put_line(char *at, const struct watch_record *record, const char *tail);
