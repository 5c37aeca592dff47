// Fault points: places where a debug build can be told to die or to wait, so that tests kill and
// hold a process there.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAULT_NAME_BYTES 96
// Who waits at a gate longer than this ends by abort(): a test that failed must not hang.
#define FAULT_WAIT_SECONDS 20

// One store to shared memory, as the compiler placed it. A macro in a header makes one for each
// file that includes and uses it. Written by the compiler only.
struct fault_site {
    const char *file;        // Where the macro stands ...
    const char *unit;        // ... in which compiled file ...
    const char *function;    // ... and in which function.
    uint32_t line;
};

// How many there are, 0 in release builds; and the one of that number. Requires: index < count.
// Owns: nobody, they are constants of the core.
uint32_t fault_site_count(void);
const struct fault_site *fault_site_at(uint32_t index);
// Writes a site's name, "room/file.c:line", and for one in a header "@room/unit.c" behind it.
// Returns its length. Requires: index < count, room for FAULT_NAME_BYTES.
uint32_t fault_site_name(uint32_t index, char *name_out);

// Where a thread that waits at a point says so, and where it is told to go on. Zero both before; it
// may lie in memory that processes share.
struct fault_gate {
    uint32_t arrived;     // 1 from when the point is reached.
    uint32_t released;    // Whoever armed the point stores 1.
};

// Arms a point for the calling thread, instead of the one armed before; "" for none. The name is
// that of a FAULT_POINT(), or a site's, with or without its unit. When it is reached for the
// countdown-th time (0: never) the process gets SIGKILL before the store; or, with a gate, it waits
// there. Of named points only those that `owner` (a struct proc) reaches count, NULL for all. The
// gate is borrowed until it was passed. Release builds have no points: there nothing happens.
void fault_arm(const char *name, uint32_t countdown, const void *owner, struct fault_gate *gate);

// From now on each site that the calling thread reaches adds one to hits[its number]; NULL for no
// more. Borrows fault_site_count() words.
void fault_count_hits(uint32_t *hits);
