// Pages and the handle, for the rooms above; for the index see flash_index.h, for records
// flash_record_inline.h.
#pragma once

#include "flash/flash.h"
#include "meter/meter_inline.h"
#include "table/table_inline.h"

// Written by the keeper only, but for the counts that say atomic. Line-sized: workers count in it.
struct CACHE_ALIGNED flash_page {
    uint64_t version;
    uint64_t written_bytes;      // Where the next buffer goes; moved on when one begins.
    uint64_t newest_order;       // Atomic; fillers of buffers raise it, and the next two.
    uint64_t file_offset;        // In its path; never changes.
    uint32_t expires_seconds;    // UINT32_MAX: never.
    uint32_t objects_written;
    uint32_t objects;    // Atomic. Raised before an entry is put in, lowered after it is out: never
                         // too low.
    uint32_t objects_read;    // Atomic; a hint.
    uint8_t state;
    uint8_t bucket;
    uint8_t label;         // Never changes.
    uint8_t path;          // Never changes.
    uint8_t has_blocks;    // Its file system has taken all of it before, or is bound to.
    uint8_t is_ending;     // Takes no further buffer, since a write failed, and is closed after the
                           // last.
};
_Static_assert(sizeof(struct flash_page) == 64, "a page's row is one cache line");

struct flash_root;    // flash_internal.h
struct flash_path_state;
struct flash_index_root;    // flash_index_internal.h
struct flash_buffer;        // flash_buffers_internal.h

// A process's handle. The supervisor makes it; forked processes use their inherited copy.
struct flash {
    char *arena_base;
    struct arena *arena;
    struct flash_root *root;
    struct flash_page *pages;
    struct flash_path_state *paths;
    struct flash_index_root *index;
    struct table table;       // Of the index.
    uint64_t address_mask;    // Of an index entry's bits that are its address.
    int fds[FLASH_PATHS_MAX];
    char *names[FLASH_PATHS_MAX];            // For lines to the operator.
    uint32_t read_align[FLASH_PATHS_MAX];    // Offsets, lengths and memory of reads are multiples
                                             // of this.
    bool is_direct[FLASH_PATHS_MAX];
    bool is_allocated[FLASH_PATHS_MAX];    // Its file system has set all blocks aside, or it is a
                                           // device.
    struct flash_buffer *buffers;
    int wake_fd;
    // The keeper's own.
    uint32_t open_pages[FLASH_BUCKETS][FLASH_PATHS_MAX];    // Where the last buffer went; a hint.
    uint32_t next_path[FLASH_BUCKETS];                      // Whose turn it is.
};

// True while reads of the page make sense.
static inline bool flash_page_is_readable(const struct flash *flash, uint32_t page,
                                          uint64_t version) {
    const struct flash_page *row = &flash->pages[page];
    uint8_t state = SHARED_LOAD(row->state);
    return SHARED_LOAD(row->version) == version
           && (state == FLASH_PAGE_OPEN || state == FLASH_PAGE_FULL);
}
