// What this room counts itself. The meter's enumeration, which has the rows of all rooms, goes on
// behind it.
#pragma once

enum shm_counter {
#define COUNTER(name, ...) COUNTER_##name,
#define PEAK(name, ...) COUNTER_##name,
#include "shm/counters.def"
#undef COUNTER
#undef PEAK
    SHM_COUNTER_COUNT
};
