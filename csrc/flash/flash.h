// The flash tier: files or devices cut into log pages, and the index of what stands where.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/proc.h"

#define FLASH_PATHS_MAX 64
#define FLASH_PAGES_MAX 65535
// Buffers are written at multiples of this, whatever the device would allow.
#define FLASH_BLOCK_BYTES 4096
// A record with everything; larger items stay in memory.
#define FLASH_RECORD_BYTES_MAX 4194304

struct flash;

// What a page is for; the labels of ext_path and the streams of records, in memcached's numbers.
enum flash_bucket {
    FLASH_DEFAULT,
    FLASH_COMPACT,
    FLASH_CHUNKED,
    FLASH_LOW_TTL,
    FLASH_COLD_COMPACT,
    FLASH_OLD,
    FLASH_BUCKETS
};

struct flash_path {
    const char *name;    // A file, made when it is missing, or a block device.
    uint64_t bytes;      // Rounded down to whole pages.
    int label;           // enum flash_bucket
};

struct flash_geometry {
    const struct flash_path *paths;
    uint32_t path_count;
    uint64_t page_bytes;    // A multiple of wbuf_bytes.
    uint64_t wbuf_bytes;    // A multiple of FLASH_BLOCK_BYTES, at least two; options ask for 2 MiB.
    uint64_t item_bytes_hint;    // Typical size of a record, for the first size of the index.
    uint64_t index_bytes_max;    // Memory that the index may ever use.
    uint32_t buffers;            // Write buffers; 0: as many as the paths need.
    bool avoid_direct;           // Go through the page cache even where O_DIRECT works; for tests.
    bool is_sparse;              // Set no blocks of files aside at the start; for tests.
};

// Address space an arena needs for this tier and `slots` process slots.
uint64_t flash_reserve_bytes(const struct flash_geometry *geometry, uint32_t slots);

// Opens and locks the files, forgets what they held, sets their blocks aside, and formats pages and
// index in the arena.
//
// Returns PYMC_OS_ERROR (errno, ENOSPC or EDQUOT where there is no room for all of a file;
// *failed_path_out is the path's number), PYMC_BUSY when another process has the file, PYMC_INVALID
// for a bad geometry (*failed_path_out is FLASH_PATHS_MAX when it is no path's fault),
// PYMC_NO_MEMORY. Call once on a fresh arena, before the first fork; the handle and its descriptors
// are inherited and every process of the server uses its own copy. Owns: the caller, until
// flash_close().
int flash_create(struct arena *arena, const struct flash_geometry *geometry,
                 struct flash **flash_out, uint32_t *failed_path_out);
void flash_close(struct flash *flash);

// True when the path is read and written past the page cache.
bool flash_path_is_direct(const struct flash *flash, uint32_t path);

enum flash_page_state {
    FLASH_PAGE_FREE,
    FLASH_PAGE_OPEN,
    FLASH_PAGE_FULL,
    FLASH_PAGE_DRAINING,
    FLASH_PAGE_BAD
};

// One page as policies and `stats extstore` see it.
struct flash_page_info {
    uint64_t version;          // Rises with every use of any page; 0 while free. The lowest is the
                               // oldest.
    uint64_t written_bytes;    // Of the page, padding included.
    uint64_t used_bytes;       // Estimated: written_bytes by the part of records that are still
                               // wanted.
    uint64_t newest_order;     // Highest order number of a record in it: what a flush_all compares.
    uint32_t expires_seconds;    // When all its records are expired; 0: never.
    uint32_t objects_written;
    uint32_t objects;         // Index entries that name it.
    uint32_t objects_read;    // Of those, read since they were written.
    int state;
    int bucket;
    int label;
    uint32_t path;
    bool is_writable;    // New records may go there, if it is free: see flash_path_is_writable().
};
uint32_t flash_page_count(const struct flash *flash);
uint32_t flash_path_count(const struct flash *flash);
uint64_t flash_page_bytes(const struct flash *flash);
uint64_t flash_wbuf_bytes(const struct flash *flash);
// The largest record that a fresh write buffer takes.
uint32_t flash_record_bytes_max(const struct flash *flash);
void flash_page_read(const struct flash *flash, uint32_t page, struct flash_page_info *out);
struct flash_pages_total {
    uint32_t used;          // Pages that are not free.
    uint64_t used_bytes;    // Their used_bytes.
};
// Sums over all pages, in some nanoseconds each.
void flash_pages_sum(const struct flash *flash, struct flash_pages_total *out);

// Page steps, for the keeper alone. Crash: the page stays what it was, or is what it becomes.

// Takes a free page of the path for a stream: one labelled for it, else a default one. Returns
// FLASH_PAGES_MAX when none is free.
uint32_t flash_page_open(struct flash *flash, struct proc *proc, int bucket, uint32_t path);
// An open page takes no more. It stays open while a buffer for it is not written yet.
void flash_page_close(struct flash *flash, struct proc *proc, uint32_t page);
// Nothing in the page is wanted any more; reads of it miss from now on, its entries go with the
// next whole sweep.
void flash_page_drain(struct flash *flash, struct proc *proc, uint32_t page);
// The page has no entries left and is free again (or BAD, on a path out of service): a sweep has
// gone over the index since no buffer was for it. It stays draining while there is one: sweep and
// ask again later.
void flash_page_free(struct flash *flash, struct proc *proc, uint32_t page);

// A walk over the index that removes the entries of draining pages. Zero it to begin.
struct flash_sweep {
    uint64_t bucket;
    uint64_t removed;
    uint64_t merges;    // How often buckets had been merged when the walk began or began anew.
};
// Looks at up to `buckets` buckets. Returns false when the walk is complete: pages that were
// draining when it began have no entries now.
bool flash_sweep_step(struct flash *flash, struct proc *proc, struct flash_sweep *sweep,
                      uint32_t buckets);

// What a file system that has no room for a write still takes: NEW means that pages whose blocks
// are there can be written again, ALL that not even these could.
enum flash_full { FLASH_NOT_FULL, FLASH_FULL_NEW, FLASH_FULL_ALL };
// What the operator wants of a path: the keeper's judgement, or out, or (once) in whatever the
// keeper thinks of it.
enum flash_wanted { FLASH_WANTED_JUDGED, FLASH_WANTED_OUT, FLASH_WANTED_IN };

// Why a path is not simply in service, as the keeper notes it.
enum flash_why {
    FLASH_WHY_NONE,
    FLASH_WHY_WRITES_IN_ROW,
    FLASH_WHY_WRITES,
    FLASH_WHY_READS,
    FLASH_WHY_CHECKSUMS,
    FLASH_WHY_HAND,
    FLASH_WHY_LATE_READ,
    FLASH_WHY_LATE_WRITE,
    FLASH_WHY_NO_ROOM
};

// One path's health; counts only grow until the server ends.
struct flash_path_info {
    uint64_t reads;    // That the device answered, well or not, and records that scans have found.
    uint64_t read_errors;
    uint64_t write_errors;
    uint64_t slow_reads;       // Took longer than a second.
    uint64_t late_reads;       // Were not answered within ext_read_timeout.
    uint64_t times_late;       // How often such a read made the path late.
    uint64_t bad_records;      // Came back without an error and were not what had been written.
    uint64_t full_writes;      // Refused since the file system had no room for them.
    uint32_t since_seconds;    // What flash_path_note() was told last.
    int why;                   // enum flash_why
    int full;                  // enum flash_full
    int wanted;                // enum flash_wanted
    bool is_out;               // Out of service: nothing is written there and reads miss.
    bool is_late;    // Does not answer: reads miss at once, nothing is written, entries stay.
    bool is_direct;
    bool is_allocated;    // All its blocks were set aside at the start.
};
void flash_path_read(const struct flash *flash, uint32_t path, struct flash_path_info *out);
// Marks the path as late, or as answering again. Whose read met its deadline does the one, the
// keeper alone the other. Returns whether that changed anything: of several processes that find the
// same one does. Crash: one store.
bool flash_path_set_late(struct flash *flash, uint32_t path, bool is_late);
// Any process: what the operator wants. The keeper finds it.
void flash_path_want(struct flash *flash, uint32_t path, int wanted);

// Steps of paths, for the keeper alone. Crash: done again by its successor, they do what was left
// to do.

// Takes the path out of service: its pages drain and are BAD when they are free.
void flash_path_take_out(struct flash *flash, struct proc *proc, uint32_t path);
// Takes it into service again, with the pages that are BAD as free ones.
void flash_path_bring_in(struct flash *flash, struct proc *proc, uint32_t path);
// Where the file system has no room no open page is to get more than it has: they are closed.
void flash_path_close_pages(struct flash *flash, struct proc *proc, uint32_t path);
// What is believed of the path's file system: enum flash_full.
void flash_path_set_full(struct flash *flash, uint32_t path, int full);
// For whom asks how the path stands: why, and since which second on the server's clock.
void flash_path_note(struct flash *flash, uint32_t path, int why, uint32_t since_seconds);
// The first page of the path in this state, of those without blocks only when that is asked for;
// FLASH_PAGES_MAX when there is none.
uint32_t flash_path_find_page(const struct flash *flash, uint32_t path, int state,
                              bool without_blocks);

// Try whether a path answers, in any thread; they count nothing and note nothing. PYMC_OK or
// PYMC_OS_ERROR (errno). A block is read.
int flash_probe_read(struct flash *flash, uint32_t path);
// A block at the start of the page is written and read back; EIO when it comes back as another.
// Requires: nobody uses the page, as those that are BAD.
int flash_probe_write(struct flash *flash, uint32_t page);
// The page is written from end to end, with nothing: if that goes well it has its blocks.
// Requires: as above, or the page is free and must not be opened while its path is full.
int flash_probe_room(struct flash *flash, uint32_t page);

// Which paths a process has writes under way to, a bit for each. A write may outlive the process
// that was killed in it as long as the system waits for the device; nobody is to write there
// before.
void flash_writing_note(struct flash *flash, struct proc *proc, uint32_t path, bool is_writing);
// Of all slots but this one.
uint64_t flash_writing_elsewhere(const struct flash *flash, uint32_t slot_index);
// Requires: no process that had the slot is there any more.
void flash_writing_forget(struct flash *flash, uint32_t slot_index);

// The index in memory.
uint64_t flash_index_bytes(const struct flash *flash);
uint64_t flash_index_entries(const struct flash *flash);
// How many bits of its key's hash tell an entry from others: another key has the same ones once in
// 2^bits.
uint32_t flash_index_hash_bits(const struct flash *flash);
// Whoever removes a key's entries removes those of other keys with the same bits. The counter
// ext_index_chances grows by entries / FLASH_CHANCES_ENTRIES each time; so many, times this, over
// 2^bits, can be expected to have been lost.
#define FLASH_CHANCES_ENTRIES 1024
// Those of them that name a page whose records are flushed, all of them.
uint64_t flash_flushed_entries(const struct flash *flash);

// Device times of all processes since the start: counts per power of two of microseconds, up to
// 2^31.
#define FLASH_TIME_BUCKETS 32
void flash_read_times(const struct flash *flash, uint64_t *counts);
void flash_write_times(const struct flash *flash, uint64_t *counts);

// Lets an I/O fail or be slow, in all processes of the server (debug builds only; elsewhere it does
// nothing). SHORT: half of it, then the end. TORN: half of it is not written, or reads as zeros,
// and nobody says so. FLIP: a wrong bit in each 32 bytes, so that no record escapes. AGAIN: the
// system, not the device, has no room for it now. HANG: it goes on when another fault, or none, is
// set.
enum flash_fault_kind {
    FLASH_FAULT_NONE,
    FLASH_FAULT_EIO,
    FLASH_FAULT_ENOSPC,
    FLASH_FAULT_SHORT,
    FLASH_FAULT_TORN,
    FLASH_FAULT_FLIP,
    FLASH_FAULT_SLOW,
    FLASH_FAULT_AGAIN,
    FLASH_FAULT_HANG
};
struct flash_fault {
    int kind;
    bool on_reads;
    bool on_writes;
    uint32_t path;       // Which path; FLASH_PATHS_MAX means all.
    uint32_t skip;       // So many I/Os pass before it begins ...
    uint32_t count;      // ... and so many are hit; 0 means all from then on.
    uint32_t slow_us;    // How long a slow one takes.
};
void flash_fault_set(struct flash *flash, const struct flash_fault *fault);
// How many I/Os the fault concerned since it was set, those it let pass included; only for tests.
uint32_t flash_fault_met(const struct flash *flash);
