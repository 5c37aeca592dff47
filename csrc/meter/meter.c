// The rows of all counters as tables, and the counters of one process.
#include "meter/meter.h"

#include <stddef.h>

#include "meter/meter_inline.h"

#define ROW(name, unit, shown, help, kind) {#name, unit, shown, help, kind},

static const struct meter_row rows[] = {
#define COUNTER(name, unit, shown, help) ROW(name, unit, shown, help, METER_COUNTER)
#define PEAK(name, unit, shown, help) ROW(name, unit, shown, help, METER_PEAK)
#include "shm/counters.def"
#define GAUGE(name, unit, shown, help) ROW(name, unit, shown, help, METER_GAUGE)
#define PROCESS_GAUGE(name, unit, shown, help) ROW(name, unit, shown, help, METER_PROCESS_GAUGE)
#include "meter/rooms.def"
};

static const struct meter_row class_rows[] = {
#define CLASS_COUNTER(name, unit, shown, help) ROW(name, unit, shown, help, METER_COUNTER)
#define CLASS_GAUGE(name, unit, shown, help) ROW(name, unit, shown, help, METER_GAUGE)
#define CLASS_PEAK(name, unit, shown, help) ROW(name, unit, shown, help, METER_PEAK)
#include "meter/rooms.def"
};

_Static_assert(sizeof rows == COUNTER_COUNT * sizeof *rows, "a row of shm is of no known kind");

uint32_t meter_count(void) {
    return COUNTER_COUNT;
}

const struct meter_row *meter_row(uint32_t number) {
    return number < COUNTER_COUNT ? &rows[number] : NULL;
}

uint32_t meter_class_count(void) {
    return CLASS_COUNTER_COUNT;
}

const struct meter_row *meter_class_row(uint32_t number) {
    return number < CLASS_COUNTER_COUNT ? &class_rows[number] : NULL;
}

void meter_read(const struct arena *arena, uint32_t slot_index, uint64_t *values) {
    PYMC_CHECK(slot_index < arena->header->slots);
    const uint64_t *counters = slot_at(arena, slot_index)->counters;
    for (int i = 0; i < COUNTER_COUNT; i++) {
        values[i] = SHARED_LOAD(counters[i]);
    }
}

void meter_read_peaks(const struct arena *arena, uint64_t *values) {
    static const uint16_t peaks[] = {
#define COUNTER(...)
#define PEAK(name, ...) COUNTER_##name,
#include "shm/counters.def"
// That one first: this one ends the definitions.
#include "meter/rooms.def"
    };
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        values[peaks[i]] = 0;
        for (uint32_t slot = 0; slot < arena->header->slots; slot++) {
            uint64_t value = SHARED_LOAD(slot_at(arena, slot)->counters[peaks[i]]);
            values[peaks[i]] = value > values[peaks[i]] ? value : values[peaks[i]];
        }
    }
}

void meter_add(struct proc *proc, uint32_t number, uint64_t by) {
    PYMC_CHECK(number < COUNTER_COUNT);
    count(proc, number, by);
}

void meter_add_for(struct arena *arena, uint32_t slot_index, uint32_t number, uint64_t by) {
    PYMC_CHECK(slot_index < arena->header->slots && number < COUNTER_COUNT);
    uint64_t *counter = &slot_at(arena, slot_index)->counters[number];
    SHARED_STORE(*counter, *counter + by);
}

void meter_end_process(struct arena *arena, uint32_t slot_index) {
    static const uint16_t ended[] = {
#define PROCESS_GAUGE(name, ...) COUNTER_##name,
#include "meter/rooms.def"
    };
    uint64_t *counters = slot_at(arena, slot_index)->counters;
    for (size_t i = 0; i < sizeof ended / sizeof *ended; i++) {
        SHARED_STORE(counters[ended[i]], 0);
    }
}
