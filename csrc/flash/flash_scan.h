// A page of the log being read back in pieces, for compaction and dumps.
#pragma once

#include "flash/flash.h"

struct flash_record;    // flash_record_inline.h

// Process-local. Owns: the caller, until flash_scan_destroy().
struct flash_scan;
int flash_scan_create(struct flash *flash, struct flash_scan **scan_out);
void flash_scan_destroy(struct flash_scan *scan);
// Begins with a page's first record. Returns PYMC_NOT_FOUND when it is neither open nor full.
int flash_scan_begin(struct flash_scan *scan, uint32_t page);
// Reads the next piece, after flash_scan_next() found no more; what is not written yet comes from
// its write buffer. May run in any thread. Returns PYMC_OK, PYMC_NOT_FOUND at the end, or
// PYMC_OS_ERROR: then the next call goes on behind what could not be read.
int flash_scan_load(struct flash_scan *scan);
uint64_t flash_scan_loaded_bytes(const struct flash_scan *scan);
// The next whole, valid record of the loaded piece; NULL when another piece is needed. Damaged
// ranges are passed over. The record stays until the next load.
const struct flash_record *flash_scan_next(struct flash_scan *scan, uint64_t *address_out);
