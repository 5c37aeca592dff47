// The counter enumeration, made from counters.def.
#pragma once

enum counter {
#define COUNTER(name) COUNTER_##name,
#define GAUGE(name) COUNTER_##name,
#include "shm/counters.def"
#undef COUNTER
#undef GAUGE
    COUNTER_COUNT
};
