// Checks of programmer errors, branch hints and compiler barriers used in all rooms.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define CACHE_ALIGNED __attribute__((aligned(64)))
#ifndef MUST_CHECK
#define MUST_CHECK __attribute__((warn_unused_result))
#endif

_Noreturn void check_failed(const char *condition, const char *file, int line);

// A false condition is a bug: the process ends, the supervisor replaces it and repairs what it held.
#define PYMC_CHECK(condition)                                                                       \
    do {                                                                                            \
        if (UNLIKELY(!(condition))) {                                                               \
            check_failed(#condition, __FILE__, __LINE__);                                           \
        }                                                                                           \
    } while (0)

#ifdef PYMC_DEBUG
#define PYMC_DEBUG_CHECK(condition) PYMC_CHECK(condition)
#else
#define PYMC_DEBUG_CHECK(condition) ((void)0)
#endif

// Memory written in one process and read in others: one load or store, never torn, never merged by the compiler.
#define SHARED_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define SHARED_STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define SHARED_ACQUIRE(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define SHARED_RELEASE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)
