// Values on flash may be lz4 blocks.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Compresses into `room` bytes at `out`; returns the bytes written, 0 when it does not fit.
uint32_t flash_compress(const char *in, uint32_t bytes, char *out, uint32_t room);
// Unpacks a block whose contents are not trusted. Returns true when exactly `out_bytes` came out.
bool flash_decompress(const char *in, uint32_t in_bytes, char *out, uint32_t out_bytes);
