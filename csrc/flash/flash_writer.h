// The keeper's side of the log: buffers that are filled with records and written as a whole; pages read back.
#pragma once

#include "flash/flash.h"

struct flash_record;       // flash_record_inline.h

// Memory of one write buffer and where it goes. Process-local: a crash loses only what no entry names yet.
struct flash_buffer;

// Owns: the caller, until flash_buffer_destroy(). wbuf_bytes each.
int flash_buffer_create(struct flash *flash, struct flash_buffer **buffer_out);
void flash_buffer_destroy(struct flash_buffer *buffer);

// Begins to fill: finds the open page of the stream or opens one. The page's first buffer gets the page header.
// Returns PYMC_NOT_FOUND when no page is free. Requires: the last buffer of this stream was sealed.
int flash_buffer_begin(struct flash_buffer *buffer, struct proc *proc, int bucket);

// Room for a record of `bytes`, NULL when it does not fit any more: seal, write, begin another. What is put there
// counts only when it is added. Requires: bytes <= flash_record_bytes_max().
char *flash_buffer_room(struct flash_buffer *buffer, uint32_t bytes);
// The room was filled with a record of `bytes` whose `sizes` is set: completes its header. Returns its address.
uint64_t flash_buffer_add(struct flash_buffer *buffer, uint32_t bytes);
// What policies need to know of a record that was added; each must be noted. `order` in its 64 bits.
void flash_buffer_note(struct flash_buffer *buffer, uint64_t order, uint32_t expiry_seconds);
uint32_t flash_buffer_records(const struct flash_buffer *buffer);
uint32_t flash_buffer_page(const struct flash_buffer *buffer);
uint64_t flash_buffer_bytes(const struct flash_buffer *buffer);

// Ends filling: pads, moves the page's end on. Returns the bytes to be written, 0 for an empty buffer, which may begin
// again at once.
uint64_t flash_buffer_seal(struct flash_buffer *buffer, struct proc *proc);
// Writes the sealed buffer. May run in any thread; touches nothing but the buffer and the device.
// Returns PYMC_OK, or PYMC_OS_ERROR: then none of its records is on flash, and its page takes no more.
int flash_buffer_write(struct flash_buffer *buffer);
// After flash_buffer_write(), in the keeper's thread: counts it, and closes the page when it is full or failed. The
// buffer is empty and may begin again. Returns what came of the records: PYMC_OK, `status`, or PYMC_NOT_FOUND when
// their page was given up while they were on their way.
int flash_buffer_finish(struct flash_buffer *buffer, struct proc *proc, int status);

// A page being read back in pieces, for compaction. Process-local.
struct flash_scan;
int flash_scan_create(struct flash *flash, struct flash_scan **scan_out);
void flash_scan_destroy(struct flash_scan *scan);
// Begins with a page's first record. Returns PYMC_NOT_FOUND when it is neither open nor full.
int flash_scan_begin(struct flash_scan *scan, uint32_t page);
// Reads the next piece, after flash_scan_next() found no more. May run in any thread. Returns PYMC_OK, PYMC_NOT_FOUND
// at the end, or PYMC_OS_ERROR: then the next call goes on behind what could not be read.
int flash_scan_load(struct flash_scan *scan);
uint64_t flash_scan_loaded_bytes(const struct flash_scan *scan);
// The next whole, valid record of the loaded piece; NULL when another piece is needed. Damaged ranges are passed
// over. The record stays until the next load.
const struct flash_record *flash_scan_next(struct flash_scan *scan, uint64_t *address_out);
