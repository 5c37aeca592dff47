// Values compressed with lz4, as raw blocks: their sizes stand elsewhere in the record.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Compresses `bytes` at `in` into out[]; returns how many bytes that made, 0 when they do not fit
// in `room`. Give less room than `bytes` minus what is not worth the work. Requires: nobody changes
// `in` meanwhile.
uint32_t flash_compress(const char *in, uint32_t bytes, char *out, uint32_t room);

// Uncompresses a block; true when exactly `out_bytes` came out. Any bytes may be given as a block:
// nothing outside of in[] and out[] is touched.
bool flash_decompress(const char *in, uint32_t in_bytes, char *out, uint32_t out_bytes);
