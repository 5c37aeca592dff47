// The engine's reads from flash: collected once a round, begun by who needs them, given up when a
// device is silent.
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "server/server_internal.h"

// Reads from the page cache are done when they are handed over: then their replies go out in the
// same round.
#define FLASH_PASSES 3
// The coarse clock is behind the timer's: so much later it shows that the moment has come.
#define COARSE_NS 10000000

int engine_flash_open(struct engine *engine, const struct engine_options *options) {
    if (!engine->store->flash) {
        return PYMC_OK;
    }
    struct flash_reader_options wanted = {.kind = options->flash_kind,
                                          .depth = options->flash_depth,
                                          .threads = options->flash_threads,
                                          .memory_bytes = options->flash_memory_bytes,
                                          .log = engine->log};
    wanted.depth = wanted.depth ? wanted.depth : FLASH_DEPTH_DEFAULT;
    wanted.threads = wanted.threads ? wanted.threads : FLASH_THREADS_DEFAULT;
    wanted.memory_bytes = wanted.memory_bytes ? wanted.memory_bytes : FLASH_MEMORY_BYTES_DEFAULT;
    int status = flash_reader_open(engine->store->flash, engine->proc, &wanted, &engine->reader);
    if (status != PYMC_OK) {
        return status;
    }
    engine->conns.reader = engine->reader;
    proto_set_reader(engine->conns.proto, engine->reader);
    engine->flash.kind = engine->deadline.kind = SOURCE_FLASH;
    engine->deadline_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    bool is_good =
        engine->deadline_fd >= 0
        && source_watch(engine, engine->deadline_fd, &engine->deadline, EPOLLIN | EPOLLET)
        && source_watch(engine, flash_reader_fd(engine->reader), &engine->flash, EPOLLIN | EPOLLET);
    return is_good ? PYMC_OK : PYMC_OS_ERROR;
}

void engine_flash_close(struct engine *engine) {
    flash_reader_close(engine->reader);
    if (engine->deadline_fd >= 0) {
        close(engine->deadline_fd);
    }
}

void engine_flash_serve(struct engine *engine) {
    for (int pass = 0; pass < FLASH_PASSES && (pass == 0 || flash_reader_has_done(engine->reader));
         pass++) {
        struct flash_waiter *first = flash_reader_reap(engine->reader, engine->now_ns / 1000);
        if (first) {
            conns_serve_read(&engine->conns, first);
        }
        flash_reader_submit(engine->reader);
    }
}

uint64_t engine_flash_due_ns(const struct engine *engine) {
    uint64_t due_us = engine->reader ? flash_reader_due_us(engine->reader) : UINT64_MAX;
    return due_us < UINT64_MAX / 1000 ? due_us * 1000 : UINT64_MAX;
}

void engine_flash_set_timer(struct engine *engine) {
    uint64_t due_ns = engine_flash_due_ns(engine);
    if (due_ns == UINT64_MAX) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t wanted_ns = (due_ns > now_ns ? due_ns : now_ns) + COARSE_NS;
    if (engine->deadline_ns > now_ns && engine->deadline_ns <= wanted_ns) {
        return;
    }
    engine->deadline_ns = wanted_ns;
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(engine->deadline_ns / 1000000000),
                                         .tv_nsec = (long)(engine->deadline_ns % 1000000000)}};
    timerfd_settime(engine->deadline_fd, TFD_TIMER_ABSTIME, &at, NULL);
}
