// A record on flash: 12 bytes of its own, then an item's image with its key, then the value,
// perhaps compressed.
//
// The room does not know items: to it the image is `head_bytes` of bytes that are never compressed,
// then the value.
#pragma once

#include <stdint.h>

#define FLASH_RECORD_COMPRESSED 0x80000000u
#define FLASH_RECORD_BYTES_MASK 0x7fffffffu

struct flash_record {
    uint32_t crc32c;    // Of all that follows, up to its size.
    uint32_t sizes;     // Bytes of the record with this header; the top bit says that the value is
                        // compressed.
    uint32_t page_version;    // Low 32 bits of the version of the page it was written to.
};
_Static_assert(sizeof(struct flash_record) == 12, "see FORMAT.md");

// The first block of a page; the rest of it is 0. See FORMAT.md.
#define FLASH_PAGE_MAGIC "PYMCLOG\n"
#define FLASH_FORMAT 2
struct flash_page_header {
    char magic[8];
    uint32_t crc32c;    // Of all that follows, up to the end of the block.
    uint32_t format;
    uint8_t log_id[16];
    uint64_t page_version;
    uint64_t page_bytes;
    uint64_t file_offset;          // Of the page in its file.
    int64_t epoch_unix_seconds;    // When the clock that expiries are given in showed 0.
    uint32_t page;
    uint32_t path;
    uint32_t bucket;
    uint32_t label;
    uint32_t unit_bytes;
    uint32_t unused;
};
_Static_assert(sizeof(struct flash_page_header) == 88, "see FORMAT.md");

static inline uint32_t flash_record_bytes(const struct flash_record *record) {
    return record->sizes & FLASH_RECORD_BYTES_MASK;
}
static inline char *flash_record_image(const struct flash_record *record) {
    return (char *)(record + 1);
}
