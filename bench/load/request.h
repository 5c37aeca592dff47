/* The bytes of requests, in the text and in the binary protocol. */
#pragma once

#include "options.h"

/* Each writes one request at `out` and returns its length; request_bytes_max() is room enough.
 * `number` counts the requests of a connection. Binary requests carry it as their opaque, and so
 * do the replies. */
size_t request_write_get(const struct options *o, const uint64_t *keys, uint32_t number,
                         uint8_t *out);
size_t request_write_set(const struct options *o, uint64_t key_id, uint64_t generation,
                         uint32_t number, uint8_t *out);

/* What ends a batch of quiet GETs: it has the number of the request that will follow. */
size_t request_write_noop(uint32_t number, uint8_t *out);

size_t request_bytes_max(const struct options *o);
