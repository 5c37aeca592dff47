// The arena: one shared memory object that all processes of a server map; it holds offsets, never
// pointers.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

// Process slots in an arena: workers, keeper, supervisor and tools together.
#define ARENA_SLOTS_MAX 256
// The size of a huge page, and what parts of the arena that profit from them are aligned to.
#define ARENA_HUGE_PAGE_BYTES 2097152
// Rows of the ledger and the longest label with its end.
#define ARENA_ROWS_MAX 48
#define ARENA_LABEL_BYTES 24
// The most that one call of arena_take_slice() takes.
#define ARENA_SLICE_BYTES_MAX 67108864

struct arena;

struct arena_options {
    uint64_t reserve_bytes;    // Address space to reserve; memory is only used once it is touched.
    uint32_t slots;            // Process slots, 1 to ARENA_SLOTS_MAX.
    bool huge_pages;     // Reserve huge pages of the system's pool; without any, small ones are
                         // mapped.
    uint64_t boot_ns;    // CLOCK_MONOTONIC when the server started, for the seconds counted since
                         // then.
    int64_t boot_unix_seconds;    // Wall clock at the same moment.
    uint64_t hash_seed;    // Of the key hash; secret, so that clients cannot choose keys of one
                           // bucket.
};

// One line of the ledger: what a room set aside. The parts of a room that follow each other are one
// row.
struct arena_row {
    char label[ARENA_LABEL_BYTES];    // Lower-case letters, digits and _; two rows may have the
                                      // same one.
    uint64_t offset;
    uint64_t bytes;
};

// Makes a shared memory object, maps it at a multiple of ARENA_HUGE_PAGE_BYTES and formats it. The
// object is a memfd; where the system refuses one of this size (a limit on the size of files counts
// for it), it is without a file.
//
// Returns PYMC_OS_ERROR when the system refuses the memory, PYMC_INVALID for bad options.
// Owns: the caller, until arena_close(); children of a later fork() inherit the mapping.
// Crash: the memory lives as long as one process maps it.
int arena_create(const struct arena_options *options, struct arena **arena_out);

// Unmaps; NULL is allowed. The last process that closes or ends frees the memory.
void arena_close(struct arena *arena);

// True when the whole arena is made of huge pages that the system's pool gave for it.
bool arena_is_hugetlb(const struct arena *arena);

// The address at which this process maps the arena, for looking it up in /proc/self/smaps.
uint64_t arena_address(const struct arena *arena);

// Copies the rows of the ledger to `rows`, which has room for ARENA_ROWS_MAX, lowest offset first,
// and returns how many there are. Any process; no lock.
uint32_t arena_ledger_read(const struct arena *arena, struct arena_row *rows);

// How much of a range is touched and in memory, as the kernel knows it. A page that two rows share
// counts for the one in which it begins. After `look_bytes` of touched memory the rest is judged by
// samples, and *is_estimate_out is true. Any process; no lock; the time is bounded by look_bytes
// (some 10 ns a page).
uint64_t arena_touched_bytes(const struct arena *arena, uint64_t offset, uint64_t bytes,
                             uint64_t look_bytes, bool *is_estimate_out);

// What the kernel counts for the whole memory object, swapped-out pages included; 0 when it is
// without a file.
uint64_t arena_file_bytes(const struct arena *arena);

// Locks what is mapped now and later touched into RAM (mlock on fault). Returns PYMC_OS_ERROR when
// not permitted.
int arena_lock_memory(struct arena *arena);

// Takes memory for the whole pages of a range, of which it keeps the content, and makes huge pages
// of it where the kernel can; ARENA_SLICE_BYTES_MAX at most are done in one call. Whether it became
// huge is for who measures it. Returns PYMC_OS_ERROR when there is no memory, PYMC_INVALID for a
// range outside the arena.
int arena_take_slice(struct arena *arena, uint64_t offset, uint64_t bytes);

// Seconds of the cache's own clock for a CLOCK_MONOTONIC reading: starts at 2, moves by `debugtime`
// in debug builds.
uint32_t arena_seconds(const struct arena *arena, uint64_t monotonic_ns);

// How long after a CLOCK_MONOTONIC reading the cache's clock shows the next second, at most a
// second.
uint64_t arena_ns_until_tick(const struct arena *arena, uint64_t monotonic_ns);

// Wall-clock second at which the cache's clock showed 0, by what the wall clock says now: that one
// is set and corrected, while the cache's clock only counts on. A time that a client gives as a
// date is turned into the cache's time with it when it comes; a time to live in seconds never
// changes.
int64_t arena_epoch_unix_seconds(const struct arena *arena);

// Compares CLOCK_MONOTONIC and the wall clock, read at the same moment, and follows when the wall
// clock was set. Call once a second, in any process: all find the same. Crash: one word, the next
// call sets it.
void arena_clock_set_wall(struct arena *arena, uint64_t monotonic_ns, uint64_t wall_ns);

// Moves the cache's clock by delta seconds, or stops it at `frozen_seconds` (0 lets it run). For
// debugtime and tests.
void arena_clock_shift(struct arena *arena, int64_t delta_seconds);
void arena_clock_freeze(struct arena *arena, uint32_t frozen_seconds);

// The second of the latest flush_all, 0 for none.
uint32_t arena_flush_seconds(const struct arena *arena);
