// Tickets: sealed and opened with the arena's keys, and judged again before a session goes on.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "meter/meter_inline.h"
#include "tls/tls_internal.h"

// Longer than a key is in use: the keys' age is what ends a ticket.
#define TICKET_SECONDS 86400
// What OpenSSL's callback for keys returns.
#define KEY_NONE 0
#define KEY_CURRENT 1
#define KEY_RENEW 2
#define KEY_FAILED (-1)

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key) {
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_octet_string(
                                   OSSL_MAC_PARAM_KEY, (void *)key->mac_key, TLS_TICKET_KEY_BYTES),
                               OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_END};
    return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

static int seal(const struct tls_context *context, const struct tls_ticket_keys *keys,
                unsigned char *name, unsigned char *start, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac) {
    const struct tls_ticket_key *key = &keys->keys[0];
    int start_bytes = EVP_CIPHER_get_iv_length(context->ticket_cipher);
    if (RAND_bytes(start, start_bytes) != 1
        || EVP_EncryptInit_ex2(cipher, context->ticket_cipher, key->cipher_key, start, NULL) != 1
        || !set_mac(mac, key)) {
        return KEY_FAILED;
    }
    memcpy(name, key->name, TLS_TICKET_NAME_BYTES);
    return KEY_CURRENT;
}

static int open_ticket(const struct tls_context *context, const struct tls_ticket_keys *keys,
                       const unsigned char *name, unsigned char *start, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac) {
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct tls_ticket_key *key = &keys->keys[i];
        if (CRYPTO_memcmp(name, key->name, TLS_TICKET_NAME_BYTES) == 0) {
            if (!set_mac(mac, key)
                || EVP_DecryptInit_ex2(cipher, context->ticket_cipher, key->cipher_key, start, NULL)
                       != 1) {
                return KEY_FAILED;
            }
            return i == 0 ? KEY_CURRENT : KEY_RENEW;
        }
    }
    return KEY_NONE;
}

static int give_key(SSL *ssl, unsigned char *name, unsigned char *start, EVP_CIPHER_CTX *cipher,
                    EVP_MAC_CTX *mac, int seals) {
    const struct tls_state *state = tls_state_of(ssl);
    struct tls_ticket_keys keys;
    if (!state || !tls_tickets_read(state->context->arena, &keys)) {
        return KEY_NONE;
    }
    int result = seals ? seal(state->context, &keys, name, start, cipher, mac)
                       : open_ticket(state->context, &keys, name, start, cipher, mac);
    OPENSSL_cleanse(&keys, sizeof keys);
    return result;
}

// What goes into a ticket beside the session: by it the chain, of which a ticket has only the
// first certificate, is judged when it comes back.
static int put_proof(SSL *ssl, void *nothing) {
    (void)nothing;
    const struct tls_state *state = tls_state_of(ssl);
    return state
           && SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &state->proof,
                                              sizeof state->proof)
                  == 1;
}

static bool take_proof(SSL_SESSION *session, struct tls_proof *proof) {
    void *bytes = NULL;
    size_t count = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &bytes, &count) != 1 || count != sizeof *proof) {
        return false;
    }
    memcpy(proof, bytes, sizeof *proof);
    return true;
}

// Whether a session may go on with today's material.
static bool is_still_good(SSL *ssl, SSL_SESSION *session, struct tls_state *state) {
    const struct tls_context *context = state->context;
    struct tls_proof proof;
    X509 *leaf = SSL_SESSION_get0_peer(session);
    if (!take_proof(session, &proof) || proof.has_certificate != (leaf != NULL)) {
        return false;
    }
    if (!leaf) {
        return !(SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    }
    // Who is refused here is asked for a certificate again, and learns by that why.
    if (tls_proof_look(&context->trust, &proof, tls_now(context)) != TLS_FAILED_NOT
        || !tls_identify(context, leaf, state)) {
        return false;
    }
    state->proof = proof;
    return true;
}

static SSL_TICKET_RETURN look_at_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                        size_t name_bytes, SSL_TICKET_STATUS status,
                                        void *nothing) {
    (void)name;
    (void)name_bytes;
    (void)nothing;
    struct tls_state *state = tls_state_of(ssl);
    if (!state || status == SSL_TICKET_EMPTY) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    if (status == SSL_TICKET_NO_DECRYPT) {
        tls_count(state->context, COUNTER_tls_tickets_unreadable);
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    if (!session || !is_still_good(ssl, session, state)) {
        tls_count(state->context, COUNTER_tls_tickets_refused);
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    // A client of TLS 1.3 uses a ticket once.
    bool renews = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) >= TLS1_3_VERSION;
    return renews ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

void tls_tickets_use(SSL_CTX *ctx, struct tls_context *context) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_recv_max_early_data(ctx, 0);
    if (!context->ticket_cipher) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
        return;
    }
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_timeout(ctx, TICKET_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, give_key);
    SSL_CTX_set_session_ticket_cb(ctx, put_proof, look_at_ticket, NULL);
}
