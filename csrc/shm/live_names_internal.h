// The live settings by number, in the order of their rows in pymc/config.
#pragma once

// The build makes generated/live.def from those rows: LIVE(name, value at start).
enum live {
#define LIVE(name, start) LIVE_##name,
#include "generated/live.def"
#undef LIVE
    LIVE_COUNT
};
