// Paths, the processes' own parts and I/O, for the files of this room.
//
// An address counts units from the start of page 0: page * units_per_page + offset / unit. Units
// are 16 bytes, larger on very large tiers, so that 36 bits are enough.
#pragma once

#include <errno.h>

#include "flash/flash_inline.h"
#include "shm/lock_inline.h"

#define FLASH_ADDRESS_BITS 36
#define FLASH_UNIT_SHIFT_MIN 4
#define FLASH_UNIT_SHIFT_MAX 12

struct flash_path_state {
    uint64_t read_errors;    // Atomic, as all here.
    uint64_t write_errors;
    uint64_t slow_reads;
    uint64_t late_reads;
    uint64_t times_late;
    uint64_t bad_records;        // Damaged although their page was valid.
    uint64_t scanned_records;    // Found by scans, good and bad.
    uint64_t full_writes;        // Refused for want of room: no fault of the device.
    uint32_t is_out;
    uint32_t is_late;    // Set by any process whose read met its deadline; cleared by the keeper
                         // alone.
    uint32_t is_full;    // enum flash_full; set by who was refused a write, lowered by the keeper
                         // alone.
    uint32_t wanted;     // enum flash_wanted
    uint32_t why;        // The keeper's note, enum flash_why ...
    uint32_t since_seconds;    // ... and since when it is so.
};

// A process's own part; only the owner writes, except a repairer after its death.
struct CACHE_ALIGNED flash_local {
    struct table_local table;    // Of the index.
    uint64_t filling;            // The write buffer that this process puts a record into, + 1.
    uint32_t fill_hint[FLASH_BUCKETS];    // The one that took its last record of the stream.
    uint64_t read_times[FLASH_TIME_BUCKETS];
    uint64_t write_times[FLASH_TIME_BUCKETS];
    uint64_t writing;    // A bit for each path that a write of this process is under way to.
};

struct flash_root {
    uint64_t pages_offset;
    uint64_t paths_offset;
    uint64_t local_offset;
    uint64_t reads_offset;
    uint64_t index_offset;
    uint64_t buffers_offset;
    uint64_t buffer_memory_offset;    // wbuf_bytes for each buffer.
    uint64_t page_bytes;
    uint64_t wbuf_bytes;
    uint32_t buffer_count;
    uint32_t page_count;
    uint32_t path_count;
    uint32_t unit_shift;
    uint32_t units_per_page;
    uint8_t log_id[16];    // Random; in every page header, so that old files are told from new
                           // ones.
    CACHE_ALIGNED uint64_t version;    // Of the page opened last. Keeper only.
    uint64_t buffers_begun;            // How many buffers were begun so far. Keeper only.
    uint32_t streams_wanted;           // Atomic: bits of streams that found no buffer to fill.
    struct flash_fault fault;
    uint32_t fault_seen;    // Atomic.
};

static inline struct flash_local *flash_local(const struct flash *flash, uint32_t slot_index) {
    return (struct flash_local *)(flash->arena_base + flash->root->local_offset
                                  + (uint64_t)slot_index * sizeof(struct flash_local));
}
// The slot's part of the counts of reads that devices have answered, one for each path.
static inline uint64_t flash_reads_stride(uint32_t path_count) {
    return (path_count * sizeof(uint64_t) + 63) & ~63ull;
}
static inline uint64_t *flash_reads(const struct flash *flash, uint32_t slot_index) {
    return (uint64_t *)(flash->arena_base + flash->root->reads_offset
                        + slot_index * flash_reads_stride(flash->root->path_count));
}
static inline uint64_t flash_address(const struct flash *flash, uint32_t page, uint64_t offset) {
    return (uint64_t)page * flash->root->units_per_page + (offset >> flash->root->unit_shift);
}
static inline uint32_t flash_address_page(const struct flash *flash, uint64_t address) {
    return (uint32_t)(address / flash->root->units_per_page);
}
static inline uint64_t flash_round_up(const struct flash *flash, uint64_t bytes) {
    uint64_t unit = 1ull << flash->root->unit_shift;
    return (bytes + unit - 1) & ~(unit - 1);
}
// Whether anything is to be written to the path.
bool flash_path_takes_writes(const struct flash *flash, uint32_t path);
// Whether new records may go to a page of the path: not while it is out of service or late, and
// while its file system is full only to pages whose blocks are there.
static inline bool flash_path_is_writable(const struct flash *flash, const struct flash_page *row) {
    bool is_full = SHARED_LOAD(flash->paths[row->path].is_full) != FLASH_NOT_FULL;
    return flash_path_takes_writes(flash, row->path) && (!is_full || SHARED_LOAD(row->has_blocks));
}

// Reads or writes the whole of a range of one page, in the calling thread. Applies armed faults,
// counts errors and the time (into `times`, unless NULL). Returns PYMC_OK, or PYMC_OS_ERROR with
// errno (EIO for a short one). Requires: offset, bytes and memory aligned to FLASH_BLOCK_BYTES
// (reads: to read_align).
int flash_io(struct flash *flash, uint32_t page, uint64_t offset, void *memory, uint64_t bytes,
             bool is_write, uint64_t *times);
// What an armed fault does to an I/O that another way of reading has finished: changes the result
// and the bytes. Returns the result to use (bytes, or -errno). In release builds the given one.
int64_t flash_fault_apply(struct flash *flash, uint32_t path, bool is_write, void *memory,
                          int64_t result);
#ifdef PYMC_DEBUG
// Whether a read that is about to be handed over meets a fault that lets it hang, and whether such
// a fault is armed.
bool flash_fault_meets_hang(struct flash *flash, uint32_t path);
static inline bool flash_fault_is_hang(const struct flash *flash) {
    return SHARED_ACQUIRE(flash->root->fault.kind) == FLASH_FAULT_HANG;
}
#endif
// Whether an errno tells of the system, which lacked memory or time for a read, and not of the
// device.
static inline bool flash_is_refusal(int64_t error) {
    return error == EAGAIN || error == EINTR || error == ENOMEM || error == ENOBUFS;
}
// A read that the device has answered. Only by the slot's owner.
static inline void flash_count_read(const struct flash *flash, uint32_t slot_index, uint32_t path) {
    uint64_t *reads = &flash_reads(flash, slot_index)[path];
    SHARED_STORE(*reads, *reads + 1);
}
static inline void flash_note_time(uint64_t *times, uint64_t microseconds) {
    uint32_t bucket = microseconds ? 64u - (uint32_t)__builtin_clzll(microseconds) : 0;
    bucket = bucket < FLASH_TIME_BUCKETS ? bucket : FLASH_TIME_BUCKETS - 1;
    SHARED_STORE(times[bucket], times[bucket] + 1);
}
