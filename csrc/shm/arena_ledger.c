// Handing out parts of the arena, each a row of the ledger in its header.
#include <string.h>

#include "shm/arena_internal.h"

static void ledger_add(struct arena_header *header, const char *label, uint64_t start,
                       uint64_t bytes) {
    struct arena_row *row = &header->rows[header->row_count];
    if (header->row_count && strcmp(row[-1].label, label) == 0) {
        row[-1].bytes = start + bytes - row[-1].offset;
        return;
    }
    PYMC_CHECK(header->row_count < ARENA_ROWS_MAX && strlen(label) < ARENA_LABEL_BYTES);
    memcpy(row->label, label, strlen(label) + 1);
    row->offset = start;
    row->bytes = bytes;
    header->row_count++;
}

uint64_t arena_reserve(struct arena *arena, uint64_t bytes, uint64_t align, const char *label) {
    struct arena_header *header = arena->header;
    uint64_t start = (header->reserved_bytes + align - 1) & ~(align - 1);
    if (start + bytes > arena->bytes || start + bytes < start) {
        return 0;
    }
    header->reserved_bytes = start + bytes;
    ledger_add(header, label, start, bytes);
    return start;
}
