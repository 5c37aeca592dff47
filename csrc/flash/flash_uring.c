// Reads by io_uring: what a turn began is one system call, and its ends are collected from shared
// memory.
#include <errno.h>
#include <liburing.h>

#include "flash/flash_clock_inline.h"
#include "flash/flash_reader_internal.h"

// In an entry's user data, beside the reading's address.
#define TIMER 1ull

// How often more deferred work is looked for in one go.
#define ROUNDS_MAX 4

struct flash_uring {
    struct io_uring ring;
    bool has_files;
    bool has_memory;
#ifdef PYMC_DEBUG
    struct flash_reading *held_by_test;    // By a fault: not handed over.
#endif
};

// From the best to what any kernel takes. Deferred work runs when this thread asks for it, not as
// an interruption of whatever it waits in; the eventfd still tells of it at once.
static const unsigned setup_flags[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

static int ring_open(struct io_uring *ring, uint32_t depth) {
    int status = -EINVAL;
    for (uint32_t i = 0; i < sizeof(setup_flags) / sizeof(*setup_flags) && status == -EINVAL; i++) {
        status = io_uring_queue_init(depth, ring, setup_flags[i]);
    }
    return status;
}

static int uring_open(struct flash_reader *reader, const struct flash_reader_options *options) {
    (void)options;
    struct flash_uring *uring = calloc(1, sizeof(*uring));
    if (uring == NULL) {
        return PYMC_NO_MEMORY;
    }
    int status = ring_open(&uring->ring, reader->depth * reader->flash->root->path_count);
    if (status == 0 && (status = io_uring_register_eventfd(&uring->ring, reader->event_fd)) != 0) {
        io_uring_queue_exit(&uring->ring);
    }
    if (status != 0) {
        free(uring);
        errno = -status;
        return PYMC_OS_ERROR;
    }
    // Each spares the kernel a look-up per read; where limits forbid it, reads work without.
    uring->has_files =
        io_uring_register_files(&uring->ring, reader->flash->fds, reader->flash->root->path_count)
        == 0;
    struct iovec memory = {.iov_base = reader->memory.base, .iov_len = reader->memory.bytes};
    uring->has_memory = io_uring_register_buffers(&uring->ring, &memory, 1) == 0;
    io_uring_register_ring_fd(&uring->ring);
    reader->uring = uring;
    return PYMC_OK;
}

static void hand_over(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_uring *uring = reader->uring;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    // Never more are under way than the ring has entries, but for the timers of debug builds.
    PYMC_CHECK(sqe != NULL);
    int fd = uring->has_files ? reading->path : reader->flash->fds[reading->path];
    if (uring->has_memory && flash_memory_has(&reader->memory, reading->memory)) {
        io_uring_prep_read_fixed(sqe, fd, reading->memory, reading->bytes, reading->file_offset, 0);
    } else {
        io_uring_prep_read(sqe, fd, reading->memory, reading->bytes, reading->file_offset);
    }
    if (uring->has_files) {
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    }
    io_uring_sqe_set_data(sqe, reading);
}

static void uring_submit(struct flash_reader *reader) {
    struct io_uring *ring = &reader->uring->ring;
    int status;
    do {
        status = io_uring_submit(ring);
    } while (status == -EINTR || (status > 0 && io_uring_sq_ready(ring) > 0));
    reader->unsubmitted = io_uring_sq_ready(ring);
    if (UNLIKELY(reader->unsubmitted > 0)) {
        // The kernel is out of memory: try again in the next turn.
        PYMC_CHECK(status == 0 || status == -EAGAIN || status == -EBUSY || status == -ENOMEM);
        flash_reader_signal(reader);
    }
}

#ifdef PYMC_DEBUG
static void uring_start(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_uring *uring = reader->uring;
    if (flash_fault_meets_hang(reader->flash, reading->path)) {
        reading->next = uring->held_by_test;
        uring->held_by_test = reading;
        return;
    }
    hand_over(reader, reading);
}

static bool has_reads_held_by_test(const struct flash_reader *reader) {
    return reader->uring->held_by_test != NULL;
}

// Whether the fault is over that some reads hang by.
static bool has_released(const struct flash_reader *reader) {
    return has_reads_held_by_test(reader) && !flash_fault_is_hang(reader->flash);
}

static void release_reads_held_by_test(struct flash_reader *reader) {
    struct flash_uring *uring = reader->uring;
    if (!has_released(reader)) {
        return;
    }
    while (uring->held_by_test) {
        struct flash_reading *reading = uring->held_by_test;
        uring->held_by_test = reading->next;
        hand_over(reader, reading);
    }
    uring_submit(reader);
}
#else
static void uring_start(struct flash_reader *reader, struct flash_reading *reading) {
    hand_over(reader, reading);
}
static bool has_reads_held_by_test(const struct flash_reader *reader) {
    (void)reader;
    return false;
}
static bool has_released(const struct flash_reader *reader) {
    (void)reader;
    return false;
}
static void release_reads_held_by_test(struct flash_reader *reader) {
    (void)reader;
}
#endif

// All of them are at the kernel.
static void uring_cancel(struct flash_reader *reader, uint32_t path, struct flash_chain *woken) {
    (void)reader, (void)path, (void)woken;
}

#ifdef PYMC_DEBUG
// A slow read keeps its end to itself until a timer on the ring goes off.
static bool is_delayed(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_root *root = reader->flash->root;
    const struct flash_fault *fault = &root->fault;
    if (SHARED_LOAD(fault->kind) != FLASH_FAULT_SLOW || !fault->on_reads
        || (fault->path != FLASH_PATHS_MAX && fault->path != reading->path)) {
        return false;
    }
    uint32_t seen = SHARED_ADD(root->fault_seen, 1, RELAXED) - 1;
    if (seen < fault->skip || (fault->count > 0 && seen - fault->skip >= fault->count)) {
        return false;
    }
    struct io_uring *ring = &reader->uring->ring;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (sqe == NULL) {
        return false;
    }
    struct __kernel_timespec wait = {.tv_sec = fault->slow_us / 1000000,
                                     .tv_nsec = (long long)(fault->slow_us % 1000000) * 1000};
    io_uring_prep_timeout(sqe, &wait, 0, 0);
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)reading | TIMER);
    // The kernel copies the time while it takes the entry.
    io_uring_submit(ring);
    return true;
}

static int64_t faulted(struct flash_reader *reader, struct flash_reading *reading, int64_t result) {
    int kind = SHARED_LOAD(reader->flash->root->fault.kind);
    if (kind == FLASH_FAULT_SLOW || kind == FLASH_FAULT_HANG) {
        return result;
    }
    return flash_fault_apply(reader->flash, reading->path, false, reading->memory, result);
}
#else
static bool is_delayed(struct flash_reader *reader, struct flash_reading *reading) {
    return false;
}
static int64_t faulted(struct flash_reader *reader, struct flash_reading *reading, int64_t result) {
    return result;
}
#endif

static bool has_work(const struct io_uring *ring) {
    return IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

// Posts the ends of reads that the kernel deferred, without saying so by the descriptor once more.
static void run_deferred(struct flash_reader *reader) {
    struct io_uring *ring = &reader->uring->ring;
    for (uint32_t round = 0; round < ROUNDS_MAX && has_work(ring); round++) {
        io_uring_cq_eventfd_toggle(ring, false);
        io_uring_get_events(ring);
        io_uring_cq_eventfd_toggle(ring, true);
        // What came while the descriptor was silent shows in the flags now.
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    if (UNLIKELY(has_work(ring))) {
        flash_reader_signal(reader);
    }
}

static void uring_collect(struct flash_reader *reader, struct flash_chain *woken) {
    struct io_uring *ring = &reader->uring->ring;
    release_reads_held_by_test(reader);
    run_deferred(reader);
    uint64_t now_us = 0;
    uint32_t collected = 0;
    uint32_t head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(ring, head, cqe) {
        struct flash_reading *reading =
            (struct flash_reading *)(uintptr_t)(cqe->user_data & ~TIMER);
        collected++;
        if (LIKELY(!(cqe->user_data & TIMER))) {
            reading->result = faulted(reader, reading, cqe->res);
            if (is_delayed(reader, reading)) {
                continue;
            }
        }
        now_us = now_us ? now_us : flash_now_us();
        flash_reader_complete(reader, reading, reading->result, now_us, woken);
    }
    io_uring_cq_advance(ring, collected);
}

static bool uring_has_done(const struct flash_reader *reader) {
    const struct io_uring *ring = &reader->uring->ring;
    return io_uring_cq_ready(ring) > 0 || has_work(ring) || has_released(reader);
}

static bool uring_close(struct flash_reader *reader) {
    struct io_uring *ring = &reader->uring->ring;
    if (has_reads_held_by_test(reader)) {
        return false;
    }
    // Ends of reads, of which the kernel knows nothing any more.
    uint32_t submitted = reader->under_way - reader->unsubmitted;
    uint64_t now_us = flash_now_us();
    uint64_t end_us = now_us + FLASH_READER_CLOSE_US;
    while (submitted > reader->given_up && now_us < end_us) {
        struct __kernel_timespec left = {.tv_nsec = (long long)(end_us - now_us) * 1000};
        struct io_uring_cqe *cqe;
        if (io_uring_wait_cqe_timeout(ring, &cqe, &left) == 0) {
            submitted--;
            io_uring_cqe_seen(ring, cqe);
        }
        now_us = flash_now_us();
    }
    if (submitted > 0) {
        return false;
    }
    io_uring_queue_exit(ring);
    free(reader->uring);
    return true;
}

static const struct flash_reader_back back = {
    .open = uring_open,
    .close = uring_close,
    .start = uring_start,
    .cancel = uring_cancel,
    .submit = uring_submit,
    .collect = uring_collect,
    .has_done = uring_has_done,
    .kind = FLASH_READER_URING,
};

const struct flash_reader_back *flash_uring_back(void) {
    return &back;
}
