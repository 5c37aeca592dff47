// TLS: what a process's encrypted connections share (certificates, keys, rules), and tickets that
// any worker can read.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

// The longest identity that is shown, with its NUL; longer ones are cut.
#define TLS_IDENTITY_BYTES 256

struct arena;
struct tls_context;

// What is asked of clients' certificates, as `ssl_verify_mode` has it.
enum tls_verify {
    TLS_VERIFY_NONE,        // Not asked for.
    TLS_VERIFY_OPTIONAL,    // Asked for; one that is sent has to be good. With `allowed_ids` it is
                            // needed: who sends none is on no list.
    TLS_VERIFY_REQUIRED,    // Asked for and needed.
    TLS_VERIFY_ONCE         // As required; it is not asked for again on the same connection.
};

// What a listener asks for; TLS_DOOR_DEFAULT is what the options say.
enum tls_door {
    TLS_DOOR_DEFAULT,
    TLS_DOOR_MUTUAL,    // A certificate is needed, whatever `verify` says.
    TLS_DOOR_BASIC,     // None is asked for, so nobody has an identity, and all may do everything.
    TLS_DOORS
};

// What a client may do; the bits of enum session_right in proto/session.h.
enum tls_right { TLS_MAY_READ = 1, TLS_MAY_WRITE = 2, TLS_MAY_ADMIN = 4, TLS_MAY_ALL = 7 };

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
    struct tls_text crl;            // What was revoked of those; has one list for each CA that
                                    // signs clients' certificates.
    struct tls_text allowed_ids;    // The lines of `ssl_allowed_ids`; NULL: any good certificate.
    struct tls_text ciphers;        // Of OpenSSL's names, those of TLS 1.3 (TLS_...) included;
                                    // NULL: the library's choice.
    bool key_is_der;
    bool resumes;           // Tickets are given and taken.
    bool uses_kernel;       // Hand encryption to the kernel where both sides can.
    uint8_t verify;         // enum tls_verify
    uint8_t version_min;    // 2: TLS 1.2, 3: TLS 1.3; 0 and 1: TLS 1.0 and 1.1, which need
                            // "@SECLEVEL=0" among the ciphers.
};

// Sets aside memory for what all processes share: ticket keys. Call once on a fresh arena, before
// the first fork. Returns PYMC_NO_MEMORY or PYMC_OK.
int tls_create(struct arena *arena);
uint64_t tls_reserve_bytes(void);

// Begins a new ticket key for all processes; the last one before it still opens tickets, older ones
// do not. The supervisor alone calls it, the first time before the first worker. Returns
// PYMC_OS_ERROR without randomness. Crash: the old keys stay.
int tls_tickets_rotate(struct arena *arena);

// Makes a context of the material. Returns PYMC_INVALID with one line in `reason`, or
// PYMC_NO_MEMORY. Borrows the arena. Owns: the caller has one reference.
int tls_context_create(struct arena *arena, const struct tls_options *options,
                       struct tls_context **context_out, char *reason, uint32_t reason_bytes);
// Gives a reference back; the last one frees. NULL is allowed.
void tls_context_release(struct tls_context *context);

// Whether a list of identities can be used: one a line, `spiffe://trust-domain/path`, of which the
// last segment may be `*`, or a DNS name, of which the first label may be `*`; behind it optionally
// `read`, `write`, `admin`, with blanks or commas between; `#` begins a comment. Returns
// PYMC_INVALID with one line in `reason` that names the line, or PYMC_NO_MEMORY.
int tls_ids_check(const char *text, uint32_t bytes, char *reason, uint32_t reason_bytes);
// What an identity may do by such a list: bits of enum tls_right of the first line that fits, 0
// when none does. Also 0 for a list that cannot be used.
uint32_t tls_ids_rights(const char *text, uint32_t bytes, const char *identity,
                        uint32_t identity_bytes);

// Whether this process can hand encryption to the kernel; if not, one line in `reason` says why. A
// probe by a pair of sockets on the loopback.
bool tls_kernel_works(char *reason, uint32_t reason_bytes);

// Why a handshake failed.
enum tls_failure {
    TLS_FAILED_NOT,
    TLS_FAILED_NOT_TLS,              // Something else was sent, as by a client without TLS.
    TLS_FAILED_VERSION,              // The client knows no version that is allowed here.
    TLS_FAILED_CIPHER,               // No cipher, curve or signature that both know.
    TLS_FAILED_NO_CERTIFICATE,       // The client sent none, and one is needed.
    TLS_FAILED_UNKNOWN_CA,           // Its certificate does not lead to a CA of ours.
    TLS_FAILED_EXPIRED,              // It, or one above it, is over,
    TLS_FAILED_NOT_YET_VALID,        // has not begun,
    TLS_FAILED_REVOKED,              // or is on a list of those that were revoked.
    TLS_FAILED_NO_CRL,               // There is no list that counts today for its CA.
    TLS_FAILED_BAD_CERTIFICATE,      // It is for something else, damaged, or badly signed.
    TLS_FAILED_LARGE_CERTIFICATE,    // It, or its chain, is longer than anyone's has to be.
    TLS_FAILED_DENIED,               // It is good, but no line of `allowed_ids` is for it.
    TLS_FAILED_BY_CLIENT,            // The client refused, as when it does not trust our CA.
    TLS_FAILED_BAD_RECORD,           // Damaged, out of order, or too long.
    TLS_FAILED_CLOSED,               // The client went away.
    TLS_FAILED_LATE,                 // It did not come to an end in time.
    TLS_FAILED_INSIDE,               // For want of memory, or another fault on our side.
    TLS_FAILURES
};

// The reason in words, for the log. Never freed.
const char *tls_failure_text(int failure);
