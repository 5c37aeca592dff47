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

// A false condition is a bug: the process ends, the supervisor replaces it and repairs what it held.
#define PYMC_CHECK(condition)                                                                       \
    do {                                                                                            \
        if (UNLIKELY(!(condition))) {                                                               \
            fprintf(stderr, "pymc: check failed: %s (%s:%d)\n", #condition, __FILE__, __LINE__);    \
            abort();                                                                                \
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

// Any process may be killed between two instructions: what others find then is what it stored up to
// there, in the order of its program as the compiler left it. Who looks does so after the kernel
// said that the owner is dead, so no processor's order matters, and no instruction is needed here.
// C11 has this order for a thread and a signal handler in it, which sees a thread as it stands
// between two instructions, just as a repairer does.
#define SHARED_ORDER() __atomic_signal_fence(__ATOMIC_SEQ_CST)
// A store that decides: names what is about to be done, does it, or says that it is done. A release
// store keeps what comes before it there, but lets a later store go ahead of it; this does not.
#define SHARED_DECIDE(place, value)                                                                 \
    do {                                                                                            \
        SHARED_RELEASE(place, value);                                                               \
        SHARED_ORDER();                                                                             \
    } while (0)
