// Why handshakes fail: OpenSSL's many reasons as a few kinds, in words and as counters.
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdio.h>

#include "meter/meter_inline.h"
#include "tls/tls_internal.h"

// Reasons for alerts that the client sent: this and the alert's number.
#define ALERT_REASONS 1000
#define ALERT_REASONS_END 1256

static const struct {
    const char *text;
    uint32_t counter;
} failures[TLS_FAILURES] = {
    [TLS_FAILED_NOT] = {"it did not fail", COUNTER_tls_failed_inside},
    [TLS_FAILED_NOT_TLS] = {"what came is not TLS", COUNTER_tls_failed_not_tls},
    [TLS_FAILED_VERSION] = {"no version of TLS that both know", COUNTER_tls_failed_version},
    [TLS_FAILED_CIPHER] = {"no cipher that both know", COUNTER_tls_failed_cipher},
    [TLS_FAILED_NO_CERTIFICATE] = {"the client sent no certificate",
                                   COUNTER_tls_failed_no_certificate},
    [TLS_FAILED_UNKNOWN_CA] = {"the client's certificate is of an unknown CA",
                               COUNTER_tls_failed_unknown_ca},
    [TLS_FAILED_EXPIRED] = {"the client's certificate has expired", COUNTER_tls_failed_expired},
    [TLS_FAILED_NOT_YET_VALID] = {"the client's certificate is not valid yet",
                                  COUNTER_tls_failed_not_yet_valid},
    [TLS_FAILED_REVOKED] = {"the client's certificate was revoked", COUNTER_tls_failed_revoked},
    [TLS_FAILED_NO_CRL] = {"no valid revocation list for the CA of the client's certificate",
                           COUNTER_tls_failed_no_crl},
    [TLS_FAILED_BAD_CERTIFICATE] = {"the client's certificate cannot be used",
                                    COUNTER_tls_failed_bad_certificate},
    [TLS_FAILED_LARGE_CERTIFICATE] = {"the client's certificates are too long",
                                      COUNTER_tls_failed_large_certificate},
    [TLS_FAILED_DENIED] = {"the client's identity is not allowed", COUNTER_ssl_denied},
    [TLS_FAILED_BY_CLIENT] = {"the client refused", COUNTER_tls_failed_by_client},
    [TLS_FAILED_BAD_RECORD] = {"the client sent a bad record", COUNTER_tls_failed_bad_record},
    [TLS_FAILED_CLOSED] = {"the client went away", COUNTER_tls_failed_closed},
    [TLS_FAILED_LATE] = {"it took too long", COUNTER_tls_failed_late},
    [TLS_FAILED_INSIDE] = {"a fault on the server's side", COUNTER_tls_failed_inside},
};

const char *tls_failure_text(int failure) {
    return failures[failure > 0 && failure < TLS_FAILURES ? failure : 0].text;
}

static bool is_before_hello(const SSL *ssl) {
    OSSL_HANDSHAKE_STATE at = SSL_get_state(ssl);
    return at == TLS_ST_BEFORE || at == TLS_ST_SR_CLNT_HELLO;
}

static enum tls_failure failure_of_reason(const SSL *ssl, int reason) {
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST: return TLS_FAILED_NOT_TLS;
    case SSL_R_WRONG_VERSION_NUMBER:
        return is_before_hello(ssl) ? TLS_FAILED_NOT_TLS : TLS_FAILED_BAD_RECORD;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_VERSION_TOO_LOW: return TLS_FAILED_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SHARED_GROUPS: return TLS_FAILED_CIPHER;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return TLS_FAILED_NO_CERTIFICATE;
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
        return SSL_get_state(ssl) == TLS_ST_SR_CERT ? TLS_FAILED_LARGE_CERTIFICATE
                                                    : TLS_FAILED_BAD_RECORD;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_WRONG_SIGNATURE_TYPE:
    case SSL_R_BAD_SIGNATURE:
    case SSL_R_EE_KEY_TOO_SMALL:
    case SSL_R_CA_KEY_TOO_SMALL: return TLS_FAILED_BAD_CERTIFICATE;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return TLS_FAILED_CLOSED;
    case ERR_R_MALLOC_FAILURE:
    case ERR_R_INTERNAL_ERROR: return TLS_FAILED_INSIDE;
    default: return TLS_FAILED_BAD_RECORD;
    }
}

// The reason that the TLS of OpenSSL gave first, 0 if it gave none.
static int take_reason(void) {
    int reason = 0;
    unsigned long error;
    while ((error = ERR_get_error())) {
        if (ERR_GET_LIB(error) == ERR_LIB_SSL && !reason) {
            reason = ERR_GET_REASON(error);
        }
    }
    return reason;
}

enum tls_failure tls_failure_of(SSL *ssl, int error) {
    const struct tls_state *state = tls_state_of(ssl);
    int reason = take_reason();
    if (state && state->failure) {
        return state->failure;
    }
    if (reason >= ALERT_REASONS && reason < ALERT_REASONS_END) {
        return TLS_FAILED_BY_CLIENT;
    }
    if (reason) {
        return failure_of_reason(ssl, reason);
    }
    return error == SSL_ERROR_SSL ? TLS_FAILED_INSIDE : TLS_FAILED_CLOSED;
}

void tls_count(struct tls_context *context, uint32_t counter) {
    if (context->proc) {
        count(context->proc, counter, 1);
    }
}

void tls_note_failure(struct tls_context *context, enum tls_failure failure) {
    tls_count(context, COUNTER_ssl_handshake_errors);
    tls_count(context, failures[failure].counter);
}

void tls_explain(const SSL *ssl, enum tls_failure failure, char *line, uint32_t line_bytes) {
    const struct tls_state *state = tls_state_of(ssl);
    const char *whom = state && state->identity ? state->identity : NULL;
    snprintf(line, line_bytes, whom ? "%s: %.*s" : "%s", tls_failure_text(failure),
             TLS_IDENTITY_BYTES, whom);
}
