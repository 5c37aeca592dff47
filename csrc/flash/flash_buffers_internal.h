// A write buffer's row in the arena, for the files of this room.
#pragma once

#include "flash/flash_buffers.h"
#include "flash/flash_internal.h"

// `fill`: | use 32 | closed 1 | bytes taken 31 |. The use changes when the buffer is freed and when
// it is begun: whoever met another one met other records.
#define FLASH_FILL_CLOSED 0x80000000ull
#define FLASH_FILL_BYTES 0x7fffffffull
#define FLASH_FILL_USE_SHIFT 32

// The keeper changes all of it, but for `fill`, which fillers raise while it is not closed.
struct CACHE_ALIGNED flash_buffer {
    uint64_t fill;    // Atomic.
    uint64_t page_version;
    uint64_t page_offset;    // Where its first byte goes.
    uint64_t capacity;       // From there to the next buffer's place.
    uint64_t begun;          // Rises with every begin: the oldest is filled first.
    uint64_t took_us;        // The last write.
    uint32_t page;
    uint32_t writer;    // The slot that writes it, + 1.
    uint8_t state;
    uint8_t bucket;
};
_Static_assert(sizeof(struct flash_buffer) == 64, "a buffer's row is one cache line");

static inline uint64_t flash_filled(uint64_t fill) {
    return fill & FLASH_FILL_BYTES;
}
static inline char *flash_buffer_memory(const struct flash *flash, uint32_t number) {
    return flash->arena_base + flash->root->buffer_memory_offset + number * flash->root->wbuf_bytes;
}
// Whether a buffer that is not written yet belongs to the page.
bool flash_page_has_buffers(const struct flash *flash, uint32_t page);
