/* The client's side of TLS: what all connections have in common. */
#pragma once

#include <openssl/ssl.h>

#include "options.h"

/* Makes `o->context` from the other options; ends the process with a message when one is wrong. */
void tls_client_setup(struct tls_options *o);
void tls_client_teardown(struct tls_options *o);

/* A connection's TLS, which still lacks its socket. With --tls-ca the certificate must be for the
 * address `host`. Sessions that the server gives go to the channel that is its app data. */
SSL *tls_client_new(const struct tls_options *o, const char *host);
