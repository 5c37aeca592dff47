// Putting records into write buffers, and finding them there: what any process does.
#include "flash/flash_buffers_internal.h"

#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/racy_inline.h"
#include "flash/flash_record_inline.h"

// Buffers that close while a filler looks are passed over; so often it looks for another one.
#define TAKE_TRIES 8
// Others that take room at the same instant make a filler try again.
#define RESERVE_TRIES 1000

uint32_t flash_buffer_count(const struct flash *flash) {
    return flash->root->buffer_count;
}

int flash_wake_fd(const struct flash *flash) {
    return flash->wake_fd;
}

// The counter of an eventfd does not fill up in a lifetime, and one that is full is readable too.
static void wake_keeper(const struct flash *flash) {
    uint64_t one = 1;
    ssize_t written = write(flash->wake_fd, &one, sizeof one);
    (void)written;
}

uint32_t flash_streams_wanted(struct flash *flash) {
    uint32_t wanted = SHARED_LOAD(flash->root->streams_wanted);
    while (wanted && !SHARED_CAS(flash->root->streams_wanted, &wanted, 0u, RELAXED)) {
    }
    return wanted;
}

static void want_buffer(struct flash *flash, int bucket) {
    uint32_t bit = 1u << bucket;
    if (!(SHARED_LOAD(flash->root->streams_wanted) & bit)) {
        SHARED_OR(flash->root->streams_wanted, bit, RELAXED);
        wake_keeper(flash);
    }
}

// Whether the buffer takes records of the stream. Of a page that is given up nothing would be read.
static bool is_open_for(const struct flash *flash, const struct flash_buffer *buffer, int bucket) {
    return SHARED_LOAD(buffer->state) == FLASH_BUFFER_FILLING
           && SHARED_LOAD(buffer->bucket) == bucket
           && !(SHARED_LOAD(buffer->fill) & FLASH_FILL_CLOSED)
           && SHARED_LOAD(flash->pages[SHARED_LOAD(buffer->page)].state) == FLASH_PAGE_OPEN;
}

// The buffer of the stream that was begun first, of those that take records; UINT32_MAX for none.
static uint32_t oldest_open(const struct flash *flash, int bucket) {
    uint32_t oldest = UINT32_MAX;
    uint64_t begun = UINT64_MAX;
    for (uint32_t number = 0; number < flash->root->buffer_count; number++) {
        const struct flash_buffer *buffer = &flash->buffers[number];
        if (is_open_for(flash, buffer, bucket) && SHARED_LOAD(buffer->begun) < begun) {
            begun = SHARED_LOAD(buffer->begun);
            oldest = number;
        }
    }
    return oldest;
}

// Takes `bytes` of the buffer; false, with the buffer closed, when they do not fit.
static bool reserve(struct flash *flash, struct flash_buffer *buffer, int bucket, uint64_t bytes,
                    uint64_t *at_out) {
    uint64_t fill = SHARED_ACQUIRE(buffer->fill);
    for (uint32_t tries = 0; tries < RESERVE_TRIES; tries++) {
        // These belong to the use in `fill`, which the exchange compares.
        if ((fill & FLASH_FILL_CLOSED) || SHARED_LOAD(buffer->bucket) != bucket) {
            return false;
        }
        bool fits = flash_filled(fill) + bytes <= SHARED_LOAD(buffer->capacity);
        if (SHARED_CAS(buffer->fill, &fill, fits ? fill + bytes : fill | FLASH_FILL_CLOSED,
                       ACQ_REL)) {
            *at_out = flash_filled(fill);
            if (!fits) {
                wake_keeper(flash);
            }
            return fits;
        }
    }
    return false;
}

bool flash_has_room(struct flash *flash, struct proc *proc, int bucket) {
    uint32_t hint = flash_local(flash, proc->slot_index)->fill_hint[bucket];
    if (is_open_for(flash, &flash->buffers[hint], bucket)
        || oldest_open(flash, bucket) != UINT32_MAX) {
        return true;
    }
    want_buffer(flash, bucket);
    return false;
}

bool flash_place_take(struct flash *flash, struct proc *proc, int bucket, uint32_t bytes,
                      struct flash_place *out) {
    PYMC_CHECK(bytes > sizeof(struct flash_record) && bytes <= flash_record_bytes_max(flash));
    PYMC_DEBUG_CHECK(flash_local(flash, proc->slot_index)->filling == 0);
    struct flash_local *local = flash_local(flash, proc->slot_index);
    uint32_t number = local->fill_hint[bucket];
    for (uint32_t tries = 0; tries < TAKE_TRIES; tries++) {
        if (number >= flash->root->buffer_count) {
            break;
        }
        struct flash_buffer *buffer = &flash->buffers[number];
        // Who seals a buffer closes it first and looks at this then: it sees the name, or the
        // exchange the closing.
        SHARED_RELEASE(local->filling, number + 1);
        uint64_t at;
        // Of a page that is given up nothing will be read.
        bool is_useful =
            SHARED_LOAD(flash->pages[SHARED_LOAD(buffer->page)].state) == FLASH_PAGE_OPEN;
        if (is_useful && reserve(flash, buffer, bucket, flash_round_up(flash, bytes), &at)) {
            SHARED_STORE(local->fill_hint[bucket], number);
            *out = (struct flash_place){
                .memory = flash_buffer_memory(flash, number) + at,
                .page = buffer->page,
                .address = flash_address(flash, buffer->page, buffer->page_offset + at),
                .page_version = buffer->page_version};
            return true;
        }
        number = oldest_open(flash, bucket);
    }
    SHARED_RELEASE(local->filling, 0);
    want_buffer(flash, bucket);
    return false;
}

static void raise_order(struct flash_page *row, uint64_t order) {
    uint64_t known = SHARED_LOAD(row->newest_order);
    while (known < order && !SHARED_CAS(row->newest_order, &known, order, RELAXED)) {
    }
}

static void raise_expiry(struct flash_page *row, uint32_t expires_seconds) {
    uint32_t known = SHARED_LOAD(row->expires_seconds);
    while (known < expires_seconds
           && !SHARED_CAS(row->expires_seconds, &known, expires_seconds, RELAXED)) {
    }
}

void flash_place_fill(struct flash *flash, const struct flash_place *place, uint32_t bytes,
                      uint64_t order, uint32_t expiry_seconds) {
    struct flash_record *record = (struct flash_record *)place->memory;
    struct flash_page *row = &flash->pages[place->page];
    PYMC_CHECK(flash_record_bytes(record) == bytes);
    static const char padding[1 << FLASH_UNIT_SHIFT_MAX];
    SHARED_STORE(record->page_version, (uint32_t)place->page_version);
    SHARED_STORE(record->crc32c, crc32c(0, &record->sizes, bytes - sizeof record->crc32c));
    racy_write(place->memory + bytes, padding, flash_round_up(flash, bytes) - bytes);
    raise_order(row, order);
    raise_expiry(row, expiry_seconds ? expiry_seconds : UINT32_MAX);
    SHARED_ADD(row->objects_written, 1, RELEASE);
}

void flash_place_give(struct flash *flash, struct proc *proc) {
    SHARED_RELEASE(flash_local(flash, proc->slot_index)->filling, 0);
}

void flash_buffers_repair(struct flash *flash, uint32_t dead_slot_index) {
    SHARED_RELEASE(flash_local(flash, dead_slot_index)->filling, 0);
}

uint32_t flash_buffer_copy(const struct flash *flash, uint32_t page, uint64_t page_version,
                           uint64_t offset, uint32_t bytes, char *place) {
    // A page is closed when all its buffers are written.
    if (SHARED_LOAD(flash->pages[page].state) != FLASH_PAGE_OPEN) {
        return 0;
    }
    for (uint32_t number = 0; number < flash->root->buffer_count; number++) {
        const struct flash_buffer *buffer = &flash->buffers[number];
        uint64_t fill = SHARED_ACQUIRE(buffer->fill);
        // In this order: all that follows belongs to the use in `fill`, or that has changed in the
        // end.
        if (SHARED_ACQUIRE(buffer->state) == FLASH_BUFFER_FREE) {
            continue;
        }
        uint64_t at = offset - SHARED_LOAD(buffer->page_offset);
        uint64_t capacity = SHARED_LOAD(buffer->capacity);
        if (SHARED_LOAD(buffer->page) != page || SHARED_LOAD(buffer->page_version) != page_version
            || at >= capacity) {
            continue;
        }
        uint32_t copied = bytes < capacity - at ? bytes : (uint32_t)(capacity - at);
        uint64_t filled = flash_filled(fill) > at ? flash_filled(fill) - at : 0;
        uint32_t taken = copied < filled ? copied : (uint32_t)filled;
        racy_copy(place, flash_buffer_memory(flash, number) + at, taken);
        // What lies behind is of an earlier use.
        memset(place + taken, 0, copied - taken);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        bool is_same_use = (SHARED_LOAD(buffer->fill) ^ fill) >> FLASH_FILL_USE_SHIFT == 0;
        // It was freed meanwhile since it is on the device.
        return is_same_use ? copied : 0;
    }
    return 0;
}
