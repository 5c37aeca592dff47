/* A recorded order of keys: a file of little-endian unsigned 32-bit key ids, one per request. */
#pragma once

#include <endian.h>

#include "base.h"

struct trace {
    const uint32_t *ids; /* mapped until the process ends; NULL without a trace */
    uint64_t count;
    uint32_t id_max;
};

/* Maps the file; ends the process with a message when it is no trace. */
void trace_open(struct trace *t, const char *path);

static inline uint32_t trace_id(const struct trace *t, uint64_t index) {
    return le32toh(t->ids[index]);
}
