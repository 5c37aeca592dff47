// Checks of programmer errors and branch hints used in all rooms, and the words for shared memory.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/shared_inline.h"

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define CACHE_ALIGNED __attribute__((aligned(64)))
#ifndef MUST_CHECK
#define MUST_CHECK __attribute__((warn_unused_result))
#endif

_Noreturn void check_failed(const char *condition, const char *file, int line);

// A false condition is a bug: the process ends, the supervisor replaces it and repairs what it
// held.
#define PYMC_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (UNLIKELY(!(condition))) {                                                              \
            check_failed(#condition, __FILE__, __LINE__);                                          \
        }                                                                                          \
    } while (0)

#ifdef PYMC_DEBUG
#define PYMC_DEBUG_CHECK(condition) PYMC_CHECK(condition)
#else
#define PYMC_DEBUG_CHECK(condition) ((void)0)
#endif

// Tells the processor that this thread spins.
static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
