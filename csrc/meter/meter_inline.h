// The enumerations of counters: one kept per process, one per process and slab class.
#pragma once

#include "shm/proc_inline.h"

enum counter {
    COUNTER_LAST_OF_SHM = SHM_COUNTER_COUNT - 1,
#define COUNTER(name, ...) COUNTER_##name,
#define GAUGE(name, ...) COUNTER_##name,
#define PROCESS_GAUGE(name, ...) COUNTER_##name,
#define PEAK(name, ...) COUNTER_##name,
#include "meter/rooms.def"
    COUNTER_COUNT
};

enum class_counter {
#define CLASS_COUNTER(name, ...) CLASS_##name,
#define CLASS_GAUGE(name, ...) CLASS_##name,
#define CLASS_PEAK(name, ...) CLASS_##name,
#include "meter/rooms.def"
    CLASS_COUNTER_COUNT
};

_Static_assert(COUNTER_COUNT <= SLOT_COUNTERS_MAX, "raise SLOT_COUNTERS_MAX in proc_inline.h");
