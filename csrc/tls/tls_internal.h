// What the files of this room share: ticket keys in the arena, a process's context, what is known
// of a connection's client.
#pragma once

#include "base/check_inline.h"
#include "tls/tls_ids_internal.h"
#include "tls/tls_inline.h"

#define TLS_TICKET_NAME_BYTES 16
#define TLS_TICKET_KEY_BYTES 32
#define TLS_TICKET_KEYS 3
// A chain has the client's certificate, so many between it and a CA, and the CA.
#define TLS_BETWEEN_MAX 4
#define TLS_ANCHOR_BYTES 16

// One key of tickets: what names it in a ticket, and what encrypts and signs.
struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME_BYTES];
    uint8_t cipher_key[TLS_TICKET_KEY_BYTES];
    uint8_t mac_key[TLS_TICKET_KEY_BYTES];
};

// In the arena. `version` counts the keys that were made: the current one is keys[version % 3], the
// last before it keys[(version - 1) % 3]. The third place is where the next one is written, so
// whoever reads the other two under one version has them whole. 0: there is none yet.
struct tls_root {
    uint64_t version;
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
};

// The keys as one reader found them; each is whole. `count` is 0, 1 or 2, the current one first.
struct tls_ticket_keys {
    uint32_t count;
    struct tls_ticket_key keys[2];
};

// What of a client's chain decides whether it stays good, when nothing else of it is at hand. Lies
// in tickets, which only processes of this server read.
struct tls_proof {
    int64_t begins_seconds;                        // Unix seconds: from when all of it is valid,
    int64_t ends_seconds;                          // and how long.
    uint8_t anchor[TLS_ANCHOR_BYTES];              // Which CA: its name and key, digested.
    uint64_t signed_marks[1 + TLS_BETWEEN_MAX];    // Issuer and number of each certificate below
                                                   // the CA, digested; 0 for none.
    bool has_certificate;                          // False: the client has none.
};

// CAs and revoked certificates of a context, for looking proofs up.
struct tls_trust {
    X509_STORE *store;    // NULL without a CA.
    uint8_t (*anchors)[TLS_ANCHOR_BYTES];
    uint32_t anchor_count;
    uint64_t *revoked;    // In rising order.
    uint32_t revoked_count;
    bool has_crl;
};

struct tls_context {
    uint32_t references;
    struct arena *arena;
    struct proc *proc;    // NULL until tls_context_serve().
    SSL_CTX *doors[TLS_DOORS];
    struct tls_trust trust;
    struct tls_ids *ids;          // NULL: any good certificate.
    EVP_CIPHER *ticket_cipher;    // Fetched once.
};

// What a connection knows of its client, from the handshake on.
struct tls_state {
    struct tls_context *context;    // Borrowed; for the handshake only.
    struct tls_proof proof;
    uint8_t failure;    // enum tls_failure: what verification found.
    uint8_t rights;
    uint8_t kind;      // enum tls_name_kind of `identity`
    bool is_denied;    // Its certificate is good, but not allowed.
    char *identity;    // NULL without a certificate or a name; ends with NUL.
};

// The wall clock, in Unix seconds: the cache's, so that `debugtime` moves it.
int64_t tls_now(const struct tls_context *context);
// Adds 1 to a counter of the context's process, if it has one.
void tls_count(struct tls_context *context, uint32_t counter);

// What tls_begin() gave a connection; NULL for one that it did not make.
struct tls_state *tls_state_of(const SSL *ssl);
// Gives a new connection its state. Returns false without memory.
bool tls_state_attach(SSL *ssl, struct tls_context *context);

bool tls_tickets_read(const struct arena *arena, struct tls_ticket_keys *keys);
// Lets the doors of a context give and take tickets, or give none.
void tls_tickets_use(SSL_CTX *ctx, struct tls_context *context);

// Reads CA and CRL. Returns false with one line in `reason`.
bool tls_trust_open(struct tls_trust *trust, const struct tls_options *options, char *reason,
                    uint32_t reason_bytes);
void tls_trust_close(struct tls_trust *trust);
// Lets a door ask for certificates and verify them.
void tls_verify_use(SSL_CTX *ctx, struct tls_context *context, int mode);

// Takes from a verified chain, the CA last, what decides whether it stays good.
void tls_proof_of(STACK_OF(X509) * chain, struct tls_proof *proof);
// What is wrong with it, by this trust and now; TLS_FAILED_NOT if nothing is.
enum tls_failure tls_proof_look(const struct tls_trust *trust, const struct tls_proof *proof,
                                int64_t now_seconds);
void tls_anchor_of(X509 *certificate, uint8_t anchor[TLS_ANCHOR_BYTES]);
uint64_t tls_signed_mark(const X509_NAME *issuer, const ASN1_INTEGER *number);

// Whom a certificate names: fills identity, its kind and rights by the context's list. Returns
// false when there is a list and none of its lines is for the certificate; the identity is then
// what the certificate calls itself. Without memory it returns false as well.
bool tls_identify(const struct tls_context *context, X509 *certificate, struct tls_state *state);

// Writes OpenSSL's reason behind `what`, and empties its error queue.
void tls_say_error(char *reason, uint32_t reason_bytes, const char *what);
