// A connection's beginning and its client: admitted once after the handshake, and judged again when
// the material changes.
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "meter/meter_inline.h"
#include "tls/tls_internal.h"

SSL *tls_begin(struct tls_context *context, enum tls_door door) {
    ERR_clear_error();
    SSL *ssl = SSL_new(context->doors[door]);
    if (ssl && tls_state_attach(ssl, context)) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

static uint32_t counter_of_version(int version) {
    if (version == TLS1_3_VERSION) {
        return COUNTER_tls_version_1_3;
    }
    return version == TLS1_2_VERSION ? COUNTER_tls_version_1_2 : COUNTER_tls_version_older;
}

static uint32_t counter_of_cipher(const SSL_CIPHER *cipher) {
    switch (cipher ? SSL_CIPHER_get_cipher_nid(cipher) : NID_undef) {
    case NID_aes_128_gcm: return COUNTER_tls_cipher_aes_128_gcm;
    case NID_aes_256_gcm: return COUNTER_tls_cipher_aes_256_gcm;
    case NID_chacha20_poly1305: return COUNTER_tls_cipher_chacha20;
    default: return COUNTER_tls_cipher_others;
    }
}

static void count_handshake(struct tls_context *context, SSL *ssl) {
    bool is_resumed = SSL_session_reused(ssl);
    tls_count(context, is_resumed ? COUNTER_tls_handshakes_resumed : COUNTER_tls_handshakes_full);
    if (!is_resumed && context->ticket_cipher) {
        tls_count(context, COUNTER_ssl_new_sessions);
    }
    tls_count(context, counter_of_version(SSL_version(ssl)));
    tls_count(context, counter_of_cipher(SSL_get_current_cipher(ssl)));
    if (tls_kernel_encrypts(ssl)) {
        tls_count(context, COUNTER_tls_kernel_connections);
    }
}

// OpenSSL keeps a client's certificates for who asks later; all that is asked here is in the proof.
// Those between its own and the CA go; its own stays, with its session.
static void forget_chain(SSL *ssl) {
    STACK_OF(X509) * chains[] = {SSL_get0_verified_chain(ssl), SSL_get_peer_cert_chain(ssl)};
    for (int i = 0; i < 2; i++) {
        while (sk_X509_num(chains[i]) > 0) {
            X509_free(sk_X509_pop(chains[i]));
        }
    }
}

const char *tls_identity(const SSL *ssl) {
    const struct tls_state *state = tls_state_of(ssl);
    return state && state->identity ? state->identity : "";
}

bool tls_admit(struct tls_context *context, SSL *ssl, struct tls_peer *peer) {
    struct tls_state *state = tls_state_of(ssl);
    *peer = (struct tls_peer){0};
    if (!state) {
        return false;
    }
    snprintf(peer->identity, sizeof peer->identity, "%s", tls_identity(ssl));
    if (state->is_denied) {
        state->failure = TLS_FAILED_DENIED;
        return false;
    }
    peer->rights = state->rights;
    count_handshake(context, ssl);
    forget_chain(ssl);
    return true;
}

bool tls_still_admitted(struct tls_context *context, const SSL *ssl, uint8_t *rights) {
    const struct tls_state *state = tls_state_of(ssl);
    *rights = TLS_MAY_ALL;
    if (!state || state->is_denied) {
        return false;
    }
    if (!state->proof.has_certificate) {
        return true;
    }
    if (context->ids && state->identity) {
        *rights = tls_ids_find(context->ids, state->kind, state->identity,
                               (uint32_t)strlen(state->identity));
    } else if (context->ids) {
        *rights = 0;
    }
    return *rights != 0
           && tls_proof_look(&context->trust, &state->proof, tls_now(context)) == TLS_FAILED_NOT;
}
