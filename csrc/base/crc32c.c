// CRC32C with the processor's instruction, three streams at a time, or with a table.
//
// The instruction has a latency of three cycles but one can start in each, so a block is cut into
// three streams. The register is linear in what was fed: the register after A and B is that of A,
// moved on over as many zeros as B has bytes, xor that of B alone, begun with 0. Moving on over
// STREAM_BYTES zeros is a table for each byte of the register.
#include "base/crc32c.h"

#include <string.h>

#include "base/crc32c_tables_inline.h"

#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#define STREAM_BYTES 256    // As zeros_table has it.

static uint32_t feed(uint32_t state, const unsigned char *bytes, uint64_t count) {
    for (; count > 0; count--) {
        state = byte_table[(state ^ *bytes++) & 0xff] ^ (state >> 8);
    }
    return state;
}

#ifdef __SSE4_2__
static inline uint64_t over_zeros(uint64_t state) {
    return zeros_table[0][state & 0xff] ^ zeros_table[1][state >> 8 & 0xff]
           ^ zeros_table[2][state >> 16 & 0xff] ^ zeros_table[3][state >> 24 & 0xff];
}

static inline uint64_t load64(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

uint32_t crc32c(uint32_t seed, const void *bytes, uint64_t count) {
    const unsigned char *at = bytes;
    uint64_t first = ~seed;
    for (; count >= 3 * STREAM_BYTES; count -= 3 * STREAM_BYTES, at += 2 * STREAM_BYTES) {
        uint64_t second = 0;
        uint64_t third = 0;
        for (const unsigned char *end = at + STREAM_BYTES; at < end; at += 8) {
            first = _mm_crc32_u64(first, load64(at));
            second = _mm_crc32_u64(second, load64(at + STREAM_BYTES));
            third = _mm_crc32_u64(third, load64(at + 2 * STREAM_BYTES));
        }
        first = over_zeros(over_zeros(first) ^ second) ^ third;
    }
    for (; count >= 8; count -= 8, at += 8) {
        first = _mm_crc32_u64(first, load64(at));
    }
    for (; count > 0; count--) {
        first = _mm_crc32_u8((uint32_t)first, *at++);
    }
    return ~(uint32_t)first;
}
#else
uint32_t crc32c(uint32_t seed, const void *bytes, uint64_t count) {
    return crc32c_portable(seed, bytes, count);
}
#endif

uint32_t crc32c_portable(uint32_t seed, const void *bytes, uint64_t count) {
    return ~feed(~seed, bytes, count);
}
