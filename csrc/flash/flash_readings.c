// Readings: one per record that is read, in a table by address, however many hold it; and their
// memory.
#include <unistd.h>

#include "flash/flash_readings_inline.h"

void flash_reader_signal(struct flash_reader *reader) {
    if (!reader->is_signalled) {
        reader->is_signalled = true;
        uint64_t one = 1;
        // Full would be readable too.
        ssize_t written = write(reader->event_fd, &one, sizeof(one));
        (void)written;
    }
}

void flash_readings_put(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_reading **place = table_place(reader, reading->seen.address);
    reading->chain = *place;
    reading->is_in_table = true;
    *place = reading;
}

// Twice as many buckets as readings, at least; a table that may not grow still works.
static void table_grow(struct flash_reader *reader) {
    uint32_t bits = 33u - (uint32_t)__builtin_clz(reader->readings | 15);
    uint64_t buckets = reader->table ? 1ull << (64 - reader->table_shift) : 0;
    struct flash_reading **bigger = calloc(1ull << bits, sizeof(*bigger));
    if (bigger == NULL) {
        return;
    }
    struct flash_reading **old = reader->table;
    reader->table = bigger;
    reader->table_shift = 64 - bits;
    for (uint64_t i = 0; i < buckets; i++) {
        for (struct flash_reading *reading = old[i], *next; reading; reading = next) {
            next = reading->chain;
            flash_readings_put(reader, reading);
        }
    }
    free(old);
}

bool flash_readings_grow(struct flash_reader *reader, uint32_t by) {
    struct flash_reading *chunk;
    if (reader->chunk_count == FLASH_READER_CHUNKS
        || (chunk = calloc(by, sizeof(*chunk))) == NULL) {
        return false;
    }
    reader->chunks[reader->chunk_count++] = chunk;
    reader->readings += by;
    for (uint32_t i = by; i-- > 0;) {
        chunk[i].next = reader->free;
        reader->free = &chunk[i];
    }
    table_grow(reader);
    return reader->table != NULL;
}

struct flash_reading *flash_reading_take(struct flash_reader *reader, uint64_t address,
                                         uint32_t page, uint64_t page_version) {
    if (UNLIKELY(reader->free == NULL) && !flash_readings_grow(reader, reader->readings)) {
        return NULL;
    }
    struct flash_reading *reading = reader->free;
    reader->free = reading->next;
    reader->in_use++;
    reading->seen = (struct flash_read){
        .address = address, .page = page, .page_version = page_version, .holds = 1};
    reading->memory = NULL;
    reading->is_in_table = false;
    reading->is_given_up = false;
    ring_clear(&reading->waiters);
    return reading;
}

void flash_reading_give_memory(struct flash_reader *reader, struct flash_reading *reading) {
    if (reading->memory != NULL) {
        uint64_t charge = flash_memory_charge(reading->bytes);
        flash_memory_give(&reader->memory, reading->memory);
        reader->memory_used -= charge;
        reader->paths[reading->path].memory_used -= charge;
        reading->memory = NULL;
        if (UNLIKELY(reader->paths_short_of_memory)) {
            flash_reader_signal(reader);
        }
    }
}

// Nobody holds it and no device writes to it.
void flash_reading_free(struct flash_reader *reader, struct flash_reading *reading) {
    PYMC_DEBUG_CHECK(reading->seen.holds == 0 && ring_is_empty(&reading->waiters));
    table_drop(reader, reading);
    flash_reading_give_memory(reader, reading);
    reading->next = reader->free;
    reader->free = reading;
    reader->in_use--;
    if (UNLIKELY(reader->paths_short_of_memory)) {
        flash_reader_signal(reader);
    }
}
