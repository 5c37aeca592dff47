// Loads and stores of memory that other processes see; in debug builds every store is a fault point.
#pragma once

#include <stdint.h>
#include <string.h>

#include "base/fault_inline.h"

// One load or store each, never torn, never merged by the compiler. All rooms write to shared memory
// by these, so that the crash suite can kill a process before each of its stores.
#define SHARED_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define SHARED_ACQUIRE(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define SHARED_STORE(place, value) (FAULT_SITE(), __atomic_store_n(&(place), (value), __ATOMIC_RELAXED))
#define SHARED_RELEASE(place, value) (FAULT_SITE(), __atomic_store_n(&(place), (value), __ATOMIC_RELEASE))

// Read, change and write as one step; `order` is RELAXED, ACQUIRE or RELEASE. They return the word
// after the change. SHARED_CAS returns whether *expected was there, and writes there what was.
#define SHARED_ADD(place, by, order) (FAULT_SITE(), __atomic_add_fetch(&(place), (by), __ATOMIC_##order))
#define SHARED_SUB(place, by, order) (FAULT_SITE(), __atomic_sub_fetch(&(place), (by), __ATOMIC_##order))
#define SHARED_OR(place, bits, order) (FAULT_SITE(), __atomic_or_fetch(&(place), (bits), __ATOMIC_##order))
#define SHARED_CAS(place, expected, value, order)                                               \
    (FAULT_SITE(), __atomic_compare_exchange_n(&(place), (expected), (value), false,            \
                                               __ATOMIC_##order, __ATOMIC_RELAXED))

// Many bytes that nobody reads meanwhile, or whose readers find out by a version.
#define SHARED_CLEAR(place, bytes) (FAULT_SITE(), (void)memset((place), 0, (bytes)))
#define SHARED_COPY(place, from, bytes) (FAULT_SITE(), (void)memcpy((place), (from), (bytes)))
