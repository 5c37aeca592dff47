// The table of a reader's reads: one per record, however many hold it; their memory, their waiters,
// and the checks.
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "flash/flash_buffers.h"
#include "flash/flash_clock_inline.h"
#include "flash/flash_index_internal.h"
#include "flash/flash_readings_inline.h"

// What is pinned for the device's use at most; reads beyond it are allocated one by one.
#define MAPPED_BYTES_MAX (2ull << 20)

static struct flash_read *read_gone(struct flash_reader *reader, uint64_t address, uint32_t page,
                                    uint64_t version) {
    struct flash_reading *reading = flash_reading_take(reader, address, page, version);
    return reading ? answer(reading, FLASH_READ_GONE) : NULL;
}

static struct flash_read *join(struct flash_reader *reader, struct flash_reading *reading) {
    if (reading->seen.state != FLASH_READ_DONE) {
        count(reader->proc, COUNTER_ext_reads_coalesced, 1);
    }
    reading->seen.holds++;
    return &reading->seen;
}

// Which bytes to ask the device for: whole sectors, but nothing behind the page.
static void plan(const struct flash_reader *reader, struct flash_reading *reading, uint64_t entry) {
    const struct flash *flash = reader->flash;
    const struct flash_page *row = &flash->pages[reading->seen.page];
    uint64_t unit =
        reading->seen.address - (uint64_t)reading->seen.page * flash->root->units_per_page;
    uint64_t offset = unit << flash->root->unit_shift;
    uint64_t most = flash_entry_bytes_most(entry);
    uint64_t left = flash->root->page_bytes - offset;
    uint64_t align = flash->read_align[row->path];
    uint64_t end = offset + (most < left ? most : left);
    reading->path = row->path;
    reading->page_offset = offset & ~(align - 1);
    reading->file_offset = row->file_offset + reading->page_offset;
    reading->skip = (uint32_t)(offset - reading->page_offset);
    reading->record_bytes_most = (uint32_t)(end - offset);
    reading->bytes = (uint32_t)(((end + align - 1) & ~(align - 1)) - reading->page_offset);
}

// Takes the reading's memory. Returns false when its caller has to wait.
static bool memory_take(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_reader_path *path = &reader->paths[reading->path];
    uint64_t charge = flash_memory_charge(reading->bytes);
    bool must_wait = path->memory_used > 0 && path->memory_used + charge > reader->memory_bound;
    // Without a pass nobody overtakes those who wait for memory, who would never see enough memory
    // free at a time.
    if (UNLIKELY(must_wait || (!ring_is_empty(&path->memory_waiters) && path->passes == 0))) {
        reader->lacked_bytes = charge;
        return false;
    }
    reading->memory = flash_memory_take(&reader->memory, reading->bytes);
    if (UNLIKELY(reading->memory == NULL)) {
        reader->lacked_bytes = charge;
        return false;
    }
    reader->memory_used += charge;
    path->memory_used += charge;
    path->passes -= path->passes > 0;
    return true;
}

static void enqueue(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_reader_path *path = &reader->paths[reading->path];
    reading->next = NULL;
    if (path->queue_last) {
        path->queue_last->next = reading;
    } else {
        path->queue_first = reading;
        reader->queued_paths |= 1ull << reading->path;
    }
    path->queue_last = reading;
    reader->queued++;
}

// A record that waits in a write buffer is copied from there: the read is done at once.
static bool read_buffer(struct flash_reader *reader, struct flash_reading *reading) {
    uint64_t offset = reading->page_offset + reading->skip;
    char *place = reading->memory + reading->skip;
    if (flash_buffer_copy(reader->flash, reading->seen.page, reading->seen.page_version, offset,
                          reading->record_bytes_most, place)
        == 0) {
        return false;
    }
    reading->result = reading->bytes;
    if (flash_reading_judge(reader, reading) != FLASH_READ_GOOD) {
        // Its buffer was freed meanwhile; what the device has will tell.
        return false;
    }
    reading->seen.state = FLASH_READ_DONE;
    reading->seen.result = FLASH_READ_GOOD;
    reading->seen.record = (const struct flash_record *)place;
    count(reader->proc, COUNTER_ext_reads_from_buffers, 1);
    return true;
}

static struct flash_read *begin_new(struct flash_reader *reader, uint64_t entry, uint32_t page,
                                    uint64_t version) {
    struct flash_reading *reading =
        flash_reading_take(reader, flash_entry_address(reader->flash, entry), page, version);
    if (UNLIKELY(reading == NULL)) {
        return NULL;
    }
    plan(reader, reading, entry);
    bool is_path_late = is_late(reader, reading->path);
    if (!memory_take(reader, reading)) {
        if (is_path_late || has_too_many_given_up(&reader->paths[reading->path])) {
            return answer(reading, FLASH_READ_LATE);
        }
        if (reader->in_use - reader->given_up == 1 && !reader->paths_short_of_memory) {
            // The system has no memory, and no read that ends will change that.
            return answer(reading, FLASH_READ_REFUSED);
        }
        // Back where it came from, without waking those who wait for memory: nothing became free.
        reading->next = reader->free;
        reader->free = reading;
        reader->in_use--;
        return NULL;
    }
    if (UNLIKELY(read_buffer(reader, reading))) {
        return &reading->seen;
    }
    if (UNLIKELY(is_path_late)) {
        flash_reading_give_memory(reader, reading);
        return answer(reading, FLASH_READ_LATE);
    }
    flash_readings_put(reader, reading);
    enqueue(reader, reading);
    return &reading->seen;
}

struct flash_read *flash_reader_begin(struct flash_reader *reader, uint64_t entry) {
    const struct flash *flash = reader->flash;
    uint64_t address = flash_entry_address(flash, entry);
    uint32_t page = flash_address_page(flash, address);
    if (UNLIKELY(page >= flash->root->page_count)) {
        return read_gone(reader, address, page, 0);
    }
    const struct flash_page *row = &flash->pages[page];
    uint64_t version = SHARED_ACQUIRE(row->version);
    reader->lacked_path = row->path;
    if (UNLIKELY(!flash_page_is_readable(flash, page, version)
                 || SHARED_LOAD(flash->paths[row->path].is_out))) {
        return read_gone(reader, address, page, version);
    }
    for (struct flash_reading *found = *table_place(reader, address); found; found = found->chain) {
        if (found->seen.address != address) {
            continue;
        }
        bool is_bad = found->seen.state == FLASH_READ_DONE && found->seen.result != FLASH_READ_GOOD;
        if (found->seen.page_version == version && !is_bad) {
            return join(reader, found);
        }
        table_drop(reader, found);
        break;
    }
    return begin_new(reader, entry, page, version);
}

void flash_reader_release(struct flash_reader *reader, struct flash_read *read) {
    struct flash_reading *reading = (struct flash_reading *)read;
    PYMC_CHECK(read->holds > 0);
    // One that is queued or under way is given up when its turn or its bytes come, unless somebody
    // joins before.
    if (--read->holds == 0 && read->state == FLASH_READ_DONE && LIKELY(!reading->is_given_up)) {
        flash_reading_free(reader, reading);
    }
}

static void wait_for_memory(struct flash_reader *reader, struct flash_waiter *waiter) {
    waiter->lacked_bytes = reader->lacked_bytes;
    if (waiter->ticket == 0) {
        waiter->ticket = ++reader->ticket;
    }
    // Who was woken and found the memory taken again keeps its place before those who came later.
    struct flash_waiter *place = &reader->paths[reader->lacked_path].memory_waiters;
    if (place->previous != place && place->previous->ticket > waiter->ticket) {
        place = place->next;
        while (place->ticket < waiter->ticket) {
            place = place->next;
        }
    }
    ring_insert_before(place, waiter);
    reader->paths_short_of_memory |= 1ull << reader->lacked_path;
    if (reader->in_use == reader->given_up) {
        flash_reader_signal(reader);
    }
}

void flash_reader_wait(struct flash_reader *reader, struct flash_read *read,
                       struct flash_waiter *waiter) {
    PYMC_CHECK(!waiter->is_waiting);
    if (read == NULL) {
        wait_for_memory(reader, waiter);
        return;
    }
    PYMC_CHECK(read->state != FLASH_READ_DONE);
    waiter->ticket = 0;
    ring_insert_before(&((struct flash_reading *)read)->waiters, waiter);
}

void flash_reader_unwait(struct flash_reader *reader, struct flash_waiter *waiter) {
    if (waiter->is_waiting) {
        ring_remove(waiter);
    }
    waiter->ticket = 0;
}

static void wake_memory_waiters_of(struct flash_reader *reader, uint32_t number,
                                   struct flash_chain *woken) {
    struct flash_reader_path *path = &reader->paths[number];
    uint64_t taken = path->memory_used;
    // Then nothing is to be waited for: whoever begins a read is told so.
    bool wakes_all = is_late(reader, number) || has_too_many_given_up(path);
    path->passes = 0;
    while (!ring_is_empty(&path->memory_waiters)) {
        struct flash_waiter *first = path->memory_waiters.next;
        if (taken > 0 && taken + first->lacked_bytes > reader->memory_bound && !wakes_all) {
            return;
        }
        taken += first->lacked_bytes;
        path->passes++;
        wake(woken, first);
    }
    reader->paths_short_of_memory &= ~(1ull << number);
}

static void wake_memory_waiters(struct flash_reader *reader, struct flash_chain *woken) {
    for (uint64_t bits = reader->paths_short_of_memory; bits; bits &= bits - 1) {
        wake_memory_waiters_of(reader, (uint32_t)__builtin_ctzll(bits), woken);
    }
    // Should those that were woken begin nothing after all, no read's end would wake the others.
    if (reader->paths_short_of_memory && reader->in_use == reader->given_up) {
        flash_reader_signal(reader);
    }
}

// Returns how many were started.
static uint32_t start_queued_of(struct flash_reader *reader, uint32_t number, uint64_t now_us) {
    struct flash_reader_path *path = &reader->paths[number];
    uint64_t bytes = 0;
    uint32_t started = 0;
    if (UNLIKELY(is_late(reader, number))) {
        flash_reader_signal(reader);    // They learn of it when somebody reaps.
        return 0;
    }
    while (path->queue_first && path->under_way < reader->depth) {
        struct flash_reading *reading = dequeue(reader, path);
        if (reading->seen.holds == 0) {
            flash_reading_free(reader, reading);
            continue;
        }
        reading->seen.state = FLASH_READ_UNDER_WAY;
        reading->begun_us = reading->at_device_us = now_us;
        reader->under_way++;
        path->under_way++;
        timed_put(reader, reading);
        reader->back->start(reader, reading);
        bytes += reading->bytes;
        started++;
    }
    count(reader->proc, COUNTER_ext_device_reads, started);
    count(reader->proc, COUNTER_ext_device_bytes_read, bytes);
    return started;
}

static uint32_t start_queued(struct flash_reader *reader) {
    uint64_t now_us = flash_now_us();
    uint32_t started = 0;
    for (uint64_t bits = reader->queued_paths; bits; bits &= bits - 1) {
        started += start_queued_of(reader, (uint32_t)__builtin_ctzll(bits), now_us);
    }
    return started;
}

uint32_t flash_reader_submit(struct flash_reader *reader) {
    bool is_due = reader->queued_paths && start_queued(reader);
    if (is_due || UNLIKELY(reader->unsubmitted > 0)) {
        reader->back->submit(reader);
    }
    return reader->under_way - reader->given_up + reader->queued;
}

bool flash_reader_has_done(const struct flash_reader *reader) {
    return reader->is_signalled || (reader->under_way > 0 && reader->back->has_done(reader));
}

struct flash_waiter *flash_reader_reap(struct flash_reader *reader, uint64_t now_us) {
    struct flash_chain woken = {.first = NULL, .end = &woken.first};
    reader->is_signalled = false;
    if (reader->under_way > 0) {
        reader->back->collect(reader, &woken);
        uint64_t due_us = flash_reader_due_us(reader);
        if (UNLIKELY(due_us <= now_us) && !reader->back->has_done(reader)) {
            flash_reader_give_up(reader, due_us, now_us, &woken);
        }
        flash_reader_submit(reader);
    }
    if (UNLIKELY(reader->queued_paths)) {
        // Another process may have found the path to be late.
        flash_reader_give_up_queued(reader, &woken);
    }
    if (UNLIKELY(reader->paths_short_of_memory)) {
        wake_memory_waiters(reader, &woken);
    }
    return woken.first;
}

static int open_back(struct flash_reader *reader, const struct flash_reader_options *options) {
    int status = PYMC_OS_ERROR;
    if (options->kind != FLASH_READER_THREADS) {
        reader->back = flash_uring_back();
        status = reader->back->open(reader, options);
    }
    if (status != PYMC_OK && options->kind != FLASH_READER_URING) {
        reader->back = flash_threads_back();
        status = reader->back->open(reader, options);
    }
    return status;
}

static void dispose(struct flash_reader *reader) {
    // Each chunk doubled what was there.
    uint32_t readings = reader->chunk_count ? reader->readings >> (reader->chunk_count - 1) : 0;
    for (uint32_t chunk = 0; chunk < reader->chunk_count; chunk++) {
        for (uint32_t i = 0; i < readings; i++) {
            // What is still held, or was given up just now, may have memory that is not in the
            // mapping.
            if (reader->chunks[chunk][i].memory) {
                flash_memory_give(&reader->memory, reader->chunks[chunk][i].memory);
            }
        }
        free(reader->chunks[chunk]);
        readings <<= chunk > 0;
    }
    free(reader->table);
    free(reader->paths);
    flash_memory_close(&reader->memory);
    if (reader->event_fd >= 0) {
        close(reader->event_fd);
    }
    free(reader);
}

int flash_reader_open(struct flash *flash, struct proc *proc,
                      const struct flash_reader_options *options,
                      struct flash_reader **reader_out) {
    *reader_out = NULL;
    if (options->depth == 0 || options->depth > 4096 || options->kind > FLASH_READER_THREADS
        || options->kind < 0) {
        return PYMC_INVALID;
    }
    struct flash_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return PYMC_NO_MEMORY;
    }
    reader->flash = flash;
    reader->proc = proc;
    reader->times = flash_local(flash, proc->slot_index)->read_times;
    reader->log = options->log;
    uint32_t paths = flash->root->path_count;
    uint32_t depth_max = FLASH_READER_DEPTH_MAX / paths;
    reader->depth = options->depth < depth_max ? options->depth : depth_max;
    reader->given_up_max = reader->depth;
    reader->memory_bound = options->memory_bytes / paths;
    reader->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t mapped =
        options->memory_bytes < MAPPED_BYTES_MAX ? options->memory_bytes : MAPPED_BYTES_MAX;
    int status = reader->event_fd < 0 ? PYMC_OS_ERROR
                                      : flash_memory_open(&reader->memory, mapped ? mapped : 1);
    reader->paths = calloc(paths, sizeof(*reader->paths));
    if (status == PYMC_OK && (!reader->paths || !flash_readings_grow(reader, reader->depth * 4))) {
        status = PYMC_NO_MEMORY;
    }
    for (uint32_t number = 0; number < paths && reader->paths; number++) {
        ring_clear(&reader->paths[number].memory_waiters);
    }
    if (status == PYMC_OK) {
        status = open_back(reader, options);
    }
    if (status != PYMC_OK) {
        int error = errno;
        dispose(reader);
        errno = error;
        return status;
    }
    *reader_out = reader;
    return PYMC_OK;
}

void flash_reader_close(struct flash_reader *reader) {
    if (reader != NULL) {
        bool is_done = reader->back->close(reader);
        if (is_done) {
            dispose(reader);
        }
    }
}

int flash_reader_kind(const struct flash_reader *reader) {
    return reader->back->kind;
}

int flash_reader_fd(const struct flash_reader *reader) {
    return reader->event_fd;
}

void flash_reader_read_state(const struct flash_reader *reader, struct flash_reader_state *out) {
    out->reads_under_way = reader->under_way - reader->given_up;
    out->reads_queued = reader->queued;
    out->reads_given_up = reader->given_up;
    out->memory_bytes = reader->memory_used;
}
