// Base64 with padding, as meta commands and dumps write binary keys.
#include "base/base64.h"

#include <stdbool.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

uint32_t base64_encode(char *place, const char *bytes, uint32_t count) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i += 3) {
        uint32_t left = count - i;
        uint32_t bits = (uint32_t)(unsigned char)bytes[i] << 16
                        | (left > 1 ? (uint32_t)(unsigned char)bytes[i + 1] << 8 : 0)
                        | (left > 2 ? (uint32_t)(unsigned char)bytes[i + 2] : 0);
        place[at++] = alphabet[bits >> 18];
        place[at++] = alphabet[bits >> 12 & 63];
        place[at++] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        place[at++] = left > 2 ? alphabet[bits & 63] : '=';
    }
    return at;
}

static int32_t sextet(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

uint32_t base64_decode(char *place, const char *text, uint32_t count) {
    if (count == 0 || count % 4 != 0) {
        return 0;
    }
    uint32_t padding = (uint32_t)(text[count - 1] == '=') + (uint32_t)(text[count - 2] == '=');
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t bits = 0;
        for (uint32_t j = 0; j < 4; j++) {
            bool is_padding = i + j >= count - padding;
            int32_t value = is_padding ? 0 : sextet(text[i + j]);
            if (value < 0) {
                return 0;
            }
            bits = bits << 6 | (uint32_t)value;
        }
        place[at++] = (char)(bits >> 16);
        place[at++] = (char)(bits >> 8);
        place[at++] = (char)bits;
    }
    return at - padding;
}
