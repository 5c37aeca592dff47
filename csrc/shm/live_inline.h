// The enumeration of live settings, made from live.def, and their fast reader.
#pragma once

#include "shm/arena_inline.h"

enum live {
#define LIVE(name, start) LIVE_##name,
#include "shm/live.def"
#undef LIVE
    LIVE_COUNT
};
_Static_assert(LIVE_COUNT <= ARENA_LIVE_MAX,
               "the arena header has no room for so many live settings");

static inline int64_t live_get(const struct arena *arena, enum live setting) {
    return SHARED_LOAD(arena->header->live[setting]);
}
