// Reads by a few threads, for kernels or sandboxes without io_uring. The threads do the I/O and nothing else.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "flash/flash_clock_inline.h"
#include "flash/flash_reader_internal.h"

#define THREADS_MAX 64

struct flash_threads {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct flash_reading *first;        // To be read; behind the mutex, as all here but what says otherwise.
    struct flash_reading **end;
    struct flash_reading *done_first;
    struct flash_reading **done_end;
    bool is_closing;
    uint32_t has_done;                  // Atomic.
    struct flash_reading *started;      // The table's thread only: begun, not handed over.
    struct flash_reading **started_end;
    struct flash *flash;
    int event_fd;
    uint32_t count;
    pthread_t threads[THREADS_MAX];
};

static void read_one(struct flash_threads *threads, struct flash_reading *reading) {
    int status = flash_io(threads->flash, reading->seen.page, reading->page_offset, reading->memory, reading->bytes,
                          false, NULL);
    reading->result = status == PYMC_OK ? (int64_t)reading->bytes : -errno;
}

static void *thread_run(void *context) {
    struct flash_threads *threads = context;
    pthread_mutex_lock(&threads->mutex);
    while (true) {
        while (threads->first == NULL && !threads->is_closing) {
            pthread_cond_wait(&threads->work, &threads->mutex);
        }
        if (threads->is_closing) {
            break;
        }
        struct flash_reading *reading = threads->first;
        threads->first = reading->next;
        if (threads->first == NULL) {
            threads->end = &threads->first;
        }
        pthread_mutex_unlock(&threads->mutex);
        read_one(threads, reading);
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
    }
    pthread_mutex_unlock(&threads->mutex);
    return NULL;
}

static void threads_close(struct flash_reader *reader) {
    struct flash_threads *threads = reader->threads;
    pthread_mutex_lock(&threads->mutex);
    threads->is_closing = true;
    pthread_cond_broadcast(&threads->work);
    pthread_mutex_unlock(&threads->mutex);
    for (uint32_t i = 0; i < threads->count; i++) {
        pthread_join(threads->threads[i], NULL);
    }
    pthread_cond_destroy(&threads->work);
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}

static int threads_open(struct flash_reader *reader, const struct flash_reader_options *options) {
    uint32_t wanted = options->threads < THREADS_MAX ? options->threads : THREADS_MAX;
    struct flash_threads *threads = calloc(1, sizeof(*threads));
    if (threads == NULL) {
        return PYMC_NO_MEMORY;
    }
    threads->end = &threads->first;
    threads->done_end = &threads->done_first;
    threads->started_end = &threads->started;
    threads->flash = reader->flash;
    threads->event_fd = reader->event_fd;
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->work, NULL);
    reader->threads = threads;
    // Signals are for the thread that runs the loop.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (threads->count < (wanted ? wanted : 1) && error == 0) {
        error = pthread_create(&threads->threads[threads->count], NULL, thread_run, threads);
        threads->count += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    // Fewer threads than asked for are slower, no more.
    if (threads->count == 0) {
        threads_close(reader);
        errno = error;
        return PYMC_OS_ERROR;
    }
    return PYMC_OK;
}

static void threads_start(struct flash_reader *reader, struct flash_reading *reading) {
    struct flash_threads *threads = reader->threads;
    reading->next = NULL;
    *threads->started_end = reading;
    threads->started_end = &reading->next;
}

static void threads_submit(struct flash_reader *reader) {
    struct flash_threads *threads = reader->threads;
    pthread_mutex_lock(&threads->mutex);
    *threads->end = threads->started;
    threads->end = threads->started_end;
    if (threads->started->next) {
        pthread_cond_broadcast(&threads->work);
    } else {
        pthread_cond_signal(&threads->work);
    }
    pthread_mutex_unlock(&threads->mutex);
    threads->started = NULL;
    threads->started_end = &threads->started;
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
    .submit = threads_submit,
    .collect = threads_collect,
    .has_done = threads_has_done,
    .kind = FLASH_READER_THREADS,
    .uses_flash_io = true,
};

const struct flash_reader_back *flash_threads_back(void) {
    return &back;
}
