/* Small things every part of the load generator uses: time, mixing, fatal errors, overflow-safe
 * memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_WRONG = 1, /* a wrong value or a reply that the protocol does not allow */
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_SERVER = 3, /* the server cannot be reached, hung up or went silent */
};

#define NS_PER_SECOND 1000000000ull

static inline uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

/* A full-avalanche mixer (the finaliser of splitmix64): every output bit depends on every input
 * bit. */
static inline uint64_t mix64(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* Prints "loadgen: <message>" to stderr and ends the process with `code`. */
_Noreturn void die(enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* calloc and realloc that never return NULL: they end the process instead. */
void *allocate(size_t count, size_t bytes);
void *reallocate(void *block, size_t bytes);
