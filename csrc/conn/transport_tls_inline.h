// Encrypted connections: a transport that encrypts what another one moves, for whoever opens one.
#pragma once

#include "conn/transport_inline.h"
#include "tls/tls_inline.h"

// What the encrypted connections of a worker share: buffers, and how OpenSSL gets at them.
struct tls_io;

// Returns NULL without memory. Owns: the caller, until all its transports are closed.
struct tls_io *tls_io_open(void);
// NULL is allowed.
void tls_io_close(struct tls_io *io);
// How much is encrypted before it is handed to the system in one piece; 0 for the usual.
void tls_io_set_output(struct tls_io *io, uint32_t bytes);
// For tests: the way of kernel TLS is gone whether the kernel encrypts or not.
void tls_io_pretend_kernel(struct tls_io *io);
// Once a second: takes OpenSSL's buffers from connections that have moved nothing for a while.
void tls_io_tick(struct tls_io *io);

// Puts encryption on top of an open transport, which becomes part of this one. Holds the context.
// Returns false without memory; then the transport is as before.
MUST_CHECK bool transport_encrypt(struct transport *transport, struct tls_io *io,
                                  struct tls_context *context, enum tls_door door);
// What is below the encryption; the transport itself where there is none.
const struct transport *transport_below(const struct transport *transport);

// Why it cannot go on, after a call returned TRANSPORT_BROKEN.
enum tls_failure transport_tls_failure(const struct transport *transport);

// Of an encrypted transport that has been greeted: whom it talks to. Returns false for one whom the
// context does not allow.
MUST_CHECK bool transport_tls_admit(struct transport *transport, struct tls_peer *peer_out);
// NULL for one that is not encrypted. Borrowed.
struct tls_context *transport_tls_context(const struct transport *transport);
// The same.
SSL *transport_tls_ssl(const struct transport *transport);
