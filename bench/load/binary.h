/* The binary protocol, as far as the load generator speaks it. */
#pragma once

#include <stdint.h>

enum {
    BINARY_REQUEST = 0x80,
    BINARY_REPLY = 0x81,
    BINARY_HEADER_BYTES = 24,
    BINARY_GET = 0x00,
    BINARY_SET = 0x01,
    BINARY_GETQ = 0x09,
    BINARY_NOOP = 0x0a,
    BINARY_SET_EXTRAS_BYTES = 8, /* flags, expiry */
    BINARY_GET_EXTRAS_BYTES = 4, /* of the reply: flags */
};

enum binary_status {
    BINARY_OK = 0,
    BINARY_NOT_FOUND = 1,
    BINARY_OUT_OF_MEMORY = 0x82,
    BINARY_BUSY = 0x85,
    BINARY_TEMPORARY = 0x86,
};

/* Numbers stand with their highest byte first. */
static inline void binary_put_u32(uint8_t *out, uint32_t value) {
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static inline uint32_t binary_u16(const uint8_t *at) {
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t binary_u32(const uint8_t *at) {
    return binary_u16(at) << 16 | binary_u16(at + 2);
}
