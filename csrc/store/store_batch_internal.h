// A batch of records on their way to flash, for the files that fill and commit it.
#pragma once

#include "flash/flash_writer.h"
#include "store/store_flash_internal.h"
#include "store/store_writeout.h"

// A buffer of the smallest records has hardly more.
#define STORE_BATCH_RECORDS 65536

// Whose record it is: of an item in memory (ref), or one that moves on flash (from_address).
struct batch_note {
    uint64_t hash;
    uint64_t address;
    uint64_t order;
    uint64_t from_address;
    uint32_t ref;               // 0: it moves.
    uint32_t record_bytes;
    uint32_t expiry_seconds;
    uint32_t state;             // Of the image.
};

struct store_batch {
    struct store *store;
    struct flash_buffer *buffer;
    uint32_t count;
    struct batch_note notes[STORE_BATCH_RECORDS];
};
