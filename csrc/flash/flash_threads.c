// Reads by a few threads, for kernels or sandboxes without io_uring. The threads do the I/O and
// nothing else.
//
// Each path has threads of its own, so that a path that does not answer keeps no others.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "flash/flash_clock_inline.h"
#include "flash/flash_reader_internal.h"

#define THREADS_MAX 64
// Of all paths.
#define THREADS_TOTAL_MAX 256

// What the threads of a path read.
struct flash_thread_queue {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct flash_reading *first;    // To be read; behind the mutex, as all here but what says
                                    // otherwise.
    struct flash_reading **end;
    bool is_closing;
    struct flash_reading *started;    // The table's thread only: begun, not handed over.
    struct flash_reading **started_end;
    struct flash_threads *threads;    // Never changes.
};

struct flash_threads {
    pthread_mutex_t mutex;    // Of what is done and who is there.
    pthread_cond_t exits;
    struct flash_reading *done_first;
    struct flash_reading **done_end;
    uint32_t alive;
    uint32_t has_done;    // Atomic.
    struct flash *flash;
    int event_fd;
    uint32_t queue_count;
    uint32_t count;
    struct flash_thread_queue *queues;    // One per path.
    pthread_t *threads;
};

static void read_one(struct flash_threads *threads, struct flash_reading *reading) {
    int status = flash_io(threads->flash, reading->seen.page, reading->page_offset, reading->memory,
                          reading->bytes, false, NULL);
    reading->result = status == PYMC_OK ? (int64_t)reading->bytes : -errno;
}

static void hand_back(struct flash_threads *threads, struct flash_reading *reading) {
    pthread_mutex_lock(&threads->mutex);
    bool is_first = threads->done_first == NULL;
    reading->next = NULL;
    *threads->done_end = reading;
    threads->done_end = &reading->next;
    SHARED_RELEASE(threads->has_done, 1);
    if (is_first) {
        uint64_t one = 1;
        ssize_t written = write(threads->event_fd, &one, sizeof(one));
        (void)written;
    }
    pthread_mutex_unlock(&threads->mutex);
}

// The next reading, from now on at the device; NULL at the end.
static struct flash_reading *take(struct flash_thread_queue *queue) {
    pthread_mutex_lock(&queue->mutex);
    while (queue->first == NULL && !queue->is_closing) {
        pthread_cond_wait(&queue->work, &queue->mutex);
    }
    struct flash_reading *reading = queue->is_closing ? NULL : queue->first;
    if (reading) {
        queue->first = reading->next;
        if (queue->first == NULL) {
            queue->end = &queue->first;
        }
        SHARED_STORE(reading->at_device_us, flash_now_us());
    }
    pthread_mutex_unlock(&queue->mutex);
    return reading;
}

static void *thread_run(void *context) {
    struct flash_thread_queue *queue = context;
    struct flash_threads *threads = queue->threads;
    struct flash_reading *reading;
    while ((reading = take(queue)) != NULL) {
        read_one(threads, reading);
        hand_back(threads, reading);
    }
    pthread_mutex_lock(&threads->mutex);
    threads->alive--;
    pthread_cond_signal(&threads->exits);
    pthread_mutex_unlock(&threads->mutex);
    return NULL;
}

// Waits until no threads are left but those that hang. Returns how many they are.
static uint32_t wait_for_exits(struct flash_threads *threads, uint32_t hanging) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t end_ns = (uint64_t)end.tv_nsec + FLASH_READER_CLOSE_US * 1000ull;
    end.tv_sec += (time_t)(end_ns / 1000000000);
    end.tv_nsec = (long)(end_ns % 1000000000);
    int status = 0;
    pthread_mutex_lock(&threads->mutex);
    while (threads->alive > hanging && status == 0) {
        status = pthread_cond_clockwait(&threads->exits, &threads->mutex, CLOCK_MONOTONIC, &end);
    }
    uint32_t left = threads->alive;
    pthread_mutex_unlock(&threads->mutex);
    return left;
}

static void threads_free(struct flash_threads *threads) {
    for (uint32_t i = 0; i < threads->count; i++) {
        pthread_join(threads->threads[i], NULL);
    }
    for (uint32_t i = 0; i < threads->queue_count; i++) {
        pthread_cond_destroy(&threads->queues[i].work);
        pthread_mutex_destroy(&threads->queues[i].mutex);
    }
    pthread_cond_destroy(&threads->exits);
    pthread_mutex_destroy(&threads->mutex);
    free(threads->queues);
    free(threads->threads);
    free(threads);
}

static bool threads_close(struct flash_reader *reader) {
    struct flash_threads *threads = reader->threads;
    for (uint32_t i = 0; i < threads->queue_count; i++) {
        struct flash_thread_queue *queue = &threads->queues[i];
        pthread_mutex_lock(&queue->mutex);
        queue->is_closing = true;
        pthread_cond_broadcast(&queue->work);
        pthread_mutex_unlock(&queue->mutex);
    }
    // What was given up has a thread each: what no thread had begun was cancelled.
    if (wait_for_exits(threads, reader->given_up) > 0) {
        return false;
    }
    threads_free(threads);
    return true;
}

static struct flash_threads *threads_make(struct flash_reader *reader, uint32_t per_path) {
    uint32_t paths = reader->flash->root->path_count;
    struct flash_threads *threads = calloc(1, sizeof(*threads));
    if (threads == NULL) {
        return NULL;
    }
    threads->queues = calloc(paths, sizeof(*threads->queues));
    threads->threads = calloc((size_t)paths * per_path, sizeof(*threads->threads));
    if (threads->queues == NULL || threads->threads == NULL) {
        free(threads->queues);
        free(threads->threads);
        free(threads);
        return NULL;
    }
    threads->done_end = &threads->done_first;
    threads->flash = reader->flash;
    threads->event_fd = reader->event_fd;
    threads->queue_count = paths;
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->exits, NULL);
    for (uint32_t i = 0; i < paths; i++) {
        struct flash_thread_queue *queue = &threads->queues[i];
        queue->end = &queue->first;
        queue->started_end = &queue->started;
        queue->threads = threads;
        pthread_mutex_init(&queue->mutex, NULL);
        pthread_cond_init(&queue->work, NULL);
    }
    return threads;
}

static int thread_begin(struct flash_threads *threads, uint32_t path) {
    pthread_mutex_lock(&threads->mutex);
    threads->alive++;
    pthread_mutex_unlock(&threads->mutex);
    int error =
        pthread_create(&threads->threads[threads->count], NULL, thread_run, &threads->queues[path]);
    if (error != 0) {
        pthread_mutex_lock(&threads->mutex);
        threads->alive--;
        pthread_mutex_unlock(&threads->mutex);
        return error;
    }
    threads->count++;
    return 0;
}

static int threads_open(struct flash_reader *reader, const struct flash_reader_options *options) {
    uint32_t paths = reader->flash->root->path_count;
    uint32_t most =
        THREADS_TOTAL_MAX / paths < THREADS_MAX ? THREADS_TOTAL_MAX / paths : THREADS_MAX;
    uint32_t wanted = options->threads < most ? options->threads : most;
    wanted = wanted ? wanted : 1;
    struct flash_threads *threads = threads_make(reader, wanted);
    if (threads == NULL) {
        return PYMC_NO_MEMORY;
    }
    reader->threads = threads;
    // Signals are for the thread that runs the loop.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    // Each path gets its next one before any gets one more.
    while (threads->count < wanted * paths && error == 0) {
        error = thread_begin(threads, threads->count % paths);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    // Fewer threads than asked for are slower, no more; but each path needs one.
    if (threads->count < paths) {
        threads_close(reader);
        errno = error;
        return PYMC_OS_ERROR;
    }
    uint32_t fewest = threads->count / paths;
    reader->given_up_max = fewest < reader->depth ? fewest : reader->depth;
    return PYMC_OK;
}

static void threads_start(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_thread_queue *queue = &reader->threads->queues[reading->path];
    reading->at_device_us = 0;
    reading->next = NULL;
    *queue->started_end = reading;
    queue->started_end = &reading->next;
}

static void threads_submit(struct flash_reader *reader) {
    struct flash_threads *threads = reader->threads;
    for (uint32_t i = 0; i < threads->queue_count; i++) {
        struct flash_thread_queue *queue = &threads->queues[i];
        if (queue->started == NULL) {
            continue;
        }
        pthread_mutex_lock(&queue->mutex);
        *queue->end = queue->started;
        queue->end = queue->started_end;
        if (queue->started->next) {
            pthread_cond_broadcast(&queue->work);
        } else {
            pthread_cond_signal(&queue->work);
        }
        pthread_mutex_unlock(&queue->mutex);
        queue->started = NULL;
        queue->started_end = &queue->started;
    }
}

static void threads_cancel(struct flash_reader *reader, uint32_t path, struct flash_chain *woken) {
    struct flash_thread_queue *queue = &reader->threads->queues[path];
    pthread_mutex_lock(&queue->mutex);
    struct flash_reading *reading = queue->first;
    queue->first = NULL;
    queue->end = &queue->first;
    pthread_mutex_unlock(&queue->mutex);
    while (reading) {
        struct flash_reading *next = reading->next;
        flash_reader_cancel(reader, reading, woken);
        reading = next;
    }
}

static void threads_collect(struct flash_reader *reader, struct flash_chain *woken) {
    struct flash_threads *threads = reader->threads;
    if (!SHARED_ACQUIRE(threads->has_done)) {
        return;
    }
    pthread_mutex_lock(&threads->mutex);
    struct flash_reading *reading = threads->done_first;
    threads->done_first = NULL;
    threads->done_end = &threads->done_first;
    SHARED_STORE(threads->has_done, 0);
    pthread_mutex_unlock(&threads->mutex);
    uint64_t now_us = flash_now_us();
    while (reading) {
        // Completing it may put it on the free list.
        struct flash_reading *next = reading->next;
        flash_reader_complete(reader, reading, reading->result, now_us, woken);
        reading = next;
    }
}

static bool threads_has_done(const struct flash_reader *reader) {
    return SHARED_ACQUIRE(reader->threads->has_done) != 0;
}

static const struct flash_reader_back back = {
    .open = threads_open,
    .close = threads_close,
    .start = threads_start,
    .cancel = threads_cancel,
    .submit = threads_submit,
    .collect = threads_collect,
    .has_done = threads_has_done,
    .kind = FLASH_READER_THREADS,
    .uses_flash_io = true,
};

const struct flash_reader_back *flash_threads_back(void) {
    return &back;
}
