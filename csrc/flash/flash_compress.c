// lz4 by the system's library.
#include "flash/flash_compress.h"

#include <limits.h>
#include <lz4.h>

uint32_t flash_compress(const char *in, uint32_t bytes, char *out, uint32_t room) {
    if (bytes > LZ4_MAX_INPUT_SIZE || bytes == 0 || room == 0) {
        return 0;
    }
    int made = LZ4_compress_default(in, out, (int)bytes, room > INT_MAX ? INT_MAX : (int)room);
    return made > 0 ? (uint32_t)made : 0;
}

bool flash_decompress(const char *in, uint32_t in_bytes, char *out, uint32_t out_bytes) {
    if (in_bytes > INT_MAX || out_bytes > LZ4_MAX_INPUT_SIZE) {
        return false;
    }
    return LZ4_decompress_safe(in, out, (int)in_bytes, (int)out_bytes) == (int)out_bytes;
}
