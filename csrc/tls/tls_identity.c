// Whom a client's certificate names: its alternative names, by length and type, against the list.
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_internal.h"

#define COMMON_NAME_BYTES_MAX 128
// So many names of a certificate are looked at: each is compared with each line of the list.
#define NAMES_MAX 64

static int name_count(const GENERAL_NAMES *names) {
    int count = sk_GENERAL_NAME_num(names);
    return count < NAMES_MAX ? count : NAMES_MAX;
}

// The bytes of one alternative name of the given type, NULL when it is of another.
static const char *name_of(const GENERAL_NAME *name, int type, uint32_t *bytes_out) {
    int found;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &found);
    if (found != type || !value) {
        return NULL;
    }
    *bytes_out = (uint32_t)ASN1_STRING_length(value);
    return (const char *)ASN1_STRING_get0_data(value);
}

// The one SPIFFE ID: NULL when there is none, or more than one name that is a URI.
static const char *spiffe_of(const GENERAL_NAMES *names, uint32_t *bytes_out) {
    const char *found = NULL;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        uint32_t bytes;
        const char *name = name_of(sk_GENERAL_NAME_value(names, i), GEN_URI, &bytes);
        if (name && found) {
            return NULL;
        }
        if (name) {
            found = name;
            *bytes_out = bytes;
        }
    }
    return found && tls_name_is_spiffe(found, *bytes_out) ? found : NULL;
}

// The DNS name at or behind place *at of the first NAMES_MAX, NULL when there are no more.
static const char *next_dns(const GENERAL_NAMES *names, int *at, uint32_t *bytes_out) {
    while (*at < name_count(names)) {
        const char *name = name_of(sk_GENERAL_NAME_value(names, *at), GEN_DNS, bytes_out);
        ++*at;
        if (name && tls_name_is_dns(name, *bytes_out)) {
            return name;
        }
    }
    return NULL;
}

static bool keep(struct tls_state *state, int kind, const char *name, uint32_t bytes) {
    char *copy = malloc(bytes + 1);
    if (!copy) {
        return false;
    }
    memcpy(copy, name, bytes);
    copy[bytes] = '\0';
    free(state->identity);
    state->identity = copy;
    state->kind = (uint8_t)kind;
    return true;
}

static bool keep_common_name(X509 *certificate, struct tls_state *state) {
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    int bytes = 0;
    if (at >= 0) {
        ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        bytes = ASN1_STRING_to_UTF8(&text, value);
    }
    if (bytes <= 0) {
        OPENSSL_free(text);
        return true;
    }
    bytes = bytes < COMMON_NAME_BYTES_MAX ? bytes : COMMON_NAME_BYTES_MAX;
    for (int i = 0; i < bytes; i++) {
        // Blanks too: the name is one word of a line.
        text[i] = text[i] > ' ' && text[i] <= '~' ? text[i] : '?';
    }
    bool is_kept = keep(state, TLS_NAME_OTHER, (const char *)text, (uint32_t)bytes);
    OPENSSL_free(text);
    return is_kept;
}

// What a certificate calls itself.
static bool keep_first(X509 *certificate, const GENERAL_NAMES *names, struct tls_state *state) {
    uint32_t bytes = 0;
    const char *spiffe = spiffe_of(names, &bytes);
    if (spiffe) {
        return keep(state, TLS_NAME_SPIFFE, spiffe, bytes);
    }
    int at = 0;
    const char *dns = next_dns(names, &at, &bytes);
    return dns ? keep(state, TLS_NAME_DNS, dns, bytes) : keep_common_name(certificate, state);
}

// The first line of the list that is for one of the names.
static bool keep_listed(const struct tls_ids *ids, const GENERAL_NAMES *names,
                        struct tls_state *state) {
    uint32_t spiffe_bytes = 0;
    const char *spiffe = spiffe_of(names, &spiffe_bytes);
    for (uint32_t i = 0; i < tls_ids_count(ids); i++) {
        state->rights = spiffe ? tls_ids_match(ids, i, TLS_NAME_SPIFFE, spiffe, spiffe_bytes) : 0;
        if (state->rights) {
            return keep(state, TLS_NAME_SPIFFE, spiffe, spiffe_bytes);
        }
        int at = 0;
        uint32_t bytes = 0;
        const char *dns;
        while ((dns = next_dns(names, &at, &bytes))) {
            state->rights = tls_ids_match(ids, i, TLS_NAME_DNS, dns, bytes);
            if (state->rights) {
                return keep(state, TLS_NAME_DNS, dns, bytes);
            }
        }
    }
    return false;
}

bool tls_identify(const struct tls_context *context, X509 *certificate, struct tls_state *state) {
    // NULL also when there are two such extensions, or it cannot be read: then it has no names.
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    free(state->identity);
    state->identity = NULL;
    state->kind = TLS_NAME_NONE;
    state->rights = 0;
    bool is_good = context->ids && names && keep_listed(context->ids, names, state);
    if (!is_good) {
        is_good = keep_first(certificate, names, state) && !context->ids;
        state->rights = is_good ? TLS_MAY_ALL : 0;
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return is_good;
}
