// What is kept of a client's chain, so that a resumed or old connection can be judged by today's
// material: dates, CA, and who was signed by whom.
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls/tls_internal.h"

#define DIGEST_BYTES 32

static void digest_two(const unsigned char *one, int one_bytes, const unsigned char *two,
                       int two_bytes, uint8_t digest[DIGEST_BYTES]) {
    memset(digest, 0, DIGEST_BYTES);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    PYMC_CHECK(md && one_bytes >= 0 && two_bytes >= 0);
    PYMC_CHECK(EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
               && EVP_DigestUpdate(md, one, (size_t)one_bytes) == 1
               && EVP_DigestUpdate(md, two, (size_t)two_bytes) == 1
               && EVP_DigestFinal_ex(md, digest, NULL) == 1);
    EVP_MD_CTX_free(md);
}

// Name and key: a CA that was renewed with its key is the same one.
void tls_anchor_of(X509 *certificate, uint8_t anchor[TLS_ANCHOR_BYTES]) {
    uint8_t digest[DIGEST_BYTES];
    unsigned char *name = NULL;
    unsigned char *key = NULL;
    int name_bytes = i2d_X509_NAME(X509_get_subject_name(certificate), &name);
    int key_bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    digest_two(name, name_bytes, key, key_bytes, digest);
    memcpy(anchor, digest, TLS_ANCHOR_BYTES);
    OPENSSL_free(name);
    OPENSSL_free(key);
}

uint64_t tls_signed_mark(const X509_NAME *issuer, const ASN1_INTEGER *number) {
    uint8_t digest[DIGEST_BYTES];
    unsigned char *name = NULL;
    unsigned char *digits = NULL;
    int name_bytes = i2d_X509_NAME(issuer, &name);
    int digit_bytes = i2d_ASN1_INTEGER(number, &digits);
    digest_two(name, name_bytes, digits, digit_bytes, digest);
    OPENSSL_free(name);
    OPENSSL_free(digits);
    uint64_t mark;
    memcpy(&mark, digest, sizeof mark);
    return mark ? mark : 1;
}

static int64_t unix_seconds_of(const ASN1_TIME *time, int64_t otherwise) {
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : otherwise;
}

void tls_proof_of(STACK_OF(X509) * chain, struct tls_proof *proof) {
    *proof = (struct tls_proof){.begins_seconds = INT64_MIN, .ends_seconds = INT64_MAX};
    int count = sk_X509_num(chain);
    proof->has_certificate = count > 0;
    for (int i = 0; i < count; i++) {
        X509 *each = sk_X509_value(chain, i);
        // A date that cannot be read was not verified either: never valid.
        int64_t begins = unix_seconds_of(X509_get0_notBefore(each), INT64_MAX);
        int64_t ends = unix_seconds_of(X509_get0_notAfter(each), INT64_MIN);
        proof->begins_seconds = begins > proof->begins_seconds ? begins : proof->begins_seconds;
        proof->ends_seconds = ends < proof->ends_seconds ? ends : proof->ends_seconds;
        if (i < count - 1 && i <= TLS_BETWEEN_MAX) {
            proof->signed_marks[i] =
                tls_signed_mark(X509_get_issuer_name(each), X509_get0_serialNumber(each));
        }
    }
    if (count > 0) {
        tls_anchor_of(sk_X509_value(chain, count - 1), proof->anchor);
    }
}

static bool has_anchor(const struct tls_trust *trust, const uint8_t *anchor) {
    for (uint32_t i = 0; i < trust->anchor_count; i++) {
        if (memcmp(trust->anchors[i], anchor, TLS_ANCHOR_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_revoked(const struct tls_trust *trust, uint64_t mark) {
    uint32_t low = 0;
    uint32_t high = trust->revoked_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (trust->revoked[middle] < mark) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < trust->revoked_count && trust->revoked[low] == mark;
}

enum tls_failure tls_proof_look(const struct tls_trust *trust, const struct tls_proof *proof,
                                int64_t now_seconds) {
    if (!proof->has_certificate) {
        return TLS_FAILED_NO_CERTIFICATE;
    }
    if (now_seconds < proof->begins_seconds) {
        return TLS_FAILED_NOT_YET_VALID;
    }
    if (now_seconds > proof->ends_seconds) {
        return TLS_FAILED_EXPIRED;
    }
    if (!has_anchor(trust, proof->anchor)) {
        return TLS_FAILED_UNKNOWN_CA;
    }
    for (int i = 0; i <= TLS_BETWEEN_MAX; i++) {
        if (proof->signed_marks[i] && has_revoked(trust, proof->signed_marks[i])) {
            return TLS_FAILED_REVOKED;
        }
    }
    return TLS_FAILED_NOT;
}
