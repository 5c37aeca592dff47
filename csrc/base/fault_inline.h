// What makes fault points: FAULT_POINT(proc, "room.step") by hand, FAULT_SITE() in each macro that
// stores.
#pragma once

#include "base/fault.h"

#ifdef PYMC_DEBUG
// What the thread was told. The store macros know no process handle and nobody could hand them one,
// so this is the one variable at file scope that is not a constant. Release builds have none.
struct fault_order {
    bool is_watched;    // Anything at all.
    bool is_armed;
    uint32_t countdown;
    uint32_t line;    // Of the site that is meant, 0 for a named point.
    const void *owner;
    struct fault_gate *gate;
    uint32_t *hits;
    char name[FAULT_NAME_BYTES];
};
extern _Thread_local struct fault_order fault_of_thread __attribute__((tls_model("initial-exec")));

// Called by the macros only: count, and die or wait if it is the armed point's turn.
void fault_reached(const char *name, const void *owner);
void fault_passed(const struct fault_site *site);

#define FAULT_POINT(proc, name)                                                                    \
    do {                                                                                           \
        if (fault_of_thread.is_armed) {                                                            \
            fault_reached((name), (proc));                                                         \
        }                                                                                          \
    } while (0)

// The site is a row of a table that the linker puts together, if the code that names it is there.
#define FAULT_SITE()                                                                               \
    ({                                                                                             \
        static const struct fault_site fault_here                                                  \
            __attribute__((section("fault_sites"), aligned(8))) = {__FILE__, __BASE_FILE__,        \
                                                                   __func__, __LINE__};            \
        if (__builtin_expect(fault_of_thread.is_watched, 0)) {                                     \
            fault_passed(&fault_here);                                                             \
        }                                                                                          \
    })
#else
#define FAULT_POINT(proc, name) ((void)0)
#define FAULT_SITE() ((void)0)
#endif
