// Reads that the device is done with: what came is judged, and who waits goes on.
#include "base/crc32c.h"
#include "flash/flash_readings_inline.h"
#include "flash/flash_record_inline.h"

// A record has at least an item's header after its own.
#define RECORD_BYTES_MIN (sizeof(struct flash_record) + 16)
#define SLOW_US 1000000

uint8_t flash_reading_judge(struct flash_reader *reader, const struct flash_reading *reading) {
    const struct flash_read *seen = &reading->seen;
    if (reading->result != reading->bytes) {
        return flash_is_refusal(-reading->result) ? FLASH_READ_REFUSED : FLASH_READ_FAILED;
    }
    // The record was complete before its entry was made; only a reuse of the page, with a new
    // version, changes it.
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!flash_page_is_readable(reader->flash, seen->page, seen->page_version)) {
        return FLASH_READ_GONE;
    }
    const struct flash_record *record =
        (const struct flash_record *)(reading->memory + reading->skip);
    if (reading->record_bytes_most < RECORD_BYTES_MIN) {
        return FLASH_READ_CORRUPT;
    }
    uint32_t bytes = flash_record_bytes(record);
    if (bytes < RECORD_BYTES_MIN || bytes > reading->record_bytes_most
        || record->page_version != (uint32_t)seen->page_version
        || record->crc32c != crc32c(0, &record->sizes, bytes - sizeof(record->crc32c))) {
        return FLASH_READ_CORRUPT;
    }
    count(reader->proc, COUNTER_ext_objects_read, 1);
    count(reader->proc, COUNTER_ext_bytes_read, bytes);
    return FLASH_READ_GOOD;
}

static void note_device(struct flash_reader *reader, const struct flash_reading *reading,
                        uint64_t took_us) {
    struct flash_path_state *path = &reader->flash->paths[reading->path];
    flash_note_time(reader->times, took_us);
    flash_count_read(reader->flash, reader->proc->slot_index, reading->path);
    bool is_bad = reading->result != reading->bytes;
    if (UNLIKELY(is_bad)) {
        count(reader->proc, COUNTER_ext_read_errors, 1);
    }
    if (UNLIKELY(is_bad || took_us > SLOW_US) && !reader->back->uses_flash_io) {
        SHARED_ADD(path->read_errors, is_bad && !flash_is_refusal(-reading->result), RELAXED);
        SHARED_ADD(path->slow_reads, took_us > SLOW_US, RELAXED);
    }
}

void flash_reader_complete(struct flash_reader *reader, struct flash_reading *reading,
                           int64_t result, uint64_t now_us, struct flash_chain *woken) {
    struct flash_read *seen = &reading->seen;
    reading->result = result;
    reader->under_way--;
    reader->paths[reading->path].under_way--;
    note_device(reader, reading, now_us - reading->at_device_us);
    if (UNLIKELY(reading->is_given_up)) {
        flash_reader_take_back(reader, reading);
        return;
    }
    timed_drop(reader, reading);
    if (seen->holds == 0) {
        flash_reading_free(reader, reading);
        return;
    }
    seen->result = flash_reading_judge(reader, reading);
    seen->state = FLASH_READ_DONE;
    if (UNLIKELY(seen->result == FLASH_READ_CORRUPT
                 && reading->record_bytes_most >= RECORD_BYTES_MIN)) {
        // The page was the same before and after, so this is not what was written there.
        SHARED_ADD(reader->flash->paths[reading->path].bad_records, 1, RELAXED);
    }
    if (LIKELY(seen->result == FLASH_READ_GOOD)) {
        seen->record = (const struct flash_record *)(reading->memory + reading->skip);
    } else {
        flash_reading_give_memory(reader, reading);
    }
    while (!ring_is_empty(&reading->waiters)) {
        wake(woken, reading->waiters.next);
    }
}
