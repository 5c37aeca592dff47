// FAULT_POINT(proc, "room.step"): marks one step of a change in shared memory; costs nothing in release builds.
#pragma once

#include "base/fault.h"

#ifdef PYMC_DEBUG
#define FAULT_POINT(proc, name)                         \
    do {                                                \
        if ((proc)->fault.armed) {                      \
            fault_reached(&(proc)->fault, (name));      \
        }                                               \
    } while (0)
#else
#define FAULT_POINT(proc, name) ((void)0)
#endif
