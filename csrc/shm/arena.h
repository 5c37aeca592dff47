// The arena: one shared memory object that all processes of a server map; it holds offsets, never pointers.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

// Process slots in an arena: workers, keeper, supervisor and visitors together.
#define ARENA_SLOTS_MAX 256

struct arena;

struct arena_options {
    uint64_t reserve_bytes;     // Address space to reserve; memory is only used once it is touched.
    uint32_t slots;             // Process slots, 1 to ARENA_SLOTS_MAX.
    bool huge_pages;            // Ask for huge pages; without any the arena works with small ones.
    uint64_t boot_ns;           // CLOCK_MONOTONIC when the server started, for the seconds counted since then.
    int64_t boot_unix_seconds;  // Wall clock at the same moment.
};

// Makes a shared memory object (memfd), maps and formats it.
//
// Returns PYMC_OS_ERROR when the system refuses the memory, PYMC_INVALID for bad options.
// Owns: the caller, until arena_close(); children of a later fork() inherit the mapping.
// Crash: the memory lives as long as one process maps it.
int arena_create(const struct arena_options *options, struct arena **arena_out);

// Unmaps; NULL is allowed. The last process that closes or ends frees the memory.
void arena_close(struct arena *arena);

// True when the kernel gave huge pages for the mapping or promised to try.
bool arena_has_huge_pages(const struct arena *arena);

// Locks what is mapped now and later touched into RAM (mlock on fault). Returns PYMC_OS_ERROR when not permitted.
int arena_lock_memory(struct arena *arena);

// Touches `bytes` of the arena from its start, so that later first writes cost no page fault.
void arena_prefault(struct arena *arena, uint64_t bytes);

// Seconds of the cache's own clock for a CLOCK_MONOTONIC reading: starts at 2, moves by `debugtime` in debug builds.
uint32_t arena_seconds(const struct arena *arena, uint64_t monotonic_ns);

// How long after a CLOCK_MONOTONIC reading the cache's clock shows the next second, at most a second.
uint64_t arena_ns_until_tick(const struct arena *arena, uint64_t monotonic_ns);

// Wall-clock second at which the cache's clock showed 0.
int64_t arena_epoch_unix_seconds(const struct arena *arena);

// Moves the cache's clock by delta seconds, or stops it at `frozen_seconds` (0 lets it run). For debugtime and tests.
void arena_clock_shift(struct arena *arena, int64_t delta_seconds);
void arena_clock_freeze(struct arena *arena, uint32_t frozen_seconds);

// The second of the latest flush_all, 0 for none.
uint32_t arena_flush_seconds(const struct arena *arena);

// The last CAS number handed out.
uint64_t arena_cas_read(const struct arena *arena);
