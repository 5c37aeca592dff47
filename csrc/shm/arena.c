// Creates and maps the arena, keeps its clock.
#define _GNU_SOURCE
#include "shm/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/arena_internal.h"
#include "shm/live_inline.h"
#include "shm/proc_internal.h"

static const int64_t live_start[] = {
#define LIVE(name, start) start,
#include "shm/live.def"
#undef LIVE
};

static int map_arena(struct arena *arena, uint64_t bytes, bool huge_pages) {
    arena->fd = -1;
    if (huge_pages) {
        arena->fd = memfd_create("pymc", MFD_CLOEXEC | MFD_HUGETLB);
    }
    bool explicit_huge = arena->fd >= 0;
    arena->base = MAP_FAILED;
    if (explicit_huge && ftruncate(arena->fd, (off_t)bytes) == 0) {
        // Without MAP_NORESERVE: a shortage of huge pages must show here, not as SIGBUS at the first touch.
        arena->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0);
    }
    if (arena->base == MAP_FAILED) {
        if (explicit_huge) {
            close(arena->fd);
        }
        arena->fd = memfd_create("pymc", MFD_CLOEXEC);
        if (arena->fd < 0) {
            return PYMC_OS_ERROR;
        }
        if (ftruncate(arena->fd, (off_t)bytes) != 0) {
            goto fail;
        }
        arena->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena->fd, 0);
        if (arena->base == MAP_FAILED) {
            goto fail;
        }
        arena->huge_pages = huge_pages && madvise(arena->base, bytes, MADV_HUGEPAGE) == 0;
    } else {
        arena->huge_pages = true;
    }
    // Core dumps of many gigabytes help nobody and hold up the replacement of a crashed worker.
    madvise(arena->base, bytes, MADV_DONTDUMP);
    return PYMC_OK;
fail:
    close(arena->fd);
    return PYMC_OS_ERROR;
}

int arena_create(const struct arena_options *options, struct arena **arena_out) {
    if (options->slots == 0 || options->slots > ARENA_SLOTS_MAX || options->reserve_bytes < (1u << 20)) {
        return PYMC_INVALID;
    }
    struct arena *arena = calloc(1, sizeof *arena);
    if (!arena) {
        return PYMC_NO_MEMORY;
    }
    uint64_t bytes = (options->reserve_bytes + (2u << 20) - 1) & ~(uint64_t)((2u << 20) - 1);
    int status = map_arena(arena, bytes, options->huge_pages);
    if (status != PYMC_OK) {
        free(arena);
        return status;
    }
    arena->bytes = bytes;
    struct arena_header *header = arena->header = (struct arena_header *)arena->base;
    header->layout = ARENA_LAYOUT;
    header->reserve_bytes = bytes;
    header->reserved_bytes = sizeof *header;
    header->boot_ns = options->boot_ns;
    header->boot_unix_seconds = options->boot_unix_seconds;
    header->cas = 1;
    for (int i = 0; i < LIVE_COUNT; i++) {
        header->live[i] = live_start[i];
    }
    status = slots_create(arena, options->slots);
    if (status != PYMC_OK) {
        arena_close(arena);
        return status;
    }
    header->magic = ARENA_MAGIC;
    *arena_out = arena;
    return PYMC_OK;
}

void arena_close(struct arena *arena) {
    if (!arena) {
        return;
    }
    munmap(arena->base, arena->bytes);
    close(arena->fd);
    free(arena);
}

bool arena_give_back(void *place, uint64_t bytes) {
    return madvise(place, bytes, MADV_REMOVE) == 0;
}

uint64_t arena_reserve(struct arena *arena, uint64_t bytes, uint64_t align) {
    struct arena_header *header = arena->header;
    uint64_t start = (header->reserved_bytes + align - 1) & ~(align - 1);
    if (start + bytes > arena->bytes || start + bytes < start) {
        return 0;
    }
    header->reserved_bytes = start + bytes;
    return start;
}

void arena_add_plain_lock(struct arena *arena, const uint64_t *word) {
    for (int i = 0; i < ARENA_PLAIN_LOCKS; i++) {
        if (arena->header->plain_locks[i] == 0) {
            arena->header->plain_locks[i] = (uint64_t)((const char *)word - arena->base);
            return;
        }
    }
    PYMC_CHECK(!"more plain locks than the arena header has room for");
}

bool arena_has_huge_pages(const struct arena *arena) {
    return arena->huge_pages;
}

int arena_lock_memory(struct arena *arena) {
    return mlock2(arena->base, arena->bytes, MLOCK_ONFAULT) == 0 ? PYMC_OK : PYMC_OS_ERROR;
}

void arena_prefault(struct arena *arena, uint64_t bytes) {
    uint64_t end = bytes < arena->bytes ? bytes : arena->bytes;
    for (uint64_t offset = 0; offset < end; offset += 4096) {
        __atomic_fetch_or((uint8_t *)arena->base + offset, 0, __ATOMIC_RELAXED);
    }
}

uint32_t arena_seconds(const struct arena *arena, uint64_t monotonic_ns) {
    const struct arena_header *header = arena->header;
    uint32_t frozen = SHARED_LOAD(header->clock_frozen_seconds);
    if (frozen) {
        return frozen;
    }
    int64_t seconds = (int64_t)((monotonic_ns - header->boot_ns) / 1000000000u) + 2
                      + SHARED_LOAD(header->clock_shift_seconds);
    return seconds < 2 ? 2 : (uint32_t)seconds;
}

uint64_t arena_ns_until_tick(const struct arena *arena, uint64_t monotonic_ns) {
    return 1000000000u - (monotonic_ns - arena->header->boot_ns) % 1000000000u;
}

int64_t arena_epoch_unix_seconds(const struct arena *arena) {
    return arena->header->boot_unix_seconds - 2;
}

void arena_clock_shift(struct arena *arena, int64_t delta_seconds) {
    uint32_t frozen = SHARED_LOAD(arena->header->clock_frozen_seconds);
    if (frozen) {
        SHARED_STORE(arena->header->clock_frozen_seconds, (uint32_t)(frozen + delta_seconds));
    }
    __atomic_fetch_add(&arena->header->clock_shift_seconds, delta_seconds, __ATOMIC_RELAXED);
}

void arena_clock_freeze(struct arena *arena, uint32_t frozen_seconds) {
    SHARED_STORE(arena->header->clock_frozen_seconds, frozen_seconds);
}

uint64_t arena_cas_read(const struct arena *arena) {
    return SHARED_LOAD(arena->header->cas);
}

uint32_t arena_flush_seconds(const struct arena *arena) {
    uint32_t at_once = SHARED_LOAD(arena->header->flush_seconds);
    uint32_t scheduled = SHARED_LOAD(arena->header->flush_before_seconds);
    return at_once > scheduled ? at_once : scheduled;
}
