// Which pages of the arena are there, and making huge ones of them.
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/arena_inline.h"

// The kernel's numbers; older headers lack them, and older kernels answer EINVAL.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SMALL_PAGE_BYTES 4096
#define LOOK_PAGES 256
#define SAMPLES 256
#define SAMPLE_PAGES 16

static uint64_t page_up(uint64_t bytes) {
    return (bytes + SMALL_PAGE_BYTES - 1) & ~(uint64_t)(SMALL_PAGE_BYTES - 1);
}

uint32_t arena_ledger_read(const struct arena *arena, struct arena_row *rows) {
    for (uint32_t i = 0; i < arena->header->row_count; i++) {
        rows[i] = arena->header->rows[i];
    }
    return arena->header->row_count;
}

uint64_t arena_file_bytes(const struct arena *arena) {
    struct stat found;
    if (arena->fd < 0 || fstat(arena->fd, &found) != 0) {
        return 0;
    }
    return (uint64_t)found.st_blocks * 512;
}

// Pages in memory from `at` on, LOOK_PAGES at most.
static uint64_t pages_there(const struct arena *arena, uint64_t at, uint64_t pages) {
    unsigned char is_there[LOOK_PAGES];
    if (mincore(arena->base + at, pages * SMALL_PAGE_BYTES, is_there) != 0) {
        return 0;
    }
    uint64_t count = 0;
    for (uint64_t i = 0; i < pages; i++) {
        count += is_there[i] & 1;
    }
    return count;
}

// Looks at small pieces that lie evenly over the range.
static uint64_t estimate(const struct arena *arena, uint64_t at, uint64_t end) {
    uint64_t stride = (end - at) / SAMPLES & ~(uint64_t)(SMALL_PAGE_BYTES - 1);
    uint64_t there = 0;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        there += pages_there(arena, at + i * stride, SAMPLE_PAGES);
    }
    uint64_t permille = there * 1000 / (SAMPLES * SAMPLE_PAGES);
    return (end - at) / 1000 * permille;
}

uint64_t arena_touched_bytes(const struct arena *arena, uint64_t offset, uint64_t bytes,
                             uint64_t look_bytes, bool *is_estimate_out) {
    *is_estimate_out = false;
    if (offset > arena->bytes || bytes > arena->bytes - offset) {
        return 0;
    }
    uint64_t at = page_up(offset);
    uint64_t end = page_up(offset + bytes);
    if (arena->is_hugetlb) {
        return end - at;    // The pool's pages were taken when it was mapped.
    }
    uint64_t touched = 0;
    uint64_t left = look_bytes / SMALL_PAGE_BYTES;
    while (at < end) {
        if (arena->fd >= 0) {
            // Most of what is reserved was never touched. Nobody uses the descriptor's position,
            // which this moves.
            off_t data = lseek(arena->fd, (off_t)at, SEEK_DATA);
            if (data < 0 || (uint64_t)data >= end) {
                break;
            }
            at = (uint64_t)data;
        }
        uint64_t pages = (end - at) / SMALL_PAGE_BYTES;
        if (left == 0 && pages > SAMPLES * SAMPLE_PAGES) {
            *is_estimate_out = true;
            return touched + estimate(arena, at, end);
        }
        pages = pages < LOOK_PAGES ? pages : LOOK_PAGES;
        touched += pages_there(arena, at, pages) * SMALL_PAGE_BYTES;
        at += pages * SMALL_PAGE_BYTES;
        left -= pages < left ? pages : left;
    }
    return touched;
}

int arena_take_slice(struct arena *arena, uint64_t offset, uint64_t bytes) {
    if (offset > arena->bytes || bytes > arena->bytes - offset) {
        return PYMC_INVALID;
    }
    uint64_t start = page_up(offset);
    uint64_t end = (offset + bytes) & ~(uint64_t)(SMALL_PAGE_BYTES - 1);
    end = end < start + ARENA_SLICE_BYTES_MAX ? end : start + ARENA_SLICE_BYTES_MAX;
    if (start >= end) {
        return PYMC_OK;
    }
    char *from = arena->base + start;
    if (madvise(from, end - start, MADV_POPULATE_WRITE) != 0) {
        if (errno != EINVAL) {
            return PYMC_OS_ERROR;
        }
        for (uint64_t at = 0; at < end - start; at += SMALL_PAGE_BYTES) {
            SHARED_OR(*((uint8_t *)from + at), 0, RELAXED);
        }
    }
    if (!arena->is_hugetlb) {
        uint64_t skipped = -start & (ARENA_HUGE_PAGE_BYTES - 1);
        uint64_t huge_bytes = end - start > skipped ? end - start - skipped : 0;
        // Asked for page by page: at a failure the kernel leaves out the rest of a longer range.
        for (uint64_t at = 0; at + ARENA_HUGE_PAGE_BYTES <= huge_bytes;
             at += ARENA_HUGE_PAGE_BYTES) {
            madvise(from + skipped + at, ARENA_HUGE_PAGE_BYTES, MADV_COLLAPSE);
        }
    }
    return PYMC_OK;
}
