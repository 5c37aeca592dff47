// Whom clients' certificates may come from, and what was revoked: made anew for each context, so
// that nothing of an older one is trusted on.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/tls_internal.h"

void tls_say_error(char *reason, uint32_t reason_bytes, const char *what) {
    unsigned long error = ERR_peek_last_error();
    const char *said = error ? ERR_reason_error_string(error) : NULL;
    snprintf(reason, reason_bytes, "%s: %s", what, said ? said : "not usable");
    ERR_clear_error();
}

// Whether reading PEM blocks ended since there are no more, and not at a damaged one.
static bool is_at_end(void) {
    unsigned long error = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (is_end) {
        ERR_clear_error();
    }
    return is_end;
}

// Room for one more of `count` entries; NULL without memory, the old ones then stay.
static void *grown(void *entries, uint32_t count, size_t entry_bytes) {
    // It doubles at each power of two.
    if (count > 0 && (count & (count - 1)) != 0) {
        return entries;
    }
    return realloc(entries, (count ? 2 * (size_t)count : 1) * entry_bytes);
}

static bool add_authority(struct tls_trust *trust, X509 *certificate) {
    void *anchors = grown(trust->anchors, trust->anchor_count, TLS_ANCHOR_BYTES);
    if (!anchors) {
        return false;
    }
    trust->anchors = anchors;
    tls_anchor_of(certificate, trust->anchors[trust->anchor_count++]);
    return X509_STORE_add_cert(trust->store, certificate) == 1;
}

static bool read_authorities(struct tls_trust *trust, const struct tls_text *text) {
    BIO *bio = BIO_new_mem_buf(text->text, (int)text->bytes);
    X509 *certificate;
    bool is_good = bio != NULL;
    while (is_good && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        is_good = add_authority(trust, certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    return is_good && is_at_end() && trust->anchor_count > 0;
}

static bool add_revoked(struct tls_trust *trust, X509_CRL *crl) {
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    const X509_NAME *issuer = X509_CRL_get_issuer(crl);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        uint64_t *revoked = grown(trust->revoked, trust->revoked_count, sizeof *revoked);
        if (!revoked) {
            return false;
        }
        trust->revoked = revoked;
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);
        revoked[trust->revoked_count++] =
            tls_signed_mark(issuer, X509_REVOKED_get0_serialNumber(entry));
    }
    trust->has_crl = true;
    return X509_STORE_add_crl(trust->store, crl) == 1;
}

static int compare_marks(const void *one, const void *two) {
    uint64_t a = *(const uint64_t *)one;
    uint64_t b = *(const uint64_t *)two;
    return a < b ? -1 : a > b;
}

static bool read_revoked(struct tls_trust *trust, const struct tls_text *text) {
    BIO *bio = BIO_new_mem_buf(text->text, (int)text->bytes);
    X509_CRL *crl;
    bool is_good = bio != NULL;
    while (is_good && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
        is_good = add_revoked(trust, crl);
        X509_CRL_free(crl);
    }
    BIO_free(bio);
    if (trust->revoked_count) {
        qsort(trust->revoked, trust->revoked_count, sizeof trust->revoked[0], compare_marks);
    }
    return is_good && is_at_end() && trust->has_crl;
}

bool tls_trust_open(struct tls_trust *trust, const struct tls_options *options, char *reason,
                    uint32_t reason_bytes) {
    trust->store = X509_STORE_new();
    ERR_clear_error();
    if (!trust->store) {
        snprintf(reason, reason_bytes, "no memory");
        return false;
    }
    if (options->ca.text && !read_authorities(trust, &options->ca)) {
        tls_say_error(reason, reason_bytes, "certificates of the CA");
        return false;
    }
    if (options->crl.text && !read_revoked(trust, &options->crl)) {
        tls_say_error(reason, reason_bytes, "list of revoked certificates");
        return false;
    }
    return true;
}

void tls_trust_close(struct tls_trust *trust) {
    X509_STORE_free(trust->store);
    free(trust->anchors);
    free(trust->revoked);
    *trust = (struct tls_trust){0};
}
