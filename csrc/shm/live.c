// Names and access of the live settings.
#include "shm/live.h"

#include "base/check_inline.h"
#include "shm/live_inline.h"

static const char *const names[] = {
#define LIVE(name, start) #name,
#include "generated/live.def"
#undef LIVE
};

uint32_t live_count(void) {
    return LIVE_COUNT;
}

const char *live_name(uint32_t index) {
    return index < LIVE_COUNT ? names[index] : NULL;
}

int64_t live_read(const struct arena *arena, uint32_t index) {
    PYMC_CHECK(index < LIVE_COUNT);
    return live_get(arena, (enum live)index);
}

void live_write(struct arena *arena, uint32_t index, int64_t value) {
    PYMC_CHECK(index < LIVE_COUNT);
    SHARED_STORE(arena->header->live[index], value);
}
