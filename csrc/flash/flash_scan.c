// Reading a page back: pieces of it, the records in them, and the way on after damage.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/crc32c.h"
#include "flash/flash_buffers.h"
#include "flash/flash_internal.h"
#include "flash/flash_record_inline.h"
#include "flash/flash_scan.h"

#define BLOCK_MASK ((uint64_t)FLASH_BLOCK_BYTES - 1)

struct flash_scan {
    struct flash *flash;
    char *memory;       // Twice a piece: what is kept of the last one stands before the next.
    uint64_t base;      // Offset in the page of the memory's first byte.
    uint64_t loaded;    // Bytes in memory; whole blocks.
    uint64_t at;        // Where the next record is looked for, in memory.
    uint64_t end;       // Offset in the page behind the last block written when the scan began.
    uint64_t piece_bytes;
    uint64_t rejected_bytes;    // Checksummed without a record found.
    uint64_t good_records;      // Found in this piece.
    uint64_t page_version;
    uint32_t page;
    uint32_t objects;    // Entries that named the page when the scan began, 0 while it was not
                         // complete.
    uint32_t found;
    bool has_unread;    // Something could not be read, and is counted as that.
};

static uint64_t memory_bytes(const struct flash *flash) {
    return 2 * flash->root->wbuf_bytes;
}

int flash_scan_create(struct flash *flash, struct flash_scan **scan_out) {
    *scan_out = NULL;
    struct flash_scan *scan = calloc(1, sizeof *scan);
    if (!scan) {
        return PYMC_NO_MEMORY;
    }
    scan->flash = flash;
    scan->memory =
        mmap(NULL, memory_bytes(flash), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (scan->memory == MAP_FAILED) {
        free(scan);
        return PYMC_NO_MEMORY;
    }
    *scan_out = scan;
    return PYMC_OK;
}

void flash_scan_destroy(struct flash_scan *scan) {
    if (!scan) {
        return;
    }
    munmap(scan->memory, memory_bytes(scan->flash));
    free(scan);
}

int flash_scan_begin(struct flash_scan *scan, uint32_t page) {
    const struct flash_page *row = &scan->flash->pages[page];
    uint64_t version = SHARED_ACQUIRE(row->version);
    if (!flash_page_is_readable(scan->flash, page, version)) {
        return PYMC_NOT_FOUND;
    }
    scan->page = page;
    scan->page_version = version;
    scan->end = SHARED_ACQUIRE(row->written_bytes) & ~BLOCK_MASK;
    scan->base = FLASH_BLOCK_BYTES;    // Behind the page's header.
    scan->loaded = 0;
    scan->at = 0;
    scan->piece_bytes = 0;
    scan->rejected_bytes = 0;
    scan->good_records = 0;
    scan->objects = SHARED_LOAD(row->state) == FLASH_PAGE_FULL ? SHARED_LOAD(row->objects) : 0;
    scan->found = 0;
    scan->has_unread = false;
    return PYMC_OK;
}

// What errors of the path are weighed against.
static void note_good(struct flash_scan *scan) {
    SHARED_ADD(scan->flash->paths[scan->flash->pages[scan->page].path].scanned_records,
               scan->good_records, RELAXED);
    scan->good_records = 0;
}

// A piece lies within the place of one write buffer: it is in that, or on the device.
static int load(struct flash_scan *scan, uint64_t next, uint64_t bytes) {
    char *place = scan->memory + scan->loaded;
    uint32_t copied = flash_buffer_copy(scan->flash, scan->page, scan->page_version, next,
                                        (uint32_t)bytes, place);
    if (copied == bytes) {
        return PYMC_OK;
    }
    return flash_io(scan->flash, scan->page, next, place, bytes, false, NULL);
}

// Holes look like damage (see FORMAT.md), but no entry names one. So where entries named more
// records than there are, the device has damaged so many at least; what nobody wants any more hides
// some.
static void count_damage(struct flash_scan *scan) {
    const struct flash_page *row = &scan->flash->pages[scan->page];
    bool is_same = SHARED_ACQUIRE(row->state) == FLASH_PAGE_FULL
                   && SHARED_LOAD(row->version) == scan->page_version;
    if (is_same && !scan->has_unread && scan->objects > scan->found) {
        uint32_t bad = scan->objects - scan->found;
        SHARED_ADD(scan->flash->paths[row->path].scanned_records, bad, RELAXED);
        SHARED_ADD(scan->flash->paths[row->path].bad_records, bad, RELAXED);
    }
    scan->objects = 0;
}

int flash_scan_load(struct flash_scan *scan) {
    note_good(scan);
    // A record that is not complete yet stays, with the rest of its first block.
    uint64_t from = scan->at & ~BLOCK_MASK;
    scan->loaded -= from;
    memmove(scan->memory, scan->memory + from, scan->loaded);
    scan->base += from;
    scan->at -= from;
    scan->piece_bytes = 0;
    uint64_t next = scan->base + scan->loaded;
    if (next >= scan->end) {
        count_damage(scan);
        return PYMC_NOT_FOUND;
    }
    uint64_t bytes = memory_bytes(scan->flash) - scan->loaded;
    uint64_t wbuf_bytes = scan->flash->root->wbuf_bytes;
    uint64_t to_next_buffer = wbuf_bytes - next % wbuf_bytes;
    bytes = bytes < to_next_buffer ? bytes : to_next_buffer;
    bytes = bytes < scan->end - next ? bytes : scan->end - next;
    int status = load(scan, next, bytes);
    if (status != PYMC_OK) {
        // The scan may go on behind what cannot be read.
        scan->has_unread = true;
        scan->base = next + bytes;
        scan->loaded = 0;
        scan->at = 0;
        return status;
    }
    scan->loaded += bytes;
    scan->piece_bytes = bytes;
    return PYMC_OK;
}

uint64_t flash_scan_loaded_bytes(const struct flash_scan *scan) {
    return scan->piece_bytes;
}

static bool is_plausible(const struct flash_scan *scan, const struct flash_record *record) {
    uint32_t bytes = flash_record_bytes(record);
    return bytes > sizeof *record && bytes <= flash_record_bytes_max(scan->flash)
           && record->page_version == (uint32_t)scan->page_version
           && bytes <= scan->end - (scan->base + scan->at);
}

const struct flash_record *flash_scan_next(struct flash_scan *scan, uint64_t *address_out) {
    while (scan->at < scan->loaded) {
        const struct flash_record *record = (const struct flash_record *)(scan->memory + scan->at);
        uint64_t to_block = FLASH_BLOCK_BYTES - (scan->at & BLOCK_MASK);
        if (is_plausible(scan, record)) {
            uint32_t bytes = flash_record_bytes(record);
            if (bytes > scan->loaded - scan->at) {
                return NULL;
            }
            if (crc32c(0, &record->sizes, bytes - sizeof record->crc32c) == record->crc32c) {
                *address_out = flash_address(scan->flash, scan->page, scan->base + scan->at);
                scan->at += flash_round_up(scan->flash, bytes);
                scan->found++;
                scan->good_records++;
                return record;
            }
            scan->rejected_bytes += bytes;
        }
        // Any unit may begin a record, also behind zeros: a place that was taken may never have
        // been filled. But what looks like many large records must not cost hours of checksums.
        scan->at += scan->rejected_bytes > scan->flash->root->page_bytes
                        ? to_block
                        : flash_round_up(scan->flash, 1);
    }
    return NULL;
}
