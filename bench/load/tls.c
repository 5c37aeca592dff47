/* The client's TLS context: version, cipher, certificates, sessions. */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "channel.h"

enum { READ_BUFFER_BYTES = 64 * 1024 };

static void check(int worked, const char *option, const char *text) {
    if (worked != 1) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        die(EXIT_CODE_USAGE, "--%s %s: %s", option, text, reason ? reason : "does not work");
    }
}

/* Sessions come after the handshake in TLS 1.3; each is newer than the one before. */
static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct channel *ch = SSL_get_app_data(ssl);
    SSL_SESSION_free(ch->session);
    ch->session = session;
    return 1;
}

static void set_cipher(SSL_CTX *context, const char *name) {
    bool is_1_3 = strncmp(name, "TLS_", 4) == 0;
    int worked =
        is_1_3 ? SSL_CTX_set_ciphersuites(context, name) : SSL_CTX_set_cipher_list(context, name);
    check(worked, "tls-cipher", name);
}

static void set_certificates(SSL_CTX *context, const struct tls_options *o) {
    if (o->ca_path) {
        check(SSL_CTX_load_verify_locations(context, o->ca_path, NULL), "tls-ca", o->ca_path);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    if (o->certificate_path) {
        check(SSL_CTX_use_certificate_chain_file(context, o->certificate_path), "tls-cert",
              o->certificate_path);
        check(SSL_CTX_use_PrivateKey_file(context, o->key_path, SSL_FILETYPE_PEM), "tls-key",
              o->key_path);
    }
}

void tls_client_setup(struct tls_options *o) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        die(EXIT_CODE_USAGE, "--tls: OpenSSL does not start");
    }
    int version = o->is_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER_BYTES);
    if (o->cipher) {
        set_cipher(context, o->cipher);
    }
    set_certificates(context, o);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (o->resumes) {
        SSL_CTX_set_session_cache_mode(context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    }
    o->context = context;
}

void tls_client_teardown(struct tls_options *o) {
    SSL_CTX_free(o->context);
    o->context = NULL;
}

SSL *tls_client_new(const struct tls_options *o, const char *host) {
    SSL *ssl = SSL_new(o->context);
    if (!ssl) {
        die(EXIT_CODE_USAGE, "out of memory");
    }
    if (o->ca_path) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    }
    return ssl;
}
