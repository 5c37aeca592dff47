// The clock by which the times of device writes and scans are measured.
#pragma once

#include <stdint.h>
#include <time.h>

// Microseconds of CLOCK_MONOTONIC. An I/O begins and ends inside this room, so its times cannot be
// arguments.
static inline uint64_t flash_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
