// TLS for the connections' transport: a connection's part of a context, and whom it talks to.
#pragma once

#include <openssl/ssl.h>

#include "base/check_inline.h"
#include "tls/tls.h"

struct proc;

// Whom a connection talks to.
struct tls_peer {
    char identity[TLS_IDENTITY_BYTES];    // What of the certificate is in allowed_ids, or its first
                                          // name; "" without one. Ends with NUL; printable ASCII.
    uint8_t rights;                       // enum tls_right
};

// Whose clock says which certificates are valid, and where is counted what happens. Without it that
// is the system's, and nothing is counted. Borrows it for as long as the context lives.
void tls_context_serve(struct tls_context *context, struct proc *proc);

// One more reference to the context.
struct tls_context *tls_context_hold(struct tls_context *context);

// The server's side of a new connection, before its handshake; NULL without memory. The caller
// gives it a BIO or descriptor, holds the context for as long as it lives, and frees it with
// SSL_free(). Its application data (SSL_set_app_data) are the caller's.
SSL *tls_begin(struct tls_context *context, enum tls_door door);

// Once the handshake is done: fills the peer, and counts it. Returns false for one whom the context
// does not allow: as a rule the handshake failed by then, and with TLS_FAILED_DENIED.
MUST_CHECK bool tls_admit(struct tls_context *context, SSL *ssl, struct tls_peer *peer);

// Whom its certificate names, as tls_peer has it, of the last handshake; "" for nobody. Borrowed.
const char *tls_identity(const SSL *ssl);

// Whether the client of a connection, which an older context admitted, would be admitted by this
// one, as far as its certificate goes: dates, CA, revocation, identity. `rights` becomes what it
// may do. Takes a microsecond or two, and nothing of the connection's own context.
MUST_CHECK bool tls_still_admitted(struct tls_context *context, const SSL *ssl, uint8_t *rights);

// Whether the kernel encrypts what a connection sends.
bool tls_kernel_encrypts(SSL *ssl);
// Counts one that ends because its client wants keys that the kernel cannot be given.
void tls_note_old_keys(struct tls_context *context);

// Why a handshake failed; `error` is what SSL_get_error() said. Empties OpenSSL's error queue.
enum tls_failure tls_failure_of(SSL *ssl, int error);
// Counts it.
void tls_note_failure(struct tls_context *context, enum tls_failure failure);
// One line for the log: the reason, and whom it is about, as far as that is known. Printable ASCII.
void tls_explain(const SSL *ssl, enum tls_failure failure, char *line, uint32_t line_bytes);
