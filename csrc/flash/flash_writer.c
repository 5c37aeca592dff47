// The keeper's side of write buffers: beginning, sealing, writing and freeing them; pages are
// filled by them.
#include <stddef.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/racy_inline.h"
#include "flash/flash_buffers_internal.h"
#include "flash/flash_clock_inline.h"
#include "flash/flash_record_inline.h"

#define BLOCK_MASK ((uint64_t)FLASH_BLOCK_BYTES - 1)
// So many free pages are for streams that have none.
#define SPARE_PAGES FLASH_BUCKETS

static bool is_page_open(const struct flash *flash, const struct flash_buffer *buffer) {
    const struct flash_page *row = &flash->pages[buffer->page];
    return SHARED_LOAD(row->state) == FLASH_PAGE_OPEN
           && SHARED_LOAD(row->version) == buffer->page_version;
}

void flash_buffer_read(const struct flash *flash, uint32_t number, struct flash_buffer_info *out) {
    PYMC_CHECK(number < flash->root->buffer_count);
    const struct flash_buffer *buffer = &flash->buffers[number];
    uint64_t fill = SHARED_ACQUIRE(buffer->fill);
    *out = (struct flash_buffer_info){.state = SHARED_LOAD(buffer->state),
                                      .bucket = SHARED_LOAD(buffer->bucket),
                                      .page = SHARED_LOAD(buffer->page),
                                      .filled_bytes = flash_filled(fill),
                                      .begun = SHARED_LOAD(buffer->begun),
                                      .writer = SHARED_LOAD(buffer->writer) - 1,
                                      .is_closed = (fill & FLASH_FILL_CLOSED) != 0};
    if (out->state != FLASH_BUFFER_FREE) {
        out->path = flash->pages[out->page].path;
        out->is_page_gone = !is_page_open(flash, buffer);
    }
}

// A page of flushed records takes no others: it is free as a whole.
static bool is_flushed(const struct flash *flash, uint32_t page) {
    uint64_t newest = SHARED_LOAD(flash->pages[page].newest_order);
    return newest && newest <= SHARED_LOAD(flash->arena->header->flush_order);
}

static bool page_has_room(const struct flash *flash, uint32_t page) {
    return flash->pages[page].written_bytes < flash->root->page_bytes
           && !flash->pages[page].is_ending && !is_flushed(flash, page);
}

// Closes a page that takes no more, once nothing is on its way to it.
static void close_when_done(struct flash *flash, struct proc *proc, uint32_t page) {
    if (flash->pages[page].state == FLASH_PAGE_OPEN && !page_has_room(flash, page)
        && !flash_page_has_buffers(flash, page)) {
        flash_page_close(flash, proc, page);
    }
}

static bool takes_more(const struct flash *flash, uint32_t page, uint32_t path, int bucket) {
    const struct flash_page *row = &flash->pages[page];
    return page < flash->root->page_count && row->path == path && row->state == FLASH_PAGE_OPEN
           && row->bucket == bucket && page_has_room(flash, page)
           && flash_path_is_writable(flash, row);
}

// The open page of a stream on a path; FLASH_PAGES_MAX for none. One may be open without this
// process knowing: an earlier keeper's.
static uint32_t open_page_on(struct flash *flash, struct proc *proc, int bucket, uint32_t path) {
    uint32_t known = flash->open_pages[bucket][path];
    if (takes_more(flash, known, path, bucket)) {
        return known;
    }
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        if (takes_more(flash, page, path, bucket)) {
            return page;
        }
        close_when_done(flash, proc, page);
    }
    return FLASH_PAGES_MAX;
}

// Buffers of a path that are not written yet.
static uint32_t load_of(const struct flash *flash, uint32_t path) {
    uint32_t load = 0;
    for (uint32_t number = 0; number < flash->root->buffer_count; number++) {
        const struct flash_buffer *buffer = &flash->buffers[number];
        load += buffer->state != FLASH_BUFFER_FREE && flash->pages[buffer->page].path == path;
    }
    return load;
}

static int label_of(const struct flash *flash, uint32_t path) {
    uint32_t page = 0;
    while (page < flash->root->page_count && flash->pages[page].path != path) {
        page++;
    }
    return page < flash->root->page_count ? flash->pages[page].label : FLASH_DEFAULT;
}

// Whether a stream may open a page on each path: one that has an open page makes do with it while
// few are free.
static bool has_pages_to_spare(const struct flash *flash) {
    uint32_t free_pages = 0;
    for (uint32_t page = 0; page < flash->root->page_count && free_pages <= SPARE_PAGES; page++) {
        free_pages += flash->pages[page].state == FLASH_PAGE_FREE;
    }
    return free_pages > SPARE_PAGES;
}

// Consecutive buffers go to different paths, and a path that is slow gets fewer: of the paths with
// this label, the next one in turn of those with the least to write.
static uint32_t page_of_label(struct flash *flash, struct proc *proc, int bucket, int label,
                              uint32_t *path_out) {
    uint32_t paths = flash->root->path_count;
    uint32_t loads[FLASH_PATHS_MAX];
    bool has_open = false;
    for (uint32_t path = 0; path < paths; path++) {
        bool is_fit = flash_path_takes_writes(flash, path) && label_of(flash, path) == label;
        loads[path] = is_fit ? load_of(flash, path) : UINT32_MAX;
        has_open |= is_fit && open_page_on(flash, proc, bucket, path) != FLASH_PAGES_MAX;
    }
    bool may_open = !has_open || has_pages_to_spare(flash);
    for (uint32_t tries = 0; tries < paths; tries++) {
        uint32_t best = FLASH_PATHS_MAX;
        for (uint32_t i = 0; i < paths; i++) {
            uint32_t path = (flash->next_path[bucket] + i) % paths;
            if (loads[path] != UINT32_MAX
                && (best == FLASH_PATHS_MAX || loads[path] < loads[best])) {
                best = path;
            }
        }
        if (best == FLASH_PATHS_MAX) {
            break;
        }
        uint32_t page = open_page_on(flash, proc, bucket, best);
        if (page == FLASH_PAGES_MAX && may_open) {
            page = flash_page_open(flash, proc, bucket, best);
        }
        if (page != FLASH_PAGES_MAX) {
            *path_out = best;
            return page;
        }
        loads[best] = UINT32_MAX;
    }
    return FLASH_PAGES_MAX;
}

// A stream takes pages of its own label first, then default ones.
static uint32_t page_for(struct flash *flash, struct proc *proc, int bucket, uint32_t *path_out) {
    uint32_t page = page_of_label(flash, proc, bucket, bucket, path_out);
    return page == FLASH_PAGES_MAX && bucket != FLASH_DEFAULT
               ? page_of_label(flash, proc, bucket, FLASH_DEFAULT, path_out)
               : page;
}

static void put_page_header(const struct flash *flash, uint32_t page, char *memory) {
    const struct flash_page *row = &flash->pages[page];
    _Alignas(struct flash_page_header) char block[FLASH_BLOCK_BYTES] = {0};
    struct flash_page_header *header = (struct flash_page_header *)block;
    memcpy(header->magic, FLASH_PAGE_MAGIC, sizeof header->magic);
    memcpy(header->log_id, flash->root->log_id, sizeof header->log_id);
    header->format = FLASH_FORMAT;
    header->page_version = row->version;
    header->page_bytes = flash->root->page_bytes;
    header->file_offset = row->file_offset;
    header->epoch_unix_seconds = arena_epoch_unix_seconds(flash->arena);
    header->page = page;
    header->path = row->path;
    header->bucket = row->bucket;
    header->label = row->label;
    header->unit_bytes = 1u << flash->root->unit_shift;
    header->crc32c =
        crc32c(0, &header->format, FLASH_BLOCK_BYTES - offsetof(struct flash_page_header, format));
    racy_write(memory, block, sizeof block);
}

// Ends what `fill` counted so far. Who copied from the buffer looks at the use last: it changes
// before anything else.
static void next_use(struct flash_buffer *buffer) {
    uint64_t use = (buffer->fill >> FLASH_FILL_USE_SHIFT) + 1;
    SHARED_RELEASE(buffer->fill, use << FLASH_FILL_USE_SHIFT | FLASH_FILL_CLOSED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

int flash_buffer_begin(struct flash *flash, struct proc *proc, uint32_t number, int bucket) {
    PYMC_CHECK(number < flash->root->buffer_count && bucket >= 0 && bucket < FLASH_BUCKETS);
    struct flash_buffer *buffer = &flash->buffers[number];
    PYMC_CHECK(buffer->state == FLASH_BUFFER_FREE);
    uint32_t path = 0;
    uint32_t page = page_for(flash, proc, bucket, &path);
    if (page == FLASH_PAGES_MAX) {
        return PYMC_NOT_FOUND;
    }
    flash->open_pages[bucket][path] = page;
    flash->next_path[bucket] = (path + 1) % flash->root->path_count;
    struct flash_page *row = &flash->pages[page];
    uint64_t offset = row->written_bytes;
    uint64_t rest = flash->root->page_bytes - offset;
    uint64_t capacity = rest < flash->root->wbuf_bytes ? rest : flash->root->wbuf_bytes;
    next_use(buffer);
    SHARED_STORE(buffer->bucket, (uint8_t)bucket);
    SHARED_STORE(buffer->page, page);
    SHARED_STORE(buffer->page_version, row->version);
    SHARED_STORE(buffer->page_offset, offset);
    SHARED_STORE(buffer->capacity, capacity);
    SHARED_STORE(buffer->writer, 0);
    SHARED_STORE(flash->root->buffers_begun, flash->root->buffers_begun + 1);
    SHARED_STORE(buffer->begun, flash->root->buffers_begun);
    FAULT_POINT(proc, "flash.begin.before");
    // No other buffer may get this part of the page.
    SHARED_RELEASE(row->written_bytes, offset + capacity);
    uint64_t fill = 0;
    if (offset == 0) {
        put_page_header(flash, page, flash_buffer_memory(flash, number));
        fill = FLASH_BLOCK_BYTES;
    }
    SHARED_RELEASE(buffer->state, FLASH_BUFFER_FILLING);
    FAULT_POINT(proc, "flash.begin.named");
    SHARED_RELEASE(buffer->fill, (buffer->fill & ~(FLASH_FILL_CLOSED | FLASH_FILL_BYTES)) | fill);
    return PYMC_OK;
}

void flash_buffer_close(struct flash *flash, uint32_t number) {
    PYMC_CHECK(number < flash->root->buffer_count
               && flash->buffers[number].state == FLASH_BUFFER_FILLING);
    SHARED_OR(flash->buffers[number].fill, FLASH_FILL_CLOSED, ACQ_REL);
}

static bool has_fillers(const struct flash *flash, uint32_t number) {
    for (uint32_t slot = 0; slot < flash->arena->header->slots; slot++) {
        if (SHARED_ACQUIRE(flash_local(flash, slot)->filling) == number + 1) {
            return true;
        }
    }
    return false;
}

// Whether it holds records, and not a page's header alone.
static bool has_records(const struct flash_buffer *buffer) {
    return flash_filled(buffer->fill) > (buffer->page_offset == 0 ? FLASH_BLOCK_BYTES : 0);
}

static uint64_t padded_bytes(const struct flash_buffer *buffer) {
    return (flash_filled(buffer->fill) + BLOCK_MASK) & ~BLOCK_MASK;
}

static void set_free(struct flash *flash, struct proc *proc, struct flash_buffer *buffer) {
    uint32_t page = buffer->page;
    // Who sees the new use sees that it is free, or what was begun since.
    SHARED_RELEASE(buffer->state, FLASH_BUFFER_FREE);
    FAULT_POINT(proc, "flash.finish.freed");
    next_use(buffer);
    close_when_done(flash, proc, page);
}

// Whether no buffer was begun behind it in its page.
static bool has_last_room(const struct flash *flash, const struct flash_buffer *buffer) {
    return is_page_open(flash, buffer)
           && flash->pages[buffer->page].written_bytes == buffer->page_offset + buffer->capacity;
}

// Frees an empty buffer, whose part of the page the next one gets if there is none behind it.
static void give_room_back(struct flash *flash, struct proc *proc, struct flash_buffer *buffer) {
    struct flash_page *row = &flash->pages[buffer->page];
    uint64_t offset = buffer->page_offset;
    bool is_last = has_last_room(flash, buffer);
    SHARED_RELEASE(buffer->state, FLASH_BUFFER_FREE);
    if (is_last) {
        // Not before it is free: nobody else may have the room then.
        SHARED_RELEASE(row->written_bytes, offset);
    }
    set_free(flash, proc, buffer);
}

uint64_t flash_buffer_seal(struct flash *flash, struct proc *proc, uint32_t number) {
    PYMC_CHECK(number < flash->root->buffer_count);
    struct flash_buffer *buffer = &flash->buffers[number];
    if (buffer->state == FLASH_BUFFER_FREE || !(buffer->fill & FLASH_FILL_CLOSED)) {
        return 0;
    }
    if (buffer->state == FLASH_BUFFER_SEALED) {
        bool is_writers = buffer->writer && buffer->writer != proc->slot_index + 1
                          && proc_slot_pid(flash->arena, buffer->writer - 1) != 0;
        if (is_writers) {
            return 0;
        }
    } else if (has_fillers(flash, number)) {
        return 0;
    }
    if (!has_records(buffer) && (has_last_room(flash, buffer) || flash_filled(buffer->fill) == 0)) {
        give_room_back(flash, proc, buffer);
        return 0;
    }
    // One that holds a page's header alone is written for the sake of those behind it.
    uint64_t filled = flash_filled(buffer->fill);
    uint64_t padded = padded_bytes(buffer);
    SHARED_CLEAR(flash_buffer_memory(flash, number) + filled, padded - filled);
    SHARED_STORE(buffer->writer, proc->slot_index + 1);
    SHARED_RELEASE(buffer->state, FLASH_BUFFER_SEALED);
    FAULT_POINT(proc, "flash.seal.after");
    return padded;
}

int flash_buffer_write(struct flash *flash, uint32_t number) {
    struct flash_buffer *buffer = &flash->buffers[number];
    PYMC_CHECK(buffer->state == FLASH_BUFFER_SEALED);
    uint64_t begun_us = flash_now_us();
    int status = flash_io(flash, buffer->page, buffer->page_offset,
                          flash_buffer_memory(flash, number), padded_bytes(buffer), true, NULL);
    SHARED_STORE(buffer->took_us, flash_now_us() - begun_us);
    return status;
}

void flash_buffer_finish(struct flash *flash, struct proc *proc, uint32_t number, int status) {
    struct flash_buffer *buffer = &flash->buffers[number];
    PYMC_CHECK(buffer->state == FLASH_BUFFER_SEALED);
    // Of one that was not written since its page is gone, nothing is counted.
    if (status != PYMC_NOT_FOUND) {
        flash_note_time(flash_local(flash, proc->slot_index)->write_times, buffer->took_us);
        count(proc, COUNTER_ext_device_writes, 1);
    }
    if (status == PYMC_OK) {
        count(proc, COUNTER_ext_device_bytes_written, padded_bytes(buffer));
    } else if (status != PYMC_NOT_FOUND) {
        count(proc, COUNTER_ext_write_errors, 1);
        SHARED_STORE(flash->pages[buffer->page].is_ending, 1);
    }
    set_free(flash, proc, buffer);
}

uint32_t flash_buffers_release(struct flash *flash, uint32_t kept) {
    uint32_t released = 0;
    for (uint32_t number = 0; number < flash->root->buffer_count; number++) {
        if (flash->buffers[number].state != FLASH_BUFFER_FREE) {
            continue;
        }
        if (kept > 0) {
            kept--;
        } else {
            released +=
                arena_give_back(flash_buffer_memory(flash, number), flash->root->wbuf_bytes);
        }
    }
    return released;
}

const struct flash_record *flash_buffer_next(const struct flash *flash, uint32_t number,
                                             uint64_t *at, uint64_t *address_out) {
    const struct flash_buffer *buffer = &flash->buffers[number];
    uint64_t filled = flash_filled(buffer->fill);
    if (*at == 0 && buffer->page_offset == 0) {
        *at = FLASH_BLOCK_BYTES;
    }
    while (*at + sizeof(struct flash_record) < filled) {
        const struct flash_record *record =
            (const struct flash_record *)(flash_buffer_memory(flash, number) + *at);
        uint32_t bytes = flash_record_bytes(record);
        bool is_whole =
            bytes > sizeof *record && bytes <= filled - *at
            && record->page_version == (uint32_t)buffer->page_version
            && crc32c(0, &record->sizes, bytes - sizeof record->crc32c) == record->crc32c;
        uint64_t address = flash_address(flash, buffer->page, buffer->page_offset + *at);
        *at += flash_round_up(flash, is_whole ? bytes : 1);
        if (is_whole) {
            *address_out = address;
            return record;
        }
    }
    return NULL;
}
