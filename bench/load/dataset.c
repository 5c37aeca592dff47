/* Writing and checking keys and values. */
#include "dataset.h"

#include <stdlib.h>
#include <string.h>

#include "random.h"

enum { PATTERN_BYTES = 1 << 16, HEADER_BYTES = 16, RECORD_BYTES = 100 };

/* What the records of a listing have in common, markup first; random bytes stand for the rest. */
static const char RECORD_TEXT[] =
    "{\"kind\":\"article\",\"language\":\"en\",\"visible\":true,\"title\":"
    "\"<p class='lead'>On the care of watermills\"";
_Static_assert(sizeof RECORD_TEXT == RECORD_BYTES + 1, "a percent is a byte");

void dataset_setup(struct dataset *d) {
    size_t bytes = PATTERN_BYTES + (size_t)d->value_bytes_max + 8;
    d->pattern = allocate(bytes, 1);
    struct rng r;
    rng_seed(&r, 0x706174); /* fixed: loader and reader are different runs */
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word = rng_next(&r);
        memcpy(d->pattern + i, &word, 8);
    }
    if (!d->text_percent) {
        return;
    }
    for (size_t i = 0; i < bytes; i += RECORD_BYTES) {
        size_t room = bytes - i;
        memcpy(d->pattern + i, RECORD_TEXT, room < d->text_percent ? room : d->text_percent);
    }
}

void dataset_teardown(struct dataset *d) {
    free(d->pattern);
    d->pattern = NULL;
}

static uint32_t pick_size(uint32_t low, uint32_t high, uint64_t mixed) {
    if (low == high) {
        return low;
    }
    return low + (uint32_t)(((mixed >> 32) * (uint64_t)(high - low + 1)) >> 32);
}

uint32_t dataset_key(const struct dataset *d, uint64_t key_id, uint8_t *out) {
    uint32_t length = pick_size(d->key_bytes_min, d->key_bytes_max, mix64(key_id));
    uint8_t *at = out + length;
    do {
        *--at = (uint8_t)('0' + key_id % 10);
        key_id /= 10;
    } while (key_id);
    memset(out, '0', (size_t)(at - out));
    out[0] = 'k';
    return length;
}

uint32_t dataset_value_bytes(const struct dataset *d, uint64_t key_id, uint64_t generation) {
    /* Only the low byte counts: it is all that a value below 16 bytes can carry. */
    if (d->value_bytes_min == d->value_bytes_max) {
        return d->value_bytes_min;
    }
    uint64_t mixed = mix64(key_id * 31 + (generation & 0xff) + 0x73697a65);
    return pick_size(d->value_bytes_min, d->value_bytes_max, mixed);
}

static uint64_t check_word(uint64_t key_id, uint64_t generation, uint32_t value_bytes) {
    return mix64(mix64(key_id ^ ((uint64_t)value_bytes << 40)) + generation);
}

static void write_short(uint64_t key_id, uint8_t generation, uint8_t *out, uint32_t value_bytes) {
    uint64_t words[2] = {check_word(key_id, generation, value_bytes), 0};
    words[1] = mix64(words[0]);
    if (value_bytes == 0) {
        return;
    }
    out[0] = generation;
    memcpy(out + 1, words, value_bytes - 1);
}

void dataset_value(const struct dataset *d, uint64_t key_id, uint64_t generation, uint8_t *out,
                   uint32_t value_bytes) {
    if (value_bytes < HEADER_BYTES) {
        write_short(key_id, (uint8_t)generation, out, value_bytes);
        return;
    }
    uint64_t check = check_word(key_id, generation, value_bytes);
    memcpy(out, &generation, 8);
    memcpy(out + 8, &check, 8);
    memcpy(out + HEADER_BYTES, d->pattern + check % PATTERN_BYTES, value_bytes - HEADER_BYTES);
}

bool dataset_value_valid(const struct dataset *d, uint64_t key_id, const uint8_t *data,
                         uint32_t value_bytes) {
    if (value_bytes < d->value_bytes_min || value_bytes > d->value_bytes_max) {
        return false;
    }
    if (value_bytes == 0) {
        return true;
    }
    uint64_t generation = data[0];
    if (value_bytes >= HEADER_BYTES) {
        memcpy(&generation, data, 8);
    }
    if (dataset_value_bytes(d, key_id, generation) != value_bytes) {
        return false;
    }
    if (value_bytes < HEADER_BYTES) {
        uint8_t expected[HEADER_BYTES];
        write_short(key_id, (uint8_t)generation, expected, value_bytes);
        return memcmp(expected, data, value_bytes) == 0;
    }
    uint64_t check = check_word(key_id, generation, value_bytes);
    if (memcmp(data + 8, &check, 8) != 0) {
        return false;
    }
    return memcmp(data + HEADER_BYTES, d->pattern + check % PATTERN_BYTES,
                  value_bytes - HEADER_BYTES)
           == 0;
}
