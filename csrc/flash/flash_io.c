// Reads and writes of ranges of pages in the calling thread; the faults that tests let happen;
// device times.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flash/flash_clock_inline.h"
#include "flash/flash_internal.h"

#define SLOW_US 1000000
// A flipped bit in each so many bytes: at least one in every record.
#define FLIP_STEP_BYTES 32
// How often who hangs looks whether it still does.
#define HANG_LOOK_NS 1000000

#ifdef PYMC_DEBUG
// The fault that this I/O meets.
static int fault_met(struct flash *flash, uint32_t path, bool is_write) {
    struct flash_root *root = flash->root;
    int kind = SHARED_ACQUIRE(root->fault.kind);
    bool concerns =
        is_write ? SHARED_LOAD(root->fault.on_writes) : SHARED_LOAD(root->fault.on_reads);
    if (kind == FLASH_FAULT_NONE || !concerns) {
        return FLASH_FAULT_NONE;
    }
    uint32_t wanted_path = SHARED_LOAD(root->fault.path);
    if (wanted_path != FLASH_PATHS_MAX && wanted_path != path) {
        return FLASH_FAULT_NONE;
    }
    uint64_t seen = SHARED_ADD(root->fault_seen, 1, RELAXED) - 1;
    uint64_t skip = SHARED_LOAD(root->fault.skip);
    uint64_t most = SHARED_LOAD(root->fault.count);
    return seen >= skip && (most == 0 || seen < skip + most) ? kind : FLASH_FAULT_NONE;
}

static void delay_as_asked(const struct flash *flash) {
    uint32_t slow_us = SHARED_LOAD(flash->root->fault.slow_us);
    struct timespec rest = {.tv_sec = slow_us / 1000000,
                            .tv_nsec = (long)(slow_us % 1000000) * 1000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

// Until the fault is another one.
static void hang(const struct flash *flash) {
    struct timespec rest = {.tv_nsec = HANG_LOOK_NS};
    while (flash_fault_is_hang(flash)) {
        nanosleep(&rest, NULL);
    }
}

bool flash_fault_meets_hang(struct flash *flash, uint32_t path) {
    return flash_fault_is_hang(flash) && fault_met(flash, path, false) == FLASH_FAULT_HANG;
}

static void flip_bits(char *memory, uint64_t bytes) {
    for (uint64_t at = FLIP_STEP_BYTES / 2; at < bytes; at += FLIP_STEP_BYTES) {
        memory[at] ^= 0x10;
    }
}
#else
static int fault_met(struct flash *flash, uint32_t path, bool is_write) {
    (void)flash, (void)path, (void)is_write;
    return FLASH_FAULT_NONE;
}
static void delay_as_asked(const struct flash *flash) {
    (void)flash;
}
static void hang(const struct flash *flash) {
    (void)flash;
}
static void flip_bits(char *memory, uint64_t bytes) {
    (void)memory, (void)bytes;
}
#endif

void flash_fault_set(struct flash *flash, const struct flash_fault *fault) {
#ifdef PYMC_DEBUG
    struct flash_root *root = flash->root;
    SHARED_RELEASE(root->fault.kind, FLASH_FAULT_NONE);
    SHARED_STORE(root->fault_seen, 0);
    SHARED_STORE(root->fault.on_reads, fault->on_reads);
    SHARED_STORE(root->fault.on_writes, fault->on_writes);
    SHARED_STORE(root->fault.path, fault->path);
    SHARED_STORE(root->fault.skip, fault->skip);
    SHARED_STORE(root->fault.count, fault->count);
    SHARED_STORE(root->fault.slow_us, fault->slow_us);
    SHARED_RELEASE(root->fault.kind, fault->kind);
#else
    (void)flash, (void)fault;
#endif
}

uint32_t flash_fault_met(const struct flash *flash) {
    return SHARED_ACQUIRE(flash->root->fault_seen);
}

int64_t flash_fault_apply(struct flash *flash, uint32_t path, bool is_write, void *memory,
                          int64_t result) {
    switch (fault_met(flash, path, is_write)) {
    case FLASH_FAULT_EIO: return -EIO;
    case FLASH_FAULT_ENOSPC: return -ENOSPC;
    case FLASH_FAULT_AGAIN: return -EAGAIN;
    case FLASH_FAULT_SHORT: return result > 0 ? result / 2 : result;
    case FLASH_FAULT_TORN:
        if (result > 0 && !is_write) {
            memset((char *)memory + result / 2, 0, (size_t)(result - result / 2));
        }
        return result;
    case FLASH_FAULT_FLIP:
        if (result > 0 && !is_write) {
            flip_bits(memory, (uint64_t)result);
        }
        return result;
    case FLASH_FAULT_SLOW: delay_as_asked(flash); return result;
    default: return result;
    }
}

// Goes on after short and interrupted ones. Returns 0 or an errno.
static int transfer(int fd, char *memory, uint64_t bytes, uint64_t offset, bool is_write) {
    uint64_t done = 0;
    while (done < bytes) {
        ssize_t moved = is_write ? pwrite(fd, memory + done, bytes - done, (off_t)(offset + done))
                                 : pread(fd, memory + done, bytes - done, (off_t)(offset + done));
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved < 0) {
            return errno;
        }
        if (moved == 0) {
            return EIO;
        }
        done += (uint64_t)moved;
    }
    return 0;
}

static int transfer_with_fault(struct flash *flash, uint32_t path, char *memory, uint64_t bytes,
                               uint64_t offset, bool is_write) {
    int kind = fault_met(flash, path, is_write);
    int fd = flash->fds[path];
    uint64_t half = (bytes / 2) & ~(uint64_t)(FLASH_BLOCK_BYTES - 1);
    switch (kind) {
    case FLASH_FAULT_EIO: return EIO;
    case FLASH_FAULT_ENOSPC: return ENOSPC;
    case FLASH_FAULT_AGAIN: return EAGAIN;
    case FLASH_FAULT_SHORT: transfer(fd, memory, half, offset, is_write); return EIO;
    case FLASH_FAULT_SLOW: delay_as_asked(flash); break;
    case FLASH_FAULT_HANG: hang(flash); break;
    case FLASH_FAULT_TORN:
        if (is_write) {
            return transfer(fd, memory, half, offset, true);
        }
        break;
    case FLASH_FAULT_FLIP:
        if (is_write) {
            flip_bits(memory, bytes);
        }
        break;
    default: break;
    }
    int error = transfer(fd, memory, bytes, offset, is_write);
    if (kind == FLASH_FAULT_TORN) {
        memset(memory + half, 0, bytes - half);
    } else if (kind == FLASH_FAULT_FLIP) {
        flip_bits(memory, bytes);
    }
    return error;
}

static bool is_no_room(int error) {
    return error == ENOSPC || error == EDQUOT;
}

// A file system without room is no broken device. One that had all of the page before, and has not
// now, writes each block to a new place: no page is of use to it.
static void note_full(struct flash *flash, uint32_t page) {
    struct flash_page *row = &flash->pages[page];
    struct flash_path_state *state = &flash->paths[row->path];
    uint32_t full = row->has_blocks ? FLASH_FULL_ALL : FLASH_FULL_NEW;
    SHARED_STORE(row->has_blocks, 0);
    SHARED_ADD(state->full_writes, 1, RELAXED);
    if (SHARED_LOAD(state->is_full) < full) {
        SHARED_STORE(state->is_full, full);
    }
}

int flash_io(struct flash *flash, uint32_t page, uint64_t offset, void *memory, uint64_t bytes,
             bool is_write, uint64_t *times) {
    const struct flash_page *row = &flash->pages[page];
    struct flash_path_state *state = &flash->paths[row->path];
    PYMC_CHECK(offset <= flash->root->page_bytes && bytes <= flash->root->page_bytes - offset);
    uint64_t begun_us = flash_now_us();
    int error =
        transfer_with_fault(flash, row->path, memory, bytes, row->file_offset + offset, is_write);
    uint64_t took_us = flash_now_us() - begun_us;
    if (times) {
        flash_note_time(times, took_us);
    }
    if (!is_write && took_us > SLOW_US) {
        SHARED_ADD(state->slow_reads, 1, RELAXED);
    }
    if (error && is_write && is_no_room(error)) {
        note_full(flash, page);
    } else if (error) {
        uint64_t *errors = is_write ? &state->write_errors : &state->read_errors;
        SHARED_ADD(*errors, is_write || !flash_is_refusal(error), RELAXED);
    }
    errno = error;
    return error ? PYMC_OS_ERROR : PYMC_OK;
}

static int probe(struct flash *flash, const struct flash_page *row, char *block, bool is_write) {
    return transfer_with_fault(flash, row->path, block, FLASH_BLOCK_BYTES, row->file_offset,
                               is_write);
}

// What a device holds that was not written just now is not this.
static void fill_block(char *block, uint64_t seed) {
    for (uint64_t i = 0; i < FLASH_BLOCK_BYTES / sizeof seed; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memcpy(block + i * sizeof seed, &seed, sizeof seed);
    }
}

// Two blocks of memory as the device wants them; the caller frees them.
static char *probe_blocks(void) {
    void *blocks = NULL;
    return posix_memalign(&blocks, FLASH_BLOCK_BYTES, 2 * FLASH_BLOCK_BYTES) == 0 ? blocks : NULL;
}

static int probe_end(char *blocks, int error) {
    free(blocks);
    errno = error;
    return error ? PYMC_OS_ERROR : PYMC_OK;
}

int flash_probe_read(struct flash *flash, uint32_t path) {
    uint32_t page = 0;
    while (flash->pages[page].path != path) {
        page++;
    }
    char *blocks = probe_blocks();
    return probe_end(blocks, blocks ? probe(flash, &flash->pages[page], blocks, false) : ENOMEM);
}

int flash_probe_write(struct flash *flash, uint32_t page) {
    char *blocks = probe_blocks();
    if (!blocks) {
        return probe_end(blocks, ENOMEM);
    }
    const struct flash_page *row = &flash->pages[page];
    uint64_t seed = flash_now_us() + page;
    char *back = blocks + FLASH_BLOCK_BYTES;
    fill_block(blocks, seed);
    int error = probe(flash, row, blocks, true);
    error = error ? error : probe(flash, row, back, false);
    fill_block(blocks, seed);
    if (!error && memcmp(blocks, back, FLASH_BLOCK_BYTES) != 0) {
        error = EIO;
    }
    return probe_end(blocks, error);
}

int flash_probe_room(struct flash *flash, uint32_t page) {
    struct flash_page *row = &flash->pages[page];
    uint64_t step = flash->root->wbuf_bytes;
    void *memory = NULL;
    int error = posix_memalign(&memory, FLASH_BLOCK_BYTES, step);
    if (!error) {
        memset(memory, 0, step);
    }
    for (uint64_t at = 0; !error && at < flash->root->page_bytes; at += step) {
        error = transfer_with_fault(flash, row->path, memory, step, row->file_offset + at, true);
    }
    if (!error) {
        SHARED_STORE(row->has_blocks, 1);
    }
    return probe_end(memory, error);
}

void flash_read_times(const struct flash *flash, uint64_t *counts) {
    memset(counts, 0, FLASH_TIME_BUCKETS * sizeof *counts);
    for (uint32_t slot = 0; slot < flash->arena->header->slots; slot++) {
        for (uint32_t bucket = 0; bucket < FLASH_TIME_BUCKETS; bucket++) {
            counts[bucket] += SHARED_LOAD(flash_local(flash, slot)->read_times[bucket]);
        }
    }
}

void flash_write_times(const struct flash *flash, uint64_t *counts) {
    memset(counts, 0, FLASH_TIME_BUCKETS * sizeof *counts);
    for (uint32_t slot = 0; slot < flash->arena->header->slots; slot++) {
        for (uint32_t bucket = 0; bucket < FLASH_TIME_BUCKETS; bucket++) {
            counts[bucket] += SHARED_LOAD(flash_local(flash, slot)->write_times[bucket]);
        }
    }
}
