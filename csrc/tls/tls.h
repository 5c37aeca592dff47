// TLS: what a process's encrypted connections share (certificates, keys, rules), and tickets that
// any worker can read.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct arena;
struct tls_context;

// What is asked of clients' certificates, as `ssl_verify_mode` has it.
enum tls_verify {
    TLS_VERIFY_NONE,        // Not asked for.
    TLS_VERIFY_OPTIONAL,    // Asked for; one that is sent has to be good.
    TLS_VERIFY_REQUIRED,    // Asked for and needed.
    TLS_VERIFY_ONCE         // As required; it is not asked for again on the same connection.
};

// Text that is borrowed for one call; NULL for none.
struct tls_text {
    const char *text;
    uint32_t bytes;
};

// One generation of material. Texts are PEM but for a DER key and the list of identities.
struct tls_options {
    struct tls_text chain;          // The server's certificate, then those between it and the CA.
    struct tls_text key;            // Its private key.
    struct tls_text ca;             // Whom clients' certificates must come from.
    struct tls_text crl;            // What was revoked of those.
    struct tls_text allowed_ids;    // The lines of `ssl_allowed_ids`; NULL: any good certificate.
    struct tls_text ciphers;        // Of OpenSSL's names; NULL: the library's choice.
    bool key_is_der;
    bool resumes;           // Tickets are given and taken.
    bool uses_kernel;       // Hand encryption to the kernel where both sides can.
    uint8_t verify;         // enum tls_verify
    uint8_t version_min;    // 2: TLS 1.2, 3: TLS 1.3; lower ones are what the library allows.
};

// Sets aside memory for what all processes share: ticket keys. Call once on a fresh arena, before
// the first fork. Returns PYMC_NO_MEMORY or PYMC_OK.
int tls_create(struct arena *arena);
uint64_t tls_reserve_bytes(void);

// Begins a new ticket key for all processes; the last one before it still opens tickets, older ones
// do not. The supervisor calls it, the first time before the first worker. Returns PYMC_OS_ERROR
// without randomness. Crash: the old keys stay.
int tls_tickets_rotate(struct arena *arena);

// Makes a context of the material. Returns PYMC_INVALID with one line in `reason`, or
// PYMC_NO_MEMORY. Borrows the arena. Owns: the caller has one reference.
int tls_context_create(struct arena *arena, const struct tls_options *options,
                       struct tls_context **context_out, char *reason, uint32_t reason_bytes);
// Gives a reference back; the last one frees. NULL is allowed.
void tls_context_release(struct tls_context *context);
