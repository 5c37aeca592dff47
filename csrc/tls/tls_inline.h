// TLS for the connections' transport: a connection's part of a context, and whom it talks to.
#pragma once

#include <openssl/ssl.h>

#include "base/check_inline.h"
#include "tls/tls.h"

#define TLS_IDENTITY_BYTES 256

// What a listener asks for; TLS_DOOR_DEFAULT is what the options say.
enum tls_door { TLS_DOOR_DEFAULT, TLS_DOOR_MUTUAL, TLS_DOOR_BASIC, TLS_DOORS };

// Whom a connection talks to.
struct tls_peer {
    char identity[TLS_IDENTITY_BYTES];    // What of the certificate is in allowed_ids, or its first
                                          // name; "" without one. Ends with NUL; printable ASCII.
    uint8_t rights;                       // enum session_right bits of proto/session.h
};

// One more reference to the context.
struct tls_context *tls_context_hold(struct tls_context *context);

// The server's side of a new connection, before its handshake; NULL without memory. The caller
// gives it a BIO or descriptor, and frees it with SSL_free().
SSL *tls_begin(struct tls_context *context, enum tls_door door);

// Once the handshake is done: fills the peer. Returns false for one whom the context does not
// allow.
MUST_CHECK bool tls_admit(struct tls_context *context, SSL *ssl, struct tls_peer *peer);
