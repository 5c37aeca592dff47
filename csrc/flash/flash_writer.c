// Write buffers: filled with records, sealed, written as a whole. The keeper's, but for the write itself.
#include "flash/flash_writer.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/crc32c.h"
#include "flash/flash_clock_inline.h"
#include "flash/flash_record_inline.h"
#include "shm/proc_internal.h"

struct flash_buffer {
    struct flash *flash;
    char *memory;
    uint64_t page_offset;       // Where the first byte goes.
    uint64_t capacity;          // Up to the end of the memory or of the page.
    uint64_t filled;
    uint64_t sealed_bytes;      // What is to be written; 0 before the seal.
    uint64_t page_version;
    uint64_t newest_order;
    uint64_t took_us;
    uint32_t page;
    uint32_t records;
    uint32_t expires_seconds;
    bool is_begun;
    bool page_is_short;         // A record found no place before the page's end.
};

int flash_buffer_create(struct flash *flash, struct flash_buffer **buffer_out) {
    *buffer_out = NULL;
    struct flash_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer) {
        return PYMC_NO_MEMORY;
    }
    buffer->flash = flash;
    // Pages of memory, for O_DIRECT wants them aligned.
    buffer->memory = mmap(NULL, flash->root->wbuf_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer->memory == MAP_FAILED) {
        free(buffer);
        return PYMC_NO_MEMORY;
    }
    *buffer_out = buffer;
    return PYMC_OK;
}

void flash_buffer_destroy(struct flash_buffer *buffer) {
    if (!buffer) {
        return;
    }
    if (buffer->is_begun) {
        buffer->flash->uses[buffer->page].buffers--;
    }
    munmap(buffer->memory, buffer->flash->root->wbuf_bytes);
    free(buffer);
}

// A page of flushed records takes no others: it is free as a whole.
static bool is_flushed(const struct flash *flash, uint32_t page) {
    uint64_t newest = flash->pages[page].newest_order;
    return newest && newest <= SHARED_LOAD(flash->arena->header->flush_order);
}

static bool page_has_room(const struct flash *flash, uint32_t page) {
    return flash->pages[page].written_bytes + FLASH_BLOCK_BYTES <= flash->root->page_bytes
           && !flash->uses[page].is_ending && !is_flushed(flash, page);
}

// Closes a page that takes no more, once nothing is on its way to it.
static void close_when_done(struct flash *flash, struct proc *proc, uint32_t page) {
    if (flash->uses[page].buffers == 0 && !page_has_room(flash, page)) {
        flash_page_close(flash, proc, page);
    }
}

static bool is_open_for(const struct flash *flash, uint32_t page, int bucket) {
    const struct flash_page *row = &flash->pages[page];
    // Whoever took the path out may have died before its pages were drained: nothing of them is read any more.
    return row->state == FLASH_PAGE_OPEN && row->bucket == bucket && page_has_room(flash, page)
           && !SHARED_LOAD(flash->paths[row->path].is_out);
}

// The open page of a stream. One may be open without this process knowing: an earlier keeper's.
static uint32_t open_page_of(struct flash *flash, struct proc *proc, int bucket) {
    uint32_t known = flash->open_pages[bucket];
    if (is_open_for(flash, known, bucket)) {
        return known;
    }
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        if (is_open_for(flash, page, bucket)) {
            return page;
        }
        close_when_done(flash, proc, page);
    }
    return flash_page_open(flash, proc, bucket);
}

static void put_page_header(struct flash_buffer *buffer) {
    const struct flash *flash = buffer->flash;
    const struct flash_page *row = &flash->pages[buffer->page];
    memset(buffer->memory, 0, FLASH_BLOCK_BYTES);
    struct flash_page_header *header = (struct flash_page_header *)buffer->memory;
    memcpy(header->magic, FLASH_PAGE_MAGIC, sizeof header->magic);
    memcpy(header->log_id, flash->root->log_id, sizeof header->log_id);
    header->format = FLASH_FORMAT;
    header->page_version = buffer->page_version;
    header->page_bytes = flash->root->page_bytes;
    header->file_offset = row->file_offset;
    header->epoch_unix_seconds = arena_epoch_unix_seconds(flash->arena);
    header->page = buffer->page;
    header->path = row->path;
    header->bucket = row->bucket;
    header->label = row->label;
    header->unit_bytes = 1u << flash->root->unit_shift;
    header->crc32c = crc32c(0, &header->format, FLASH_BLOCK_BYTES - offsetof(struct flash_page_header, format));
}

int flash_buffer_begin(struct flash_buffer *buffer, struct proc *proc, int bucket) {
    struct flash *flash = buffer->flash;
    PYMC_CHECK(!buffer->is_begun && bucket >= 0 && bucket < FLASH_BUCKETS);
    uint32_t page = open_page_of(flash, proc, bucket);
    if (page == FLASH_PAGES_MAX) {
        return PYMC_NOT_FOUND;
    }
    flash->open_pages[bucket] = page;
    flash->uses[page].buffers++;
    const struct flash_page *row = &flash->pages[page];
    uint64_t rest = flash->root->page_bytes - row->written_bytes;
    buffer->is_begun = true;
    buffer->page_is_short = false;
    buffer->page = page;
    buffer->page_version = row->version;
    buffer->page_offset = row->written_bytes;
    buffer->capacity = rest < flash->root->wbuf_bytes ? rest : flash->root->wbuf_bytes;
    buffer->filled = 0;
    buffer->sealed_bytes = 0;
    buffer->records = 0;
    buffer->newest_order = 0;
    buffer->expires_seconds = 0;
    if (buffer->page_offset == 0) {
        put_page_header(buffer);
        buffer->filled = FLASH_BLOCK_BYTES;
    }
    return PYMC_OK;
}

char *flash_buffer_room(struct flash_buffer *buffer, uint32_t bytes) {
    PYMC_CHECK(buffer->is_begun && !buffer->sealed_bytes && bytes <= flash_record_bytes_max(buffer->flash));
    if (buffer->filled + bytes <= buffer->capacity) {
        return buffer->memory + buffer->filled;
    }
    if (buffer->page_offset + buffer->capacity == buffer->flash->root->page_bytes) {
        buffer->page_is_short = true;
    }
    return NULL;
}

uint64_t flash_buffer_add(struct flash_buffer *buffer, uint32_t bytes) {
    struct flash_record *record = (struct flash_record *)(buffer->memory + buffer->filled);
    PYMC_CHECK(flash_record_bytes(record) == bytes && bytes > sizeof *record
               && buffer->filled + bytes <= buffer->capacity);
    record->page_version = (uint32_t)buffer->page_version;
    record->crc32c = crc32c(0, &record->sizes, bytes - sizeof record->crc32c);
    uint64_t address = flash_address(buffer->flash, buffer->page, buffer->page_offset + buffer->filled);
    uint64_t whole = flash_round_up(buffer->flash, bytes);
    memset(buffer->memory + buffer->filled + bytes, 0, whole - bytes);
    buffer->filled += whole;
    buffer->records++;
    return address;
}

void flash_buffer_note(struct flash_buffer *buffer, uint64_t order, uint32_t expiry_seconds) {
    uint32_t expires = expiry_seconds ? expiry_seconds : UINT32_MAX;
    buffer->newest_order = order > buffer->newest_order ? order : buffer->newest_order;
    buffer->expires_seconds = expires > buffer->expires_seconds ? expires : buffer->expires_seconds;
}

uint32_t flash_buffer_records(const struct flash_buffer *buffer) {
    return buffer->is_begun ? buffer->records : 0;
}
uint32_t flash_buffer_page(const struct flash_buffer *buffer) {
    return buffer->page;
}
uint64_t flash_buffer_bytes(const struct flash_buffer *buffer) {
    return buffer->is_begun ? buffer->filled : 0;
}

static void let_go(struct flash_buffer *buffer, struct proc *proc) {
    struct flash *flash = buffer->flash;
    buffer->is_begun = false;
    buffer->sealed_bytes = 0;
    flash->uses[buffer->page].buffers--;
    close_when_done(flash, proc, buffer->page);
}

uint64_t flash_buffer_seal(struct flash_buffer *buffer, struct proc *proc) {
    if (!buffer->is_begun) {
        return 0;
    }
    struct flash *flash = buffer->flash;
    struct flash_page *row = &flash->pages[buffer->page];
    if (buffer->page_is_short) {
        flash->uses[buffer->page].is_ending = true;
    }
    if (buffer->records == 0) {
        let_go(buffer, proc);
        return 0;
    }
    uint64_t padded = (buffer->filled + FLASH_BLOCK_BYTES - 1) & ~(uint64_t)(FLASH_BLOCK_BYTES - 1);
    memset(buffer->memory + buffer->filled, 0, padded - buffer->filled);
    if (buffer->newest_order > row->newest_order) {
        SHARED_STORE(row->newest_order, buffer->newest_order);
    }
    if (buffer->expires_seconds > row->expires_seconds) {
        SHARED_STORE(row->expires_seconds, buffer->expires_seconds);
    }
    SHARED_STORE(row->objects_written, row->objects_written + buffer->records);
    FAULT_POINT(proc, "flash.seal.before");
    // A successor must never write where a write of ours may still be under way.
    SHARED_RELEASE(row->written_bytes, buffer->page_offset + padded);
    FAULT_POINT(proc, "flash.seal.after");
    buffer->sealed_bytes = padded;
    return padded;
}

int flash_buffer_write(struct flash_buffer *buffer) {
    uint64_t begun_us = flash_now_us();
    int status = flash_io(buffer->flash, buffer->page, buffer->page_offset, buffer->memory, buffer->sealed_bytes, true,
                          NULL);
    buffer->took_us = flash_now_us() - begun_us;
    return status;
}

int flash_buffer_finish(struct flash_buffer *buffer, struct proc *proc, int status) {
    PYMC_CHECK(buffer->is_begun && buffer->sealed_bytes);
    struct flash *flash = buffer->flash;
    flash_note_time(flash_local(flash, proc->slot_index)->write_times, buffer->took_us);
    count(proc, COUNTER_ext_device_writes, 1);
    if (status == PYMC_OK) {
        count(proc, COUNTER_ext_device_bytes_written, buffer->sealed_bytes);
        bool is_lost = !flash_page_is_readable(flash, buffer->page, buffer->page_version);
        status = is_lost ? PYMC_NOT_FOUND : PYMC_OK;
    } else {
        count(proc, COUNTER_ext_write_errors, 1);
        flash->uses[buffer->page].is_ending = true;
    }
    let_go(buffer, proc);
    return status;
}
