// Splitting command lines and reading numbers the way memcached does.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/check_inline.h"

#define TOKENS_MAX 24

struct token {
    const char *text;
    uint32_t bytes;
};

// Eight bytes of a line at once: the bytes that are below `bound` (at most 0x80) have their highest
// bit set in what this returns, and of those above the first such byte it says nothing.
static inline uint64_t token_bytes_below(uint64_t eight, uint8_t bound) {
    return (eight - 0x0101010101010101ull * bound) & ~eight & 0x8080808080808080ull;
}
static inline uint64_t token_blanks(uint64_t eight) {
    return token_bytes_below(eight ^ 0x2020202020202020ull, 1);
}
// Which of the eight bytes is the first that is marked.
static inline uint32_t token_first(uint64_t marks) {
    return (uint32_t)__builtin_ctzll(marks) / 8;
}

// The first blank, or the end.
static inline const char *token_end(const char *line, const char *end) {
    while (end - line >= 8) {
        uint64_t eight;
        memcpy(&eight, line, sizeof eight);
        uint64_t blanks = token_blanks(eight);
        if (blanks) {
            return line + token_first(blanks);
        }
        line += 8;
    }
    while (line < end && *line != ' ') {
        line++;
    }
    return line;
}

// Splits at blanks, runs collapse; the last token takes the rest when there are too many. Returns
// the count.
static inline uint32_t tokens_split(const char *line, const char *end, struct token *tokens) {
    uint32_t count = 0;
    while (line < end) {
        while (line < end && *line == ' ') {
            line++;
        }
        if (line == end) {
            break;
        }
        const char *start = line;
        if (count == TOKENS_MAX - 1) {
            tokens[count++] = (struct token){start, (uint32_t)(end - start)};
            break;
        }
        line = token_end(line, end);
        tokens[count++] = (struct token){start, (uint32_t)(line - start)};
    }
    return count;
}

static inline bool token_is(const struct token *token, const char *word) {
    return strlen(word) == token->bytes && memcmp(token->text, word, token->bytes) == 0;
}

static inline bool token_is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// A number as strtoull takes it: blanks, a sign, digits, then a blank or the end. Overflow is an
// error.
static inline bool token_number(const char *text, uint32_t bytes, bool *negative_out,
                                uint64_t *out) {
    if (bytes == 1) {
        // Most numbers of commands are a 0.
        *negative_out = false;
        *out = (uint64_t)(text[0] - '0');
        return text[0] >= '0' && text[0] <= '9';
    }
    uint32_t i = 0;
    while (i < bytes && token_is_blank(text[i])) {
        i++;
    }
    *negative_out = i < bytes && text[i] == '-';
    if (i < bytes && (text[i] == '-' || text[i] == '+')) {
        i++;
    }
    uint32_t first = i;
    uint64_t value = 0;
    for (; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (UNLIKELY(value >= UINT64_MAX / 10) && value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return i > first && (i == bytes || token_is_blank(text[i]));
}

static inline bool token_u64(const char *text, uint32_t bytes, uint64_t *out) {
    bool negative;
    return token_number(text, bytes, &negative, out) && !(negative && *out != 0);
}

// 64-bit signed, then cut to 32 bits as memcached does.
static inline bool token_i32(const char *text, uint32_t bytes, int32_t *out) {
    bool negative;
    uint64_t value;
    if (!token_number(text, bytes, &negative, &value)
        || value > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *out = (int32_t)(uint32_t)(negative ? 0 - value : value);
    return true;
}

static inline bool token_u32(const char *text, uint32_t bytes, uint32_t *out) {
    uint64_t value;
    if (!token_u64(text, bytes, &value)) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}
