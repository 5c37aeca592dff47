// Write buffers: where records wait for the device. Any process puts records in, the keeper has
// buffers written.
//
// They are in the arena. From the moment a record is in a buffer the index may name it: a look-up
// that comes before the write copies it from there. So nothing waits for the device but the next
// buffer, an item that was copied may leave memory at once, and no process's death costs a record
// that the index names.
//
//   FREE --begin--> FILLING --close, seal--> SEALED --write, finish--> FREE
#pragma once

#include "flash/flash.h"

#define FLASH_BUFFERS_MAX 64

enum flash_buffer_state { FLASH_BUFFER_FREE, FLASH_BUFFER_FILLING, FLASH_BUFFER_SEALED };

// What the keeper decides on.
struct flash_buffer_info {
    int state;
    int bucket;
    uint32_t page;    // These two say nothing while it is free.
    uint32_t path;
    uint64_t filled_bytes;
    uint64_t begun;       // Of two the one with the lower number was begun first.
    uint32_t writer;      // The slot whose process writes it, UINT32_MAX for none.
    bool is_closed;       // It takes no more records.
    bool is_page_gone;    // Nothing that goes to its page will be read any more.
};
uint32_t flash_buffer_count(const struct flash *flash);
void flash_buffer_read(const struct flash *flash, uint32_t number, struct flash_buffer_info *out);
// Becomes readable when the keeper should look: a buffer was closed, or a stream has none.
// Inherited by all processes.
int flash_wake_fd(const struct flash *flash);
// The streams (bits 1 << enum flash_bucket) for which a record found no buffer since the last call;
// at most one caller.
uint32_t flash_streams_wanted(struct flash *flash);

// A record's place in a buffer. A process has one at a time.
struct flash_place {
    char *memory;
    uint64_t address;
    uint64_t page_version;
    uint32_t page;
};
// Whether a buffer of the stream takes records, as far as a look tells; if not, the keeper's word
// is set. For who would otherwise make a record without a place.
bool flash_has_room(struct flash *flash, struct proc *proc, int bucket);
// Sets room for a record of `bytes` aside. False when no buffer of the stream has any: the keeper
// is told. Requires: bytes <= flash_record_bytes_max(). Locks: none. Crash: the room stays unused;
// `sizes` and what follows, put there first, let scans pass over it.
bool flash_place_take(struct flash *flash, struct proc *proc, int bucket, uint32_t bytes,
                      struct flash_place *out);
// The place was filled with a record of `bytes` whose `sizes` is set: completes its header, and
// notes of its page what policies need to know. `order` in its 64 bits; an expiry of 0 means never.
// The index may name the address now.
void flash_place_fill(struct flash *flash, const struct flash_place *place, uint32_t bytes,
                      uint64_t order, uint32_t expiry_seconds);
// Lets the place go, when the index names it or never will: from now on its buffer may be written.
void flash_place_give(struct flash *flash, struct proc *proc);

// Copies up to `bytes` from the given offset of a page, if they are in a buffer. Returns how many,
// 0 when they are on the device. Takes no lock; what is being filled may be torn, as the record's
// checksum tells.
uint32_t flash_buffer_copy(const struct flash *flash, uint32_t page, uint64_t page_version,
                           uint64_t offset, uint32_t bytes, char *place);

// For the keeper alone.

// Lets a free buffer take records of a stream: finds the open page of the stream on the path with
// the fewest buffers to write, or opens one. Returns PYMC_NOT_FOUND when there is no page. Crash:
// room in the page stays unused.
int flash_buffer_begin(struct flash *flash, struct proc *proc, uint32_t number, int bucket);
// A filling buffer takes no more records; its rest of the page stays unused.
void flash_buffer_close(struct flash *flash, uint32_t number);
// Ends the filling of a closed buffer. Returns the bytes to be written; 0 while somebody is still
// putting a record in, or when it is free now because nothing was; its part of the page is used
// again then if it was the last. The caller becomes its writer. An already sealed one is sealed
// again when its writer is gone.
uint64_t flash_buffer_seal(struct flash *flash, struct proc *proc, uint32_t number);
// Writes the sealed buffer. May run in any thread; touches nothing but the buffer and the device.
// Returns PYMC_OK, or PYMC_OS_ERROR with errno. May be called again.
int flash_buffer_write(struct flash *flash, uint32_t number);
// After flash_buffer_write(): counts it, frees the buffer, closes its page when that is full. After
// an error its page takes no more; no entry may name the buffer's records any more
// (tier_buffer_finish() sees to it). With PYMC_NOT_FOUND a sealed buffer whose page is gone is
// freed unwritten; what names its page goes with a sweep.
void flash_buffer_finish(struct flash *flash, struct proc *proc, uint32_t number, int status);
// Gives the memory of free buffers back to the system, all but the first `kept`. Returns how many
// were.
uint32_t flash_buffers_release(struct flash *flash, uint32_t kept);

// The records of a sealed buffer, one after the other: begin with *at 0; NULL at the end. Damaged
// ones are passed over.
struct flash_record;
const struct flash_record *flash_buffer_next(const struct flash *flash, uint32_t number,
                                             uint64_t *at, uint64_t *address_out);

// A dead process puts nothing in any more.
void flash_buffers_repair(struct flash *flash, uint32_t dead_slot_index);
