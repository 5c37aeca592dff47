/* A device of a given write bandwidth, by LD_PRELOAD: each file of at least a megabyte is one, and
 * writes to it queue.
 *
 * SLOW_DEVICE_BYTES_PER_SECOND is the bandwidth of each file, SLOW_DEVICE_STATE a file of 4 KiB or
 * more in which all processes that write keep the queues. A write is done at once, and its caller
 * goes on when a device of that bandwidth, with one queue, would be done with it and with all that
 * was given to it before. Reads are not slowed. io_uring is refused, so that no write goes past
 * this: programs fall back to these calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DEVICES_MAX 64
#define FILE_BYTES_MIN (1 << 20)
#define NANOSECONDS 1000000000ull

/* One row of the state file. Its tests read it: tests/unit/bench/test_slow_device.py. */
struct device {
    uint64_t id;         /* 0: free. Of device and inode. */
    uint64_t free_at_ns; /* On the monotonic clock: when all writes so far are done. */
    uint64_t bytes;      /* Written so far. */
    uint64_t busy_ns;    /* What they took. */
};
_Static_assert(sizeof(struct device) * DEVICES_MAX <= 4096, "the state file is that small");

static struct device *devices;
static uint64_t bytes_per_second;

static void *next_symbol(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        abort();
    }
    return found;
}

/* Runs before main(), in each program; a fork inherits the mapping. */
__attribute__((constructor)) static void begin(void) {
    const char *rate = getenv("SLOW_DEVICE_BYTES_PER_SECOND");
    const char *path = getenv("SLOW_DEVICE_STATE");
    int file = rate && path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) {
        return;
    }
    void *place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place == MAP_FAILED) {
        return;
    }
    devices = place;
    bytes_per_second = strtoull(rate, NULL, 10);
}

static struct device *device_of(int file) {
    struct stat status;
    if (!devices || !bytes_per_second || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)
        || status.st_size < FILE_BYTES_MIN) {
        return NULL;
    }
    uint64_t id = (uint64_t)status.st_dev * 0x9e3779b97f4a7c15ull + status.st_ino;
    id += id == 0;
    for (unsigned i = 0; i < DEVICES_MAX; i++) {
        struct device *device = &devices[(id + i) % DEVICES_MAX];
        uint64_t seen = 0;
        if (__atomic_compare_exchange_n(&device->id, &seen, id, 0, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)
            || seen == id) {
            return device;
        }
    }
    return NULL;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

/* Queues so many bytes; returns when the device would be done with them. */
static void take_time(int file, ssize_t bytes) {
    int error = errno;
    struct device *device = bytes > 0 ? device_of(file) : NULL;
    if (device) {
        uint64_t takes_ns = (uint64_t)bytes * NANOSECONDS / bytes_per_second;
        uint64_t seen = __atomic_load_n(&device->free_at_ns, __ATOMIC_RELAXED);
        uint64_t done_ns;
        do {
            uint64_t now = now_ns();
            done_ns = (seen > now ? seen : now) + takes_ns;
        } while (!__atomic_compare_exchange_n(&device->free_at_ns, &seen, done_ns, 0,
                                              __ATOMIC_RELAXED, __ATOMIC_RELAXED));
        __atomic_fetch_add(&device->bytes, (uint64_t)bytes, __ATOMIC_RELAXED);
        __atomic_fetch_add(&device->busy_ns, takes_ns, __ATOMIC_RELAXED);
        struct timespec until = {.tv_sec = (time_t)(done_ns / NANOSECONDS),
                                 .tv_nsec = (long)(done_ns % NANOSECONDS)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
        }
    }
    errno = error;
}

/* Each way to write at a place: its name, its parameters, and the names of these. */
#define SLOWED(name, parameters, arguments)                                                        \
    ssize_t name parameters {                                                                      \
        static ssize_t(*next) parameters;                                                          \
        if (!__atomic_load_n(&next, __ATOMIC_RELAXED)) {                                           \
            __atomic_store_n(&next, next_symbol(#name), __ATOMIC_RELAXED);                         \
        }                                                                                          \
        ssize_t done = next arguments;                                                             \
        take_time(file, done);                                                                     \
        return done;                                                                               \
    }

SLOWED(pwrite, (int file, const void *from, size_t bytes, off_t offset),
       (file, from, bytes, offset))
SLOWED(pwrite64, (int file, const void *from, size_t bytes, off64_t offset),
       (file, from, bytes, offset))
SLOWED(pwritev, (int file, const struct iovec *from, int count, off_t offset),
       (file, from, count, offset))
SLOWED(pwritev64, (int file, const struct iovec *from, int count, off64_t offset),
       (file, from, count, offset))
SLOWED(pwritev2, (int file, const struct iovec *from, int count, off_t offset, int flags),
       (file, from, count, offset, flags))
SLOWED(pwritev64v2, (int file, const struct iovec *from, int count, off64_t offset, int flags),
       (file, from, count, offset, flags))

/* liburing's ways to make a ring. */
struct io_uring;
struct io_uring_params;
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags) {
    (void)entries, (void)ring, (void)flags;
    return -ENOSYS;
}
int io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                               struct io_uring_params *params);
int io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                               struct io_uring_params *params) {
    (void)entries, (void)ring, (void)params;
    return -ENOSYS;
}
