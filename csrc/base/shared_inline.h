// Loads and stores of memory that other processes see; in debug builds every store is a fault
// point.
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/fault_inline.h"

// One load or store each, never torn, never merged by the compiler. All rooms write to shared
// memory by these, so that the crash suite can kill a process before each of its stores.
#define SHARED_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define SHARED_ACQUIRE(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define SHARED_STORE(place, value)                                                                 \
    (FAULT_SITE(), __atomic_store_n(&(place), (value), __ATOMIC_RELAXED))
#define SHARED_RELEASE(place, value)                                                               \
    (FAULT_SITE(), __atomic_store_n(&(place), (value), __ATOMIC_RELEASE))

// Any process may be killed between two instructions: what others find then is what it stored up to
// there, in the order of its program as the compiler left it. C11 has this order for a thread and a
// signal handler in it, which sees a thread as it stands between two instructions, just as a
// repairer does; so no instruction is needed here.
#define SHARED_ORDER() __atomic_signal_fence(__ATOMIC_SEQ_CST)
// A store that decides: names what is about to be done, does it, or says that it is done. A release
// store keeps what comes before it there, but lets a later store go ahead of it; this does not.
#define SHARED_DECIDE(place, value)                                                                \
    do {                                                                                           \
        SHARED_RELEASE(place, value);                                                              \
        SHARED_ORDER();                                                                            \
    } while (0)

// Read, change and write as one step; `order` is RELAXED, ACQUIRE, RELEASE or ACQ_REL. They return
// the word after the change. SHARED_CAS returns whether *expected was there, and writes there what
// was.
#define SHARED_ADD(place, by, order)                                                               \
    (FAULT_SITE(), __atomic_add_fetch(&(place), (by), __ATOMIC_##order))
#define SHARED_SUB(place, by, order)                                                               \
    (FAULT_SITE(), __atomic_sub_fetch(&(place), (by), __ATOMIC_##order))
#define SHARED_OR(place, bits, order)                                                              \
    (FAULT_SITE(), __atomic_or_fetch(&(place), (bits), __ATOMIC_##order))
#define SHARED_CAS(place, expected, value, order)                                                  \
    (FAULT_SITE(), __atomic_compare_exchange_n(&(place), (expected), (value), false,               \
                                               __ATOMIC_##order, __ATOMIC_RELAXED))

// Many bytes that nobody reads meanwhile, or whose readers find out by a version.
#define SHARED_CLEAR(place, bytes) (FAULT_SITE(), (void)memset((place), 0, (bytes)))
#define SHARED_COPY(place, from, bytes) (FAULT_SITE(), (void)memcpy((place), (from), (bytes)))
