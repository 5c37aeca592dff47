// What a dump's line is made of; for the walks over memory and over records on flash.
#pragma once

#include "link/link_handle_inline.h"
#include "store/store_dump.h"

// No line is longer: a key of 255 bytes takes three characters each, a number 20.
#define STORE_DUMP_LINE_BYTES_MAX 1024

struct store_dump_entry {
    const char *key;
    uint32_t key_bytes;
    uint32_t state;
    uint32_t class_id;
    uint32_t time_seconds;
    uint32_t expiry_seconds;
    uint32_t client_flags;
    uint64_t cas;
    uint64_t value_bytes;
    uint64_t item_bytes;
};

// Writes the line and returns its length. Requires: STORE_DUMP_LINE_BYTES_MAX bytes of room.
uint32_t store_dump_line(const struct store *store, const struct store_dump_entry *entry, int kind,
                         char *line);
