// The fast reader of live settings.
#pragma once

#include "shm/arena_internal.h"

static inline int64_t live_get(const struct arena *arena, enum live setting) {
    return SHARED_LOAD(arena->header->live[setting]);
}
