// Fuzzes the list of identities and the names of certificates: what a list lets in is what a plain
// reading of its lines lets in, and no bytes in a certificate break the reader.
//
// Input: the lines of a list, a byte \x01, a name; a second \x01, and what follows is the whole
// extension of alternative names of a certificate.
#define _GNU_SOURCE
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check_inline.h"
#include "tls/tls_internal.h"

#define SEPARATOR 1
#define NAME_BYTES_MAX 4096

static bool is_word_end(char c) {
    return c == '\0' || strchr(" \t\r\n", c) != NULL;
}

static bool is_alike(const char *a, const char *b, size_t count, bool folds_case) {
    return folds_case ? strncasecmp(a, b, count) == 0 : memcmp(a, b, count) == 0;
}

// Compares from both ends towards the `*`, other than the code under test does.
static bool fits(const char *pattern, size_t pattern_bytes, const char *name, size_t bytes) {
    bool is_spiffe = pattern_bytes > 9 && memcmp(pattern, "spiffe://", 9) == 0;
    const char *star = memchr(pattern, '*', pattern_bytes);
    if (!star) {
        return bytes == pattern_bytes && is_alike(pattern, name, bytes, !is_spiffe);
    }
    size_t before = (size_t)(star - pattern);
    size_t after = pattern_bytes - before - 1;
    if (bytes <= before + after) {
        return false;
    }
    return is_alike(pattern, name, before, !is_spiffe)
           && is_alike(star + 1, name + bytes - after, after, !is_spiffe)
           && !memchr(name + before, is_spiffe ? '/' : '.', bytes - before - after);
}

// Whether a line of a list that is known to be good is for the name.
static bool is_listed(const char *list, const char *name, size_t bytes) {
    while (*list) {
        list += strspn(list, " \t\r");
        size_t word = 0;
        while (!is_word_end(list[word])) {
            word++;
        }
        if (word && list[0] != '#' && fits(list, word, name, bytes)) {
            return true;
        }
        list += strcspn(list, "\n");
        list += *list == '\n';
    }
    return false;
}

static void compare(const char *list, size_t list_bytes, const char *name, size_t bytes) {
    bool is_name =
        tls_name_is_spiffe(name, (uint32_t)bytes) || tls_name_is_dns(name, (uint32_t)bytes);
    uint32_t rights = tls_ids_rights(list, (uint32_t)list_bytes, name, (uint32_t)bytes);
    PYMC_CHECK(rights <= TLS_MAY_ALL);
    PYMC_CHECK((rights != 0) == (is_name && is_listed(list, name, bytes)));
}

static void identify(const struct tls_context *context, const char *extension, size_t bytes) {
    X509 *certificate = X509_new();
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    PYMC_CHECK(certificate && value);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)extension, bytes < 60 ? (int)bytes : 60, -1,
                               0);
    ASN1_OCTET_STRING_set(value, (const unsigned char *)extension, (int)bytes);
    X509_EXTENSION *made = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
    PYMC_CHECK(made && X509_add_ext(certificate, made, -1) == 1);
    struct tls_state state = {0};
    bool is_good = tls_identify(context, certificate, &state);
    PYMC_CHECK(is_good == (state.rights != 0));
    for (const char *c = state.identity; c && *c; c++) {
        PYMC_CHECK(*c > ' ' && *c <= '~');
    }
    PYMC_CHECK(!is_good || !context->ids || state.kind != TLS_NAME_OTHER);
    free(state.identity);
    X509_EXTENSION_free(made);
    ASN1_OCTET_STRING_free(value);
    X509_free(certificate);
    ERR_clear_error();
}

// A copy of the exact size lets AddressSanitizer see reads behind it; with a NUL that no length
// counts.
static char *copy_of(const uint8_t *data, size_t bytes) {
    char *copy = malloc(bytes + 1);
    PYMC_CHECK(copy);
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = data + size;
    const uint8_t *list_end = size ? memchr(data, SEPARATOR, size) : NULL;
    list_end = list_end ? list_end : end;
    const uint8_t *name = list_end < end ? list_end + 1 : end;
    const uint8_t *name_end = name < end ? memchr(name, SEPARATOR, (size_t)(end - name)) : NULL;
    name_end = name_end ? name_end : end;
    const uint8_t *extension = name_end < end ? name_end + 1 : end;
    size_t list_bytes = (size_t)(list_end - data);
    size_t name_bytes = (size_t)(name_end - name);
    if (name_bytes > NAME_BYTES_MAX) {
        return 0;
    }
    char *list = copy_of(data, list_bytes);
    char *who = copy_of(name, name_bytes);
    char *names = copy_of(extension, (size_t)(end - extension));
    char reason[160] = "";
    struct tls_context context = {0};
    int status = tls_ids_open(list, (uint32_t)list_bytes, &context.ids, reason, sizeof reason);
    PYMC_CHECK((status == PYMC_OK) == (reason[0] == '\0'));
    // A NUL may stand in a comment, where the plain reading ends.
    if (status == PYMC_OK && !memchr(list, '\0', list_bytes)) {
        compare(list, list_bytes, who, name_bytes);
    }
    identify(&context, names, (size_t)(end - extension));
    tls_ids_close(context.ids);
    context.ids = NULL;
    identify(&context, names, (size_t)(end - extension));
    free(list);
    free(who);
    free(names);
    return 0;
}
