// Reads that the device does not answer in time: who waits for them goes on, what they hold waits
// for the device.
#include <stdio.h>

#include "flash/flash_readings_inline.h"
#include "shm/live_inline.h"

// Whoever comes later than this to a deadline stood still itself, and gives the device this time.
#define SPARE_US 100000
// A path that becomes late again and again is logged once in this time.
#define LOG_INTERVAL_US 60000000

static uint64_t due_us_of(const struct flash_reader *reader, uint32_t number) {
    const struct flash_reading *oldest = reader->paths[number].oldest;
    uint64_t at_device_us = SHARED_LOAD(oldest->at_device_us);
    uint64_t begun_us = at_device_us ? at_device_us : oldest->begun_us;
    uint64_t due_us =
        begun_us + (uint64_t)live_get(reader->flash->arena, LIVE_ext_read_timeout_ms) * 1000;
    return begun_us <= reader->spared_us && due_us < reader->spared_until_us
               ? reader->spared_until_us
               : due_us;
}

uint64_t flash_reader_due_us(const struct flash_reader *reader) {
    uint64_t first_us = UINT64_MAX;
    for (uint64_t bits = reader->timed_paths; bits; bits &= bits - 1) {
        uint64_t due_us = due_us_of(reader, (uint32_t)__builtin_ctzll(bits));
        first_us = due_us < first_us ? due_us : first_us;
    }
    return first_us;
}

// The device does not have it, or not any more; who holds it may go on doing so.
static void let_go(struct flash_reader *reader, struct flash_reading *reading) {
    if (reading->seen.holds == 0) {
        flash_reading_free(reader, reading);
    } else {
        flash_reading_give_memory(reader, reading);
    }
}

// The read is done for all who wait for it or hold it, without its bytes.
static void end_late(struct flash_reader *reader, struct flash_reading *reading,
                     struct flash_chain *woken) {
    table_drop(reader, reading);
    answer(reading, FLASH_READ_LATE);
    while (!ring_is_empty(&reading->waiters)) {
        wake(woken, reading->waiters.next);
    }
}

static void give_up(struct flash_reader *reader, struct flash_reading *reading,
                    struct flash_chain *woken) {
    struct flash_reader_path *path = &reader->paths[reading->path];
    timed_drop(reader, reading);
    reading->is_given_up = true;
    reader->given_up++;
    path->given_up++;
    path->given_up_bytes += flash_memory_charge(reading->bytes);
    SHARED_ADD(reader->flash->paths[reading->path].late_reads, 1, RELAXED);
    end_late(reader, reading, woken);
}

// The device is done with a read that was given up.
void flash_reader_take_back(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_reader_path *path = &reader->paths[reading->path];
    reading->is_given_up = false;
    reader->given_up--;
    path->given_up--;
    path->given_up_bytes -= flash_memory_charge(reading->bytes);
    let_go(reader, reading);
}

void flash_reader_cancel(struct flash_reader *reader, struct flash_reading *reading,
                         struct flash_chain *woken) {
    reader->under_way--;
    reader->paths[reading->path].under_way--;
    timed_drop(reader, reading);
    end_late(reader, reading, woken);
    let_go(reader, reading);
}

static void give_up_queued(struct flash_reader *reader, uint32_t number,
                           struct flash_chain *woken) {
    struct flash_reader_path *path = &reader->paths[number];
    while (path->queue_first) {
        struct flash_reading *reading = dequeue(reader, path);
        end_late(reader, reading, woken);
        let_go(reader, reading);
    }
}

static void mark_late(struct flash_reader *reader, uint32_t number, uint64_t now_us) {
    struct flash_reader_path *path = &reader->paths[number];
    bool is_logged_lately = path->was_logged && now_us - path->logged_us < LOG_INTERVAL_US;
    if (!flash_path_set_late(reader->flash, number, true) || is_logged_lately) {
        return;
    }
    char text[LOG_LINE_BYTES_MAX];
    int bytes = snprintf(
        text, sizeof text,
        "pymc: flash: %s: a read was not answered within %lld ms: what is there counts as missing "
        "until the device answers again",
        reader->flash->names[number],
        (long long)live_get(reader->flash->arena, LIVE_ext_read_timeout_ms));
    log_line(reader->log, text, bytes < (int)sizeof text ? (uint32_t)bytes : sizeof text - 1);
    path->was_logged = true;
    path->logged_us = now_us;
}

// Gives up all reads of the path that have met their deadline, and what waits behind them.
static void give_up_of(struct flash_reader *reader, uint32_t number, uint64_t now_us,
                       struct flash_chain *woken) {
    struct flash_reader_path *path = &reader->paths[number];
    if (!SHARED_LOAD(path->oldest->at_device_us)) {
        path->oldest->begun_us = now_us;    // It waits for others, whose time counts.
        return;
    }
    do {
        give_up(reader, path->oldest, woken);
    } while (path->oldest && SHARED_LOAD(path->oldest->at_device_us)
             && due_us_of(reader, number) <= now_us);
    mark_late(reader, number, now_us);
    reader->back->cancel(reader, number, woken);
    give_up_queued(reader, number, woken);
}

void flash_reader_give_up(struct flash_reader *reader, uint64_t due_us, uint64_t now_us,
                          struct flash_chain *woken) {
    if (now_us - due_us > SPARE_US && due_us > reader->spared_until_us) {
        // This process stood still, and so may have what reads for it.
        reader->spared_us = now_us;
        reader->spared_until_us = now_us + SPARE_US;
        return;
    }
    for (uint64_t bits = reader->timed_paths; bits; bits &= bits - 1) {
        uint32_t number = (uint32_t)__builtin_ctzll(bits);
        if (due_us_of(reader, number) <= now_us) {
            give_up_of(reader, number, now_us, woken);
        }
    }
}

void flash_reader_give_up_queued(struct flash_reader *reader, struct flash_chain *woken) {
    for (uint64_t bits = reader->queued_paths; bits; bits &= bits - 1) {
        uint32_t number = (uint32_t)__builtin_ctzll(bits);
        if (is_late(reader, number)) {
            give_up_queued(reader, number, woken);
        }
    }
}
