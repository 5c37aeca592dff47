// A context: OpenSSL's settings for each kind of listener, made of one generation of material.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/tls_internal.h"

// The reason of OpenSSL's that came first, in its words.
static void explain(char *reason, uint32_t reason_bytes, const char *what) {
    unsigned long error = ERR_get_error();
    const char *said = error ? ERR_reason_error_string(error) : NULL;
    snprintf(reason, reason_bytes, "%s: %s", what, said ? said : "not usable");
    ERR_clear_error();
}

static BIO *bio_of(const struct tls_text *text) {
    return BIO_new_mem_buf(text->text, (int)text->bytes);
}

static bool use_chain(SSL_CTX *ctx, const struct tls_text *chain) {
    BIO *bio = bio_of(chain);
    X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    bool is_good = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    X509_free(leaf);
    X509 *next;
    while (is_good && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        is_good = SSL_CTX_add0_chain_cert(ctx, next) == 1;
    }
    BIO_free(bio);
    return is_good;
}

static bool use_key(SSL_CTX *ctx, const struct tls_options *options) {
    BIO *bio = bio_of(&options->key);
    EVP_PKEY *key = NULL;
    if (bio) {
        key = options->key_is_der ? d2i_PrivateKey_bio(bio, NULL)
                                  : PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    }
    bool is_good = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return is_good;
}

static SSL_CTX *make_door(const struct tls_options *options, char *reason, uint32_t reason_bytes) {
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) {
        explain(reason, reason_bytes, "TLS");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, options->version_min >= 3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                              | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    if (use_chain(ctx, &options->chain) && use_key(ctx, options)) {
        return ctx;
    }
    explain(reason, reason_bytes, "certificate or key");
    SSL_CTX_free(ctx);
    return NULL;
}

int tls_context_create(struct arena *arena, const struct tls_options *options,
                       struct tls_context **context_out, char *reason, uint32_t reason_bytes) {
    struct tls_context *context = calloc(1, sizeof *context);
    if (!context) {
        return PYMC_NO_MEMORY;
    }
    context->references = 1;
    context->arena = arena;
    for (int door = 0; door < TLS_DOORS; door++) {
        context->doors[door] = make_door(options, reason, reason_bytes);
        if (!context->doors[door]) {
            tls_context_release(context);
            return PYMC_INVALID;
        }
    }
    *context_out = context;
    return PYMC_OK;
}

struct tls_context *tls_context_hold(struct tls_context *context) {
    context->references++;
    return context;
}

void tls_context_release(struct tls_context *context) {
    if (context && --context->references == 0) {
        for (int door = 0; door < TLS_DOORS; door++) {
            SSL_CTX_free(context->doors[door]);
        }
        free(context);
    }
}

SSL *tls_begin(struct tls_context *context, enum tls_door door) {
    SSL *ssl = SSL_new(context->doors[door]);
    if (ssl) {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

bool tls_admit(struct tls_context *context, SSL *ssl, struct tls_peer *peer) {
    (void)context;
    (void)ssl;
    peer->identity[0] = '\0';
    peer->rights = UINT8_MAX;
    return true;
}
