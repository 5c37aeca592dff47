// Creates and maps the arena, keeps its clock.
#include "shm/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/arena_inline.h"
#include "shm/proc_internal.h"

#define ARENA_MAGIC 0x3130636d79700a1aull
#define ARENA_LAYOUT 3
#define NS_PER_SECOND 1000000000

static const int64_t live_start[] = {
#define LIVE(name, start) start,
#include "generated/live.def"
#undef LIVE
};

// Without MAP_NORESERVE: a shortage of huge pages must show here, not as SIGBUS at the first touch.
static bool map_hugetlb(struct arena *arena, uint64_t bytes) {
    arena->fd = memfd_create("pymc", MFD_CLOEXEC | MFD_HUGETLB);
    if (arena->fd < 0) {
        return false;
    }
    arena->base = MAP_FAILED;
    if (ftruncate(arena->fd, (off_t)bytes) == 0) {
        arena->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0);
    }
    if (arena->base == MAP_FAILED) {
        close(arena->fd);
        arena->fd = -1;
        return false;
    }
    arena->is_hugetlb = true;
    return true;
}

// Maps the object at a multiple of the huge page's size: elsewhere no page of it could ever be a
// huge one.
static bool map_aligned(struct arena *arena, uint64_t bytes) {
    uint64_t room_bytes = bytes + ARENA_HUGE_PAGE_BYTES;
    char *room =
        mmap(NULL, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) {
        return false;
    }
    uint64_t skipped = -(uintptr_t)room & (ARENA_HUGE_PAGE_BYTES - 1);
    if (skipped) {
        munmap(room, skipped);
    }
    munmap(room + skipped + bytes, ARENA_HUGE_PAGE_BYTES - skipped);
    int flags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED | (arena->fd < 0 ? MAP_ANONYMOUS : 0);
    arena->base = mmap(room + skipped, bytes, PROT_READ | PROT_WRITE, flags, arena->fd, 0);
    if (arena->base == MAP_FAILED) {
        int error = errno;
        munmap(room + skipped, bytes);
        errno = error;
        return false;
    }
    return true;
}

static int map_arena(struct arena *arena, uint64_t bytes, bool huge_pages) {
    if (!(huge_pages && map_hugetlb(arena, bytes))) {
        arena->fd = memfd_create("pymc", MFD_CLOEXEC);
        // RLIMIT_FSIZE is meant for files on disks; memory that has no descriptor does not meet it.
        if (arena->fd >= 0 && ftruncate(arena->fd, (off_t)bytes) != 0) {
            close(arena->fd);
            arena->fd = -1;
        }
        if (!map_aligned(arena, bytes)) {
            if (arena->fd >= 0) {
                close(arena->fd);
            }
            return PYMC_OS_ERROR;
        }
        if (huge_pages) {
            // Where the system is set to `advise`, first touches bring huge pages then.
            madvise(arena->base, bytes, MADV_HUGEPAGE);
        }
    }
    // Core dumps of many gigabytes help nobody and hold up the replacement of a crashed worker.
    madvise(arena->base, bytes, MADV_DONTDUMP);
    return PYMC_OK;
}

int arena_create(const struct arena_options *options, struct arena **arena_out) {
    if (options->slots == 0 || options->slots > ARENA_SLOTS_MAX
        || options->reserve_bytes < (1u << 20)) {
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
    arena_reserve(arena, sizeof *header, 1, "header");
    header->boot_ns = options->boot_ns;
    header->boot_unix_seconds = options->boot_unix_seconds;
    header->hash_seed = options->hash_seed;
    header->order = 1;
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
    if (arena->fd >= 0) {
        close(arena->fd);
    }
    free(arena);
}

bool arena_give_back(void *place, uint64_t bytes) {
    return madvise(place, bytes, MADV_REMOVE) == 0;
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

bool arena_is_hugetlb(const struct arena *arena) {
    return arena->is_hugetlb;
}

uint64_t arena_address(const struct arena *arena) {
    return (uintptr_t)arena->base;
}

int arena_lock_memory(struct arena *arena) {
    return mlock2(arena->base, arena->bytes, MLOCK_ONFAULT) == 0 ? PYMC_OK : PYMC_OS_ERROR;
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

// So far the two clocks may be apart before that counts as a step: the second at which they meet
// shall not flicker.
#define WALL_SLACK_NS 100000000

int64_t arena_epoch_unix_seconds(const struct arena *arena) {
    return SHARED_LOAD(arena->header->boot_unix_seconds) - 2;
}

void arena_clock_set_wall(struct arena *arena, uint64_t monotonic_ns, uint64_t wall_ns) {
    int64_t boot_wall_ns = (int64_t)wall_ns - (int64_t)(monotonic_ns - arena->header->boot_ns);
    int64_t beyond_ns =
        boot_wall_ns - SHARED_LOAD(arena->header->boot_unix_seconds) * NS_PER_SECOND;
    if (beyond_ns < -WALL_SLACK_NS || beyond_ns >= NS_PER_SECOND + WALL_SLACK_NS) {
        // Rounded down also below 0, where a division rounds up.
        int64_t seconds = boot_wall_ns / NS_PER_SECOND - (boot_wall_ns % NS_PER_SECOND < 0);
        SHARED_STORE(arena->header->boot_unix_seconds, seconds);
    }
}

void arena_clock_shift(struct arena *arena, int64_t delta_seconds) {
    uint32_t frozen = SHARED_LOAD(arena->header->clock_frozen_seconds);
    if (frozen) {
        SHARED_STORE(arena->header->clock_frozen_seconds, (uint32_t)(frozen + delta_seconds));
    }
    SHARED_ADD(arena->header->clock_shift_seconds, delta_seconds, RELAXED);
}

void arena_clock_freeze(struct arena *arena, uint32_t frozen_seconds) {
    SHARED_STORE(arena->header->clock_frozen_seconds, frozen_seconds);
}

uint32_t arena_flush_seconds(const struct arena *arena) {
    return SHARED_LOAD(arena->header->flush_seconds);
}
