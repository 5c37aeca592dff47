// Base64 with the usual alphabet and padding.
#pragma once

#include <stdint.h>

// Writes the text for `count` bytes and returns its size: 4 for every 3 bytes begun. Never
// terminates it.
uint32_t base64_encode(char *place, const char *bytes, uint32_t count);

// Writes the bytes that `count` characters stand for and returns how many, 0 when the text is no
// base64. Requires: room for count / 4 * 3 bytes.
uint32_t base64_decode(char *place, const char *text, uint32_t count);
