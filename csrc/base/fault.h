// Fault points: named places where a debug build can be told to die, so that tests can kill a process at each step.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAULT_NAME_BYTES 48

// Process-local; zeroed means no fault is armed. Lives inside struct proc.
struct fault {
    char name[FAULT_NAME_BYTES];    // The armed point, "" for none.
    uint32_t countdown;             // Dies when the point is reached for the countdown-th time.
    bool armed;
};

// Arms one point (name is cut at FAULT_NAME_BYTES - 1): the countdown-th time it is reached the process gets SIGKILL.
// Release builds have no fault points, so there nothing ever happens.
void fault_arm(struct fault *fault, const char *name, uint32_t countdown);

// Called by FAULT_POINT only: kills the calling process when it is the armed point's turn.
void fault_reached(struct fault *fault, const char *name);
