// A context: OpenSSL's settings for each kind of listener, made of one generation of material.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_internal.h"

#define CIPHERS_BYTES_MAX 4096
// Names of CAs in a hello; clients read some 16 KiB, and need none at all to choose a certificate.
#define CA_NAMES_BYTES_MAX 8192
#define DIGEST_BYTES 32

// The server's own certificates and key, for all doors.
struct own {
    X509 *leaf;
    STACK_OF(X509) * between;
    EVP_PKEY *key;
};

struct building {
    const struct tls_options *options;
    struct tls_context *context;
    struct own own;
    char *reason;
    uint32_t reason_bytes;
};

static BIO *bio_of(const struct tls_text *text) {
    return BIO_new_mem_buf(text->text, (int)text->bytes);
}

static bool fail(struct building *building, const char *what) {
    tls_say_error(building->reason, building->reason_bytes, what);
    return false;
}

// An encrypted key: nobody is there to be asked.
static int no_password(char *buffer, int bytes, int writes, void *nothing) {
    (void)buffer;
    (void)bytes;
    (void)writes;
    (void)nothing;
    return -1;
}

static bool read_chain(struct building *building) {
    struct own *own = &building->own;
    BIO *bio = bio_of(&building->options->chain);
    own->leaf = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    own->between = sk_X509_new_null();
    bool is_good = own->leaf && own->between;
    X509 *next = NULL;
    while (is_good && (next = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        is_good = sk_X509_push(own->between, next) > 0;
    }
    BIO_free(bio);
    if (!is_good || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        return fail(building, "certificate");
    }
    ERR_clear_error();
    return true;
}

static bool read_key(struct building *building) {
    const struct tls_options *options = building->options;
    struct own *own = &building->own;
    BIO *bio = bio_of(&options->key);
    if (bio) {
        own->key = options->key_is_der ? d2i_PrivateKey_bio(bio, NULL)
                                       : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    }
    BIO_free(bio);
    if (!own->key) {
        return fail(building, "key");
    }
    ERR_clear_error();
    return X509_check_private_key(own->leaf, own->key) == 1
           || fail(building, "key of another certificate");
}

static bool use_own(SSL_CTX *ctx, const struct own *own) {
    bool is_good =
        SSL_CTX_use_certificate(ctx, own->leaf) == 1 && SSL_CTX_use_PrivateKey(ctx, own->key) == 1;
    for (int i = 0; is_good && i < sk_X509_num(own->between); i++) {
        is_good = SSL_CTX_add1_chain_cert(ctx, sk_X509_value(own->between, i)) == 1;
    }
    // Where the file has the first one only, the others may be among the CAs; looked for here, and
    // not in each handshake.
    if (is_good && sk_X509_num(own->between) == 0) {
        SSL_CTX_build_cert_chain(ctx, SSL_BUILD_CHAIN_FLAG_NO_ROOT
                                          | SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR
                                          | SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
    }
    return is_good;
}

// Splits names into those of TLS 1.3 and all others, each joined by colons.
static bool split_ciphers(const struct tls_text *ciphers, char *suites, char *others) {
    char all[CIPHERS_BYTES_MAX];
    if (ciphers->bytes >= sizeof all) {
        return false;
    }
    memcpy(all, ciphers->text, ciphers->bytes);
    all[ciphers->bytes] = '\0';
    char *rest = NULL;
    for (char *word = strtok_r(all, ":, ", &rest); word; word = strtok_r(NULL, ":, ", &rest)) {
        char *list = strncmp(word, "TLS_", 4) == 0 ? suites : others;
        size_t used = strlen(list);
        snprintf(list + used, CIPHERS_BYTES_MAX - used, used ? ":%s" : "%s", word);
    }
    return true;
}

// As in memcached, names of the one kind leave the other kind as the library has it.
static bool use_ciphers(SSL_CTX *ctx, const struct tls_text *ciphers) {
    char suites[CIPHERS_BYTES_MAX] = "";
    char others[CIPHERS_BYTES_MAX] = "";
    return !ciphers->text
           || (split_ciphers(ciphers, suites, others)
               && (!suites[0] || SSL_CTX_set_ciphersuites(ctx, suites) == 1)
               && (!others[0] || SSL_CTX_set_cipher_list(ctx, others) == 1));
}

static int lowest_version(uint8_t version_min) {
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    return versions[version_min < 3 ? version_min : 3];
}

static void use_modes(SSL_CTX *ctx, const struct tls_options *options) {
    SSL_CTX_set_min_proto_version(ctx, lowest_version(options->version_min));
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (options->uses_kernel) {
        SSL_CTX_set_options(ctx, SSL_OP_ENABLE_KTLS);
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                              | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
}

static int verify_mode(const struct tls_options *options, enum tls_door door) {
    static const int modes[] = {
        [TLS_VERIFY_NONE] = SSL_VERIFY_NONE,
        [TLS_VERIFY_OPTIONAL] = SSL_VERIFY_PEER,
        [TLS_VERIFY_REQUIRED] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
        [TLS_VERIFY_ONCE] =
            SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT | SSL_VERIFY_CLIENT_ONCE,
    };
    if (door == TLS_DOOR_BASIC) {
        return SSL_VERIFY_NONE;
    }
    int mode = modes[options->verify <= TLS_VERIFY_ONCE ? options->verify : TLS_VERIFY_REQUIRED];
    bool is_needed =
        door == TLS_DOOR_MUTUAL || (mode != SSL_VERIFY_NONE && options->allowed_ids.text);
    return is_needed ? mode | modes[TLS_VERIFY_REQUIRED] : mode;
}

// The names of the CAs tell clients which certificate to send; too many are not said.
static bool use_ca_names(SSL_CTX *ctx, const struct tls_options *options) {
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    BIO *bio = options->ca.text ? bio_of(&options->ca) : NULL;
    X509 *certificate;
    int bytes = 0;
    bool is_good = names != NULL;
    while (is_good && bio && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(certificate));
        is_good = name && sk_X509_NAME_push(names, name) > 0;
        bytes += i2d_X509_NAME(X509_get_subject_name(certificate), NULL) + 2;
        X509_free(certificate);
    }
    while (is_good && bytes > CA_NAMES_BYTES_MAX && sk_X509_NAME_num(names) > 0) {
        X509_NAME_free(sk_X509_NAME_pop(names));
    }
    BIO_free(bio);
    ERR_clear_error();
    SSL_CTX_set0_CA_list(ctx, names);
    return is_good;
}

static bool add_text(EVP_MD_CTX *digest, const struct tls_text *text) {
    uint32_t bytes = text->text ? text->bytes : UINT32_MAX;
    return EVP_DigestUpdate(digest, &bytes, sizeof bytes) == 1
           && (!text->text || EVP_DigestUpdate(digest, text->text, text->bytes) == 1);
}

// Sessions go on only where the same is asked of clients.
static bool use_session_id(SSL_CTX *ctx, const struct tls_options *options, int mode) {
    uint8_t id[DIGEST_BYTES];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool is_good = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1
                   && EVP_DigestUpdate(digest, &mode, sizeof mode) == 1
                   && (mode == SSL_VERIFY_NONE
                       || (add_text(digest, &options->ca) && add_text(digest, &options->crl)
                           && add_text(digest, &options->allowed_ids)))
                   && EVP_DigestFinal_ex(digest, id, NULL) == 1
                   && SSL_CTX_set_session_id_context(ctx, id, sizeof id) == 1;
    EVP_MD_CTX_free(digest);
    return is_good;
}

static bool make_door(struct building *building, enum tls_door door) {
    const struct tls_options *options = building->options;
    struct tls_context *context = building->context;
    int mode = verify_mode(options, door);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    context->doors[door] = ctx;
    if (!ctx) {
        return fail(building, "TLS");
    }
    SSL_CTX_set1_cert_store(ctx, context->trust.store);
    use_modes(ctx, options);
    if (!use_ciphers(ctx, &options->ciphers)) {
        return fail(building, "ciphers");
    }
    if (!use_own(ctx, &building->own)) {
        return fail(building, "certificate or key");
    }
    tls_verify_use(ctx, context, mode);
    tls_tickets_use(ctx, context);
    if (!use_session_id(ctx, options, mode)
        || (mode != SSL_VERIFY_NONE && !use_ca_names(ctx, options))) {
        return fail(building, "TLS");
    }
    ERR_clear_error();
    return true;
}

static bool read_rules(struct building *building) {
    const struct tls_options *options = building->options;
    struct tls_context *context = building->context;
    if (!tls_trust_open(&context->trust, options, building->reason, building->reason_bytes)) {
        return false;
    }
    if (options->verify >= TLS_VERIFY_REQUIRED && !context->trust.anchor_count) {
        snprintf(building->reason, building->reason_bytes,
                 "clients need a certificate, but there is no CA");
        return false;
    }
    char why[128];
    if (options->allowed_ids.text
        && tls_ids_open(options->allowed_ids.text, options->allowed_ids.bytes, &context->ids, why,
                        sizeof why)
               != PYMC_OK) {
        snprintf(building->reason, building->reason_bytes, "identities: %s", why);
        return false;
    }
    if (options->resumes) {
        context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    }
    return true;
}

static bool build(struct building *building) {
    bool is_good = read_rules(building) && read_chain(building) && read_key(building);
    for (int door = 0; is_good && door < TLS_DOORS; door++) {
        is_good = make_door(building, door);
    }
    X509_free(building->own.leaf);
    sk_X509_pop_free(building->own.between, X509_free);
    EVP_PKEY_free(building->own.key);
    ERR_clear_error();
    return is_good;
}

int tls_context_create(struct arena *arena, const struct tls_options *options,
                       struct tls_context **context_out, char *reason, uint32_t reason_bytes) {
    struct tls_context *context = calloc(1, sizeof *context);
    if (!context) {
        return PYMC_NO_MEMORY;
    }
    context->references = 1;
    context->arena = arena;
    ERR_clear_error();
    struct building building = {
        .options = options, .context = context, .reason = reason, .reason_bytes = reason_bytes};
    if (!build(&building)) {
        tls_context_release(context);
        return PYMC_INVALID;
    }
    *context_out = context;
    return PYMC_OK;
}

void tls_context_serve(struct tls_context *context, struct proc *proc) {
    context->proc = proc;
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
        tls_trust_close(&context->trust);
        tls_ids_close(context->ids);
        EVP_CIPHER_free(context->ticket_cipher);
        free(context);
    }
}
