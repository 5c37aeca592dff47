/* The data a run works on: key texts, and values whose every byte follows from key and generation.
 *
 * A value carries its generation, so a reader can tell a right value from a wrong one without
 * knowing who wrote it last:
 *
 *     16 bytes and more:  generation (8) | check (8) | pattern[check ...]
 *     below 16 bytes:     generation's low byte (1) | bytes mixed from key and that byte
 *
 * check mixes key, generation and size. Bytes are arbitrary: they include \r, \n and NUL. With
 * text_percent the pattern is made of records of 100 bytes: so many are text, the same in each of
 * them, and the rest is random. A value holds records from anywhere in the pattern. */
#pragma once

#include "base.h"

enum { KEY_BYTES_MAX = 250, KEY_BYTES_MIN = 2 };

struct dataset {
    uint32_t key_bytes_min, key_bytes_max;
    uint32_t value_bytes_min, value_bytes_max;
    uint32_t text_percent;
    uint8_t *pattern; /* PATTERN_BYTES + value_bytes_max bytes, random but for the text */
};

void dataset_setup(struct dataset *d);
void dataset_teardown(struct dataset *d);

/* Writes the key's text, returns its length. Keys of one dataset are distinct.
 * REQUIRES: the decimal digits of key_id fit into key_bytes_min - 1. */
uint32_t dataset_key(const struct dataset *d, uint64_t key_id, uint8_t *out);

/* Length in bytes of the value of this key and generation. */
uint32_t dataset_value_bytes(const struct dataset *d, uint64_t key_id, uint64_t generation);

void dataset_value(const struct dataset *d, uint64_t key_id, uint64_t generation, uint8_t *out,
                   uint32_t value_bytes);

/* True when data is exactly a value that dataset_value() could have written for this key. */
bool dataset_value_valid(const struct dataset *d, uint64_t key_id, const uint8_t *data,
                         uint32_t value_bytes);
