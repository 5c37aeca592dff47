// Fuzzes the server's side of a handshake: bytes of anybody, and a real client of whose bytes some
// are changed, cut, dropped or doubled on their way.
//
// Input: one byte that chooses the client and the server, then steps: a byte that says what happens
// to what the client sends next (see enum mishap), and its arguments. What is left is sent as it is
// when the client has no more to say.
#define _GNU_SOURCE
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "shm/arena.h"
#include "tls/tls_inline.h"
#include "tls/tls_rig.h"

#define ROUNDS_MAX 24
#define CHUNK_BYTES 65536
#define LIST "spiffe://fuzz/good read\n"

enum mishap { PASSES, FLIPS, CUTS, DOUBLES, DROPS, INSERTS, MISHAPS };

enum choice {
    CHOOSES_OLD_VERSION = 1,
    CHOOSES_CERTIFICATE = 2,
    CHOOSES_MUTUAL = 4,
    CHOOSES_RAW = 8,       // No client: only the input's bytes.
    CHOOSES_TICKET = 16    // A whole handshake comes first, of which the client keeps the ticket.
};

struct program {
    const uint8_t *at;
    size_t left;
};

struct world {
    struct arena *arena;
    struct tls_context *context;
    SSL_CTX *client;
    SSL_CTX *nameless;
};

static uint8_t next_byte(struct program *program) {
    if (program->left == 0) {
        return 0;
    }
    program->left--;
    return *program->at++;
}

static X509 *sign(EVP_PKEY *key, const char *name, const char *san) {
    X509 *made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 86400 * 30);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(made, X509_get_subject_name(made));
    X509_set_pubkey(made, key);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    PYMC_CHECK(names && X509_add_ext(made, names, -1) == 1);
    X509_EXTENSION_free(names);
    PYMC_CHECK(X509_sign(made, key, EVP_sha256()) > 0);
    return made;
}

static SSL_CTX *client_of(X509 *certificate, EVP_PKEY *key) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    PYMC_CHECK(ctx);
    if (certificate) {
        PYMC_CHECK(SSL_CTX_use_certificate(ctx, certificate) == 1);
        PYMC_CHECK(SSL_CTX_use_PrivateKey(ctx, key) == 1);
    }
    return ctx;
}

static struct tls_text text_of(BIO *bio) {
    char *bytes;
    long count = BIO_get_mem_data(bio, &bytes);
    return (struct tls_text){bytes, (uint32_t)count};
}

// One certificate that signed itself is the server's, its CA, and the client's.
static void world_open(struct world *world) {
    struct arena_options arena_options = {.reserve_bytes = 4u << 20, .slots = 1};
    PYMC_CHECK(arena_create(&arena_options, &world->arena) == PYMC_OK);
    PYMC_CHECK(tls_create(world->arena) == PYMC_OK);
    PYMC_CHECK(tls_tickets_rotate(world->arena) == PYMC_OK);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *own = sign(key, "fuzz", "URI:spiffe://fuzz/good");
    BIO *certificate = BIO_new(BIO_s_mem());
    BIO *secret = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate, own);
    PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL);
    struct tls_options options = {.chain = text_of(certificate),
                                  .key = text_of(secret),
                                  .ca = text_of(certificate),
                                  .allowed_ids = {LIST, sizeof LIST - 1},
                                  .resumes = true,
                                  .verify = TLS_VERIFY_OPTIONAL,
                                  .version_min = 2};
    char reason[256];
    PYMC_CHECK(tls_context_create(world->arena, &options, &world->context, reason, sizeof reason)
               == PYMC_OK);
    world->client = client_of(own, key);
    world->nameless = client_of(NULL, NULL);
    BIO_free(certificate);
    BIO_free(secret);
    X509_free(own);
    EVP_PKEY_free(key);
}

static void send_bytes(struct tls_rig *rig, const uint8_t *bytes, size_t count) {
    tls_rig_feed(rig, (const char *)bytes, (uint32_t)count);
}

// What the client sent goes on its way, and something happens to it. Returns whether it came whole.
static bool pass_on(struct tls_rig *rig, struct program *program, uint8_t *bytes, size_t count) {
    size_t place;
    switch (next_byte(program) % MISHAPS) {
    case FLIPS:
        place = (next_byte(program) << 8 | next_byte(program)) % count;
        bytes[place] ^= next_byte(program);
        send_bytes(rig, bytes, count);
        return false;
    case CUTS:
        place = (next_byte(program) << 8 | next_byte(program)) % count;
        send_bytes(rig, bytes, place);
        (void)tls_rig_step(rig);
        send_bytes(rig, bytes + place, count - place);
        return true;
    case DOUBLES:
        send_bytes(rig, bytes, count);
        send_bytes(rig, bytes, count);
        return false;
    case DROPS: return false;
    case INSERTS:
        place = next_byte(program);
        place = place < program->left ? place : program->left;
        send_bytes(rig, program->at, place);
        program->at += place;
        program->left -= place;
        send_bytes(rig, bytes, count);
        return place == 0;
    default: send_bytes(rig, bytes, count); return true;
    }
}

static void check_end(struct tls_rig *rig, int step) {
    PYMC_CHECK((step == TLS_RIG_FAILED) == (tls_rig_failure(rig) != TLS_FAILED_NOT));
    for (const char *c = tls_rig_line(rig); *c; c++) {
        PYMC_CHECK(*c >= ' ' && *c <= '~');
    }
    PYMC_CHECK(ERR_peek_error() == 0 || step == TLS_RIG_WAITS);
    char data[1024];
    if (step == TLS_RIG_DONE) {
        while (tls_rig_read(rig, data, sizeof data) > 0) {
        }
    }
}

static void play_raw(struct world *world, struct program *program, int door) {
    struct tls_rig *rig = tls_rig_open(world->context, door);
    PYMC_CHECK(rig);
    send_bytes(rig, program->at, program->left);
    int step = tls_rig_step(rig);
    PYMC_CHECK(step != TLS_RIG_DONE);
    check_end(rig, step);
    tls_rig_close(rig);
}

// One connection; returns the client's session, which the caller frees, NULL for none.
static SSL_SESSION *play(struct world *world, struct program *program, uint8_t choices,
                         SSL_SESSION *session) {
    static uint8_t chunk[CHUNK_BYTES];
    bool has_name = choices & CHOOSES_CERTIFICATE;
    int door = choices & CHOOSES_MUTUAL ? TLS_DOOR_MUTUAL : TLS_DOOR_BASIC;
    struct tls_rig *rig = tls_rig_open(world->context, door);
    SSL *client = SSL_new(has_name ? world->client : world->nameless);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    PYMC_CHECK(rig && client && in && out);
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(client, in, out);
    SSL_set_connect_state(client);
    if (choices & CHOOSES_OLD_VERSION) {
        SSL_set_max_proto_version(client, TLS1_2_VERSION);
    }
    if (session) {
        SSL_set_session(client, session);
    }
    int step = TLS_RIG_WAITS;
    bool is_whole = true;
    for (int round = 0; round < ROUNDS_MAX && step != TLS_RIG_FAILED; round++) {
        char byte;
        if (SSL_read(client, &byte, 1) <= 0 && SSL_is_init_finished(client)) {
            SSL_write(client, "get a\r\n", 7);
        }
        ERR_clear_error();
        int count = BIO_read(out, chunk, sizeof chunk);
        if (count > 0) {
            is_whole &= pass_on(rig, program, chunk, (size_t)count);
        }
        step = tls_rig_step(rig);
        uint32_t answer = tls_rig_drain(rig, (char *)chunk, sizeof chunk);
        BIO_write(in, chunk, (int)answer);
        if (count <= 0 && answer == 0) {
            break;
        }
    }
    bool is_welcome = has_name || door == TLS_DOOR_BASIC;
    PYMC_CHECK(!is_whole || (step == TLS_RIG_DONE) == is_welcome);
    PYMC_CHECK(step != TLS_RIG_DONE || is_welcome);
    check_end(rig, step);
    session = SSL_get1_session(client);
    SSL_free(client);
    tls_rig_close(rig);
    ERR_clear_error();
    return session;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    if (!world.arena) {
        world_open(&world);
    }
    struct program program = {data, size};
    uint8_t choices = next_byte(&program);
    if (choices & CHOOSES_RAW) {
        play_raw(&world, &program, choices & CHOOSES_MUTUAL ? TLS_DOOR_MUTUAL : TLS_DOOR_BASIC);
        return 0;
    }
    SSL_SESSION *session = NULL;
    if (choices & CHOOSES_TICKET) {
        struct program nothing = {data, 0};
        session = play(&world, &nothing, choices, NULL);
    }
    SSL_SESSION_free(play(&world, &program, choices, session));
    SSL_SESSION_free(session);
    return 0;
}
