// The list of identities that may come in, and the names of a certificate.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// As SPIFFE has it.
#define TLS_NAME_BYTES_MAX 2048

enum tls_name_kind {
    TLS_NAME_NONE,
    TLS_NAME_SPIFFE,
    TLS_NAME_DNS,
    TLS_NAME_OTHER    // A name that is only shown; no line of a list fits it.
};

struct tls_ids;

// Parses a list. Returns PYMC_INVALID with one line in `reason`, or PYMC_NO_MEMORY.
int tls_ids_open(const char *text, uint32_t bytes, struct tls_ids **ids_out, char *reason,
                 uint32_t reason_bytes);
// NULL is allowed.
void tls_ids_close(struct tls_ids *ids);

// How many lines there are that name an identity, and what one of them grants to a name: rights, 0
// when it is not for that name.
uint32_t tls_ids_count(const struct tls_ids *ids);
uint8_t tls_ids_match(const struct tls_ids *ids, uint32_t number, int kind, const char *name,
                      uint32_t name_bytes);
// The rights of the first line that fits, 0 when none does.
uint8_t tls_ids_find(const struct tls_ids *ids, int kind, const char *name, uint32_t name_bytes);

// Whether bytes are a SPIFFE ID with a path, and a DNS name without a wildcard; strictly.
bool tls_name_is_spiffe(const char *name, uint32_t bytes);
bool tls_name_is_dns(const char *name, uint32_t bytes);
