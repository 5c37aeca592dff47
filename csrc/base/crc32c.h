// CRC32C (Castagnoli), the checksum of everything that the flash tier writes.
#pragma once

#include <stdint.h>

// The checksum of `count` bytes; `seed` is 0, or the checksum of the bytes before them.
uint32_t crc32c(uint32_t seed, const void *bytes, uint64_t count);

// The same, byte by byte with a table, as on processors without the instruction.
uint32_t crc32c_portable(uint32_t seed, const void *bytes, uint64_t count);
