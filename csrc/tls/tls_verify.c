// Verification of clients: their chain, then their identity; and how a refused one is told.
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <time.h>

#include "shm/arena_inline.h"
#include "shm/proc_inline.h"
#include "tls/tls_internal.h"

// A client's certificates together; ten times what a chain of five with elliptic curves has.
#define CERTIFICATES_BYTES_MAX 32768
// An extension that nobody has: it is never sent, but OpenSSL asks for it before each ticket.
#define ASKED_EXTENSION 65481
#define ALERT_BYTES 7

int64_t tls_now(const struct tls_context *context) {
    if (context->proc) {
        return arena_epoch_unix_seconds(context->proc->arena) + context->proc->now_seconds;
    }
    struct tm parts;
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    int64_t seconds = now && ASN1_TIME_to_tm(now, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
    ASN1_TIME_free(now);
    return seconds;
}

static enum tls_failure failure_of_chain(int error) {
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return TLS_FAILED_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID: return TLS_FAILED_NOT_YET_VALID;
    case X509_V_ERR_CERT_REVOKED: return TLS_FAILED_REVOKED;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE: return TLS_FAILED_NO_CRL;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED: return TLS_FAILED_UNKNOWN_CA;
    case X509_V_ERR_CERT_CHAIN_TOO_LONG: return TLS_FAILED_LARGE_CERTIFICATE;
    case X509_V_ERR_OUT_OF_MEM: return TLS_FAILED_INSIDE;
    default: return TLS_FAILED_BAD_CERTIFICATE;
    }
}

// A list is needed for the CA that signed the client's own certificate; those above it are looked
// up in a list where there is one.
static int look_at_error(int is_good, X509_STORE_CTX *chain) {
    bool is_missing = X509_STORE_CTX_get_error(chain) == X509_V_ERR_UNABLE_TO_GET_CRL;
    if (!is_good && is_missing && X509_STORE_CTX_get_error_depth(chain) > 0) {
        X509_STORE_CTX_set_error(chain, X509_V_OK);
        return 1;
    }
    return is_good;
}

static bool verify_chain(const struct tls_context *context, X509_STORE_CTX *chain) {
    X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(chain);
    X509_VERIFY_PARAM_set_time(rules, (time_t)tls_now(context));
    if (context->trust.has_crl) {
        X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
        X509_STORE_CTX_set_verify_cb(chain, look_at_error);
    }
    return X509_verify_cert(chain) == 1;
}

// Up to TLS 1.2 nothing is encrypted when the client's certificate is looked at, and OpenSSL has no
// way to say `access denied`: so the alert is written here. What OpenSSL then says of its own goes
// nowhere; its BIO may be one that other connections have as well.
static void write_denial(SSL *ssl) {
    int version = SSL_version(ssl);
    const unsigned char alert[ALERT_BYTES] = {
        SSL3_RT_ALERT, (unsigned char)(version >> 8), (unsigned char)version, 0, 2,
        SSL3_AL_FATAL, SSL_AD_ACCESS_DENIED};
    BIO *bio = SSL_get_wbio(ssl);
    if (bio && BIO_write(bio, alert, ALERT_BYTES) == ALERT_BYTES) {
        (void)BIO_flush(bio);
        BIO *nowhere = BIO_new(BIO_s_null());
        if (nowhere) {
            SSL_set0_wbio(ssl, nowhere);
        }
    }
}

// In TLS 1.3 the alert has to be encrypted, which only OpenSSL can do: it fails with the right one
// when it asks for the extension of a ticket, which comes after the client's last message.
static bool deny(SSL *ssl, struct tls_state *state) {
    state->failure = TLS_FAILED_DENIED;
    state->is_denied = true;
    if (SSL_version(ssl) >= TLS1_3_VERSION) {
        SSL_set_num_tickets(ssl, 1);
        return true;
    }
    write_denial(ssl);
    return false;
}

static int verify_client(X509_STORE_CTX *chain, void *context_of_door) {
    struct tls_context *context = context_of_door;
    SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_state *state = ssl ? tls_state_of(ssl) : NULL;
    X509 *leaf = X509_STORE_CTX_get0_cert(chain);
    if (!state || !leaf) {
        X509_STORE_CTX_set_error(chain, X509_V_ERR_UNSPECIFIED);
        return 0;
    }
    bool is_good = verify_chain(context, chain);
    bool is_allowed = tls_identify(context, leaf, state);
    if (!is_good) {
        state->failure = (uint8_t)failure_of_chain(X509_STORE_CTX_get_error(chain));
        return 0;
    }
    tls_proof_of(X509_STORE_CTX_get0_chain(chain), &state->proof);
    if (is_allowed || deny(ssl, state)) {
        return 1;
    }
    X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static int ask_before_ticket(SSL *ssl, unsigned int type, unsigned int place,
                             const unsigned char **bytes, size_t *count, X509 *certificate,
                             size_t number, int *alert, void *more) {
    (void)type;
    (void)place;
    (void)bytes;
    (void)count;
    (void)certificate;
    (void)number;
    (void)more;
    const struct tls_state *state = tls_state_of(ssl);
    if (state && state->is_denied) {
        *alert = SSL_AD_ACCESS_DENIED;
        return -1;
    }
    return 0;
}

void tls_verify_use(SSL_CTX *ctx, struct tls_context *context, int mode) {
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_verify_depth(ctx, TLS_BETWEEN_MAX);
    SSL_CTX_set_max_cert_list(ctx, CERTIFICATES_BYTES_MAX);
    if (mode == SSL_VERIFY_NONE) {
        return;
    }
    SSL_CTX_set_cert_verify_callback(ctx, verify_client, context);
    SSL_CTX_add_custom_ext(ctx, ASKED_EXTENSION, SSL_EXT_TLS1_3_NEW_SESSION_TICKET,
                           ask_before_ticket, NULL, NULL, NULL, NULL);
}
