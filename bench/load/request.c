/* Writing requests. */
#include "request.h"

#include <string.h>

#include "binary.h"

static uint8_t *write_decimal(uint8_t *out, uint64_t value) {
    uint8_t digits[20];
    uint32_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count) {
        *out++ = digits[--count];
    }
    return out;
}

static size_t write_text_get(const struct options *o, const uint64_t *keys, uint8_t *out) {
    uint8_t *at = out;
    memcpy(at, "get", 3);
    at += 3;
    for (uint32_t i = 0; i < o->keys_per_get; i++) {
        *at++ = ' ';
        at += dataset_key(&o->dataset, keys[i], at);
    }
    *at++ = '\r';
    *at++ = '\n';
    return (size_t)(at - out);
}

static size_t write_text_set(const struct options *o, uint64_t key_id, uint64_t generation,
                             uint8_t *out) {
    uint32_t value_bytes = dataset_value_bytes(&o->dataset, key_id, generation);
    uint8_t *at = out;
    memcpy(at, "set ", 4);
    at += 4;
    at += dataset_key(&o->dataset, key_id, at);
    memcpy(at, " 0 ", 3);
    at = write_decimal(at + 3, o->ttl_seconds);
    *at++ = ' ';
    at = write_decimal(at, value_bytes);
    *at++ = '\r';
    *at++ = '\n';
    dataset_value(&o->dataset, key_id, generation, at, value_bytes);
    at += value_bytes;
    *at++ = '\r';
    *at++ = '\n';
    return (size_t)(at - out);
}

static void write_header(uint8_t *out, uint8_t opcode, uint32_t key_bytes, uint32_t extras_bytes,
                         uint32_t value_bytes, uint32_t number) {
    memset(out, 0, BINARY_HEADER_BYTES);
    out[0] = BINARY_REQUEST;
    out[1] = opcode;
    out[3] = (uint8_t)key_bytes; /* at most 250, so the byte above it stays 0 */
    out[4] = (uint8_t)extras_bytes;
    binary_put_u32(out + 8, extras_bytes + key_bytes + value_bytes);
    binary_put_u32(out + 12, number);
}

static size_t write_binary_get(const struct options *o, uint64_t key_id, uint32_t number,
                               uint8_t *out) {
    uint32_t key_bytes = dataset_key(&o->dataset, key_id, out + BINARY_HEADER_BYTES);
    write_header(out, o->is_quiet ? BINARY_GETQ : BINARY_GET, key_bytes, 0, 0, number);
    return BINARY_HEADER_BYTES + key_bytes;
}

static size_t write_binary_set(const struct options *o, uint64_t key_id, uint64_t generation,
                               uint32_t number, uint8_t *out) {
    uint32_t value_bytes = dataset_value_bytes(&o->dataset, key_id, generation);
    uint8_t *extras = out + BINARY_HEADER_BYTES;
    uint8_t *key = extras + BINARY_SET_EXTRAS_BYTES;
    binary_put_u32(extras, 0);
    binary_put_u32(extras + 4, o->ttl_seconds);
    uint32_t key_bytes = dataset_key(&o->dataset, key_id, key);
    dataset_value(&o->dataset, key_id, generation, key + key_bytes, value_bytes);
    write_header(out, BINARY_SET, key_bytes, BINARY_SET_EXTRAS_BYTES, value_bytes, number);
    return BINARY_HEADER_BYTES + BINARY_SET_EXTRAS_BYTES + key_bytes + value_bytes;
}

size_t request_write_get(const struct options *o, const uint64_t *keys, uint32_t number,
                         uint8_t *out) {
    return o->is_binary ? write_binary_get(o, keys[0], number, out) : write_text_get(o, keys, out);
}

size_t request_write_set(const struct options *o, uint64_t key_id, uint64_t generation,
                         uint32_t number, uint8_t *out) {
    return o->is_binary ? write_binary_set(o, key_id, generation, number, out)
                        : write_text_set(o, key_id, generation, out);
}

size_t request_write_noop(uint32_t number, uint8_t *out) {
    write_header(out, BINARY_NOOP, 0, 0, 0, number);
    return BINARY_HEADER_BYTES;
}

size_t request_bytes_max(const struct options *o) {
    size_t get = 32 + (size_t)o->keys_per_get * (o->dataset.key_bytes_max + 1);
    size_t set = 64 + (size_t)o->dataset.key_bytes_max + o->dataset.value_bytes_max;
    return get > set ? get : set;
}
