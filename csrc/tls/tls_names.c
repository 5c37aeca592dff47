// What is a SPIFFE ID and what a DNS name: strictly, so that no two spellings mean one name.
#include <string.h>

#include "tls/tls_ids_internal.h"

#define SCHEME "spiffe://"
#define SCHEME_BYTES 9
#define TRUST_DOMAIN_BYTES_MAX 255
#define DNS_BYTES_MAX 253
#define LABEL_BYTES_MAX 63

static bool is_digit_or_lower(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

static bool is_mark(char c) {
    return c == '.' || c == '-' || c == '_';
}

static bool is_trust_domain(const char *name, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        if (!is_digit_or_lower(name[i]) && !is_mark(name[i])) {
            return false;
        }
    }
    return bytes > 0 && bytes <= TRUST_DOMAIN_BYTES_MAX;
}

static bool is_segment(const char *segment, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        char c = segment[i];
        if (!is_digit_or_lower(c) && !is_upper(c) && !is_mark(c)) {
            return false;
        }
    }
    bool is_dots = (bytes == 1 || bytes == 2) && memcmp(segment, "..", bytes) == 0;
    return bytes > 0 && !is_dots;
}

static uint32_t bytes_before(const char *text, uint32_t bytes, char end) {
    const char *found = memchr(text, end, bytes);
    return found ? (uint32_t)(found - text) : bytes;
}

bool tls_name_is_spiffe(const char *name, uint32_t bytes) {
    if (bytes > TLS_NAME_BYTES_MAX || bytes < SCHEME_BYTES
        || memcmp(name, SCHEME, SCHEME_BYTES) != 0) {
        return false;
    }
    uint32_t at = SCHEME_BYTES;
    uint32_t part = bytes_before(name + at, bytes - at, '/');
    if (!is_trust_domain(name + at, part) || at + part == bytes) {
        return false;
    }
    for (at += part; at < bytes; at += part) {
        at++;    // The slash.
        part = bytes_before(name + at, bytes - at, '/');
        if (!is_segment(name + at, part)) {
            return false;
        }
    }
    return true;
}

static bool is_label(const char *label, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        char c = label[i];
        if (!is_digit_or_lower(c) && !is_upper(c) && c != '_' && c != '-') {
            return false;
        }
    }
    return bytes > 0 && bytes <= LABEL_BYTES_MAX && label[0] != '-' && label[bytes - 1] != '-';
}

bool tls_name_is_dns(const char *name, uint32_t bytes) {
    if (bytes == 0 || bytes > DNS_BYTES_MAX) {
        return false;
    }
    uint32_t at = 0;
    for (;;) {
        uint32_t part = bytes_before(name + at, bytes - at, '.');
        if (!is_label(name + at, part)) {
            return false;
        }
        if (at + part == bytes) {
            return true;
        }
        at += part + 1;
    }
}
