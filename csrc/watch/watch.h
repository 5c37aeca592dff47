// Log streams for clients of `watch`: every process notes events in a ring of its own, and readers
// make one stream of lines of all rings.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "shm/arena.h"
#include "shm/proc.h"

// Clients that may watch at a time, in the whole server.
#define WATCH_READERS_MAX 20
// Longer than any line.
#define WATCH_LINE_BYTES_MAX 2048
#define WATCH_RING_BYTES_MIN 4096
#define WATCH_RING_BYTES_MAX 268435456

// What can be asked for, as bits.
enum watch_class {
    WATCH_FETCHERS = 1,
    WATCH_MUTATIONS = 2,
    WATCH_EVICTIONS = 4,
    WATCH_CONNEVENTS = 8,
    WATCH_DELETIONS = 16,
    WATCH_SYSEVENTS = 32,
    WATCH_ERRORS = 64
};
#define WATCH_CLASSES 7

// Address space that the rings of so many slots need; they are touched only while somebody watches.
// A ring's bytes are rounded up to a power of two within the bounds above.
uint64_t watch_reserve_bytes(uint32_t slots, uint64_t ring_bytes);
// Makes the rings. Requires: a fresh arena that no other process maps yet. Returns PYMC_NO_MEMORY
// when the arena is too small. Without this call nobody can watch.
int watch_create(struct arena *arena, uint64_t ring_bytes);
// What is wanted by all watchers together, enum watch_class bits.
uint32_t watch_wanted(const struct arena *arena);

// One watcher's place in the rings.
struct watch_reader;

// Begins to watch these classes. Returns PYMC_BUSY when WATCH_READERS_MAX do already, PYMC_INVALID
// without rings, PYMC_NO_MEMORY. Owns: the caller, until watch_reader_close(). Borrows the process.
// Crash: who repairs the slot takes the watcher out of the list.
int watch_reader_open(struct proc *proc, uint32_t classes, struct watch_reader **reader_out);
// NULL is allowed.
void watch_reader_close(struct watch_reader *reader);
// Puts the next lines, as many as there are and fit, at `place`, and returns their bytes: 0 when
// there are none. `was_slow`: what was missed until now is the client's doing, see the counters.
// Requires: room_bytes >= WATCH_LINE_BYTES_MAX. Waits for nobody; its time is bounded by the room
// and by the size of the rings.
uint32_t watch_reader_lines(struct watch_reader *reader, char *place, uint32_t room_bytes,
                            bool was_slow);
