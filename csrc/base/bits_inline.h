// A set of small numbers as bits in shared words: the lowest missing, and where it ends; a word
// turned round.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/shared_inline.h"

// The bits of a word in the other order: the lowest becomes the highest.
static inline uint64_t bits_reversed(uint64_t word) {
    word = (word >> 1 & 0x5555555555555555u) | (word & 0x5555555555555555u) << 1;
    word = (word >> 2 & 0x3333333333333333u) | (word & 0x3333333333333333u) << 2;
    word = (word >> 4 & 0x0f0f0f0f0f0f0f0fu) | (word & 0x0f0f0f0f0f0f0f0fu) << 4;
    return __builtin_bswap64(word);
}

static inline uint32_t bits_words(uint32_t count) {
    return (count + 63) / 64;
}
static inline bool bits_has(const uint64_t *words, uint32_t bit) {
    return words[bit / 64] >> bit % 64 & 1;
}
static inline void bits_add(uint64_t *words, uint32_t bit) {
    SHARED_STORE(words[bit / 64], words[bit / 64] | 1ull << bit % 64);
}
static inline void bits_remove(uint64_t *words, uint32_t bit) {
    SHARED_STORE(words[bit / 64], words[bit / 64] & ~(1ull << bit % 64));
}
// The lowest number that is missing, `count` when none below it is. Words below *low are known to
// be full; it moves on.
static inline uint32_t bits_lowest_missing(const uint64_t *words, uint32_t count, uint32_t *low) {
    uint32_t word = *low;
    while (word < bits_words(count) && words[word] == UINT64_MAX) {
        word++;
    }
    *low = word;
    if (word >= bits_words(count)) {
        return count;
    }
    uint32_t bit = word * 64 + (uint32_t)__builtin_ctzll(~words[word]);
    return bit < count ? bit : count;
}
// One more than the highest number in the set, all of which are below `end`; 0 when it is empty.
static inline uint32_t bits_end(const uint64_t *words, uint32_t end) {
    for (uint32_t word = bits_words(end); word > 0; word--) {
        if (words[word - 1]) {
            return word * 64 - (uint32_t)__builtin_clzll(words[word - 1]);
        }
    }
    return 0;
}
static inline uint32_t bits_count(const uint64_t *words, uint32_t end) {
    uint32_t sum = 0;
    for (uint32_t word = 0; word < bits_words(end); word++) {
        sum += (uint32_t)__builtin_popcountll(words[word]);
    }
    return sum;
}
