// The server's side of a TLS connection over memory, for tests and fuzzers.
#include <openssl/err.h>
#include <stdlib.h>

#include "tls/tls_inline.h"
#include "tls/tls_rig.h"

#define LINE_BYTES 512

struct tls_rig {
    struct tls_context *context;
    SSL *ssl;
    BIO *in;     // What the client sent.
    BIO *out;    // What it is sent.
    bool is_done;
    enum tls_failure failure;
    struct tls_peer peer;
    char line[LINE_BYTES];
};

void tls_rig_serve(struct tls_context *context, struct proc *proc) {
    tls_context_serve(context, proc);
}

struct tls_rig *tls_rig_open(struct tls_context *context, int door) {
    struct tls_rig *rig = calloc(1, sizeof *rig);
    if (!rig) {
        return NULL;
    }
    rig->context = tls_context_hold(context);
    rig->ssl = tls_begin(context, (enum tls_door)door);
    rig->in = BIO_new(BIO_s_mem());
    rig->out = BIO_new(BIO_s_mem());
    if (!rig->ssl || !rig->in || !rig->out) {
        tls_rig_close(rig);
        return NULL;
    }
    // An empty one says that nothing is there yet, not that it ended.
    BIO_set_mem_eof_return(rig->in, -1);
    BIO_up_ref(rig->in);
    BIO_up_ref(rig->out);
    SSL_set_bio(rig->ssl, rig->in, rig->out);
    return rig;
}

void tls_rig_close(struct tls_rig *rig) {
    SSL_free(rig->ssl);
    BIO_free(rig->in);
    BIO_free(rig->out);
    tls_context_release(rig->context);
    free(rig);
}

uint32_t tls_rig_feed(struct tls_rig *rig, const char *bytes, uint32_t count) {
    int done = BIO_write(rig->in, bytes, (int)count);
    return done > 0 ? (uint32_t)done : 0;
}

uint32_t tls_rig_drain(struct tls_rig *rig, char *bytes, uint32_t count) {
    int done = BIO_read(rig->out, bytes, (int)count);
    return done > 0 ? (uint32_t)done : 0;
}

static int fail(struct tls_rig *rig, enum tls_failure failure) {
    rig->failure = failure;
    tls_note_failure(rig->context, failure);
    tls_explain(rig->ssl, failure, rig->line, sizeof rig->line);
    return TLS_RIG_FAILED;
}

int tls_rig_step(struct tls_rig *rig) {
    if (rig->failure || rig->is_done) {
        return rig->is_done ? TLS_RIG_DONE : TLS_RIG_FAILED;
    }
    ERR_clear_error();
    int result = SSL_do_handshake(rig->ssl);
    int error = SSL_get_error(rig->ssl, result);
    if (result == 1) {
        rig->is_done = tls_admit(rig->context, rig->ssl, &rig->peer);
        return rig->is_done ? TLS_RIG_DONE : fail(rig, TLS_FAILED_DENIED);
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return TLS_RIG_WAITS;
    }
    return fail(rig, tls_failure_of(rig->ssl, error));
}

int tls_rig_failure(const struct tls_rig *rig) {
    return rig->failure;
}

const char *tls_rig_line(const struct tls_rig *rig) {
    return rig->line;
}

const char *tls_rig_identity(const struct tls_rig *rig) {
    return rig->peer.identity;
}

uint32_t tls_rig_rights(const struct tls_rig *rig) {
    return rig->peer.rights;
}

bool tls_rig_is_resumed(const struct tls_rig *rig) {
    return SSL_session_reused(rig->ssl);
}

uint32_t tls_rig_still_admitted(const struct tls_rig *rig, struct tls_context *context) {
    uint8_t rights;
    return tls_still_admitted(context, rig->ssl, &rights) ? rights : 0;
}

static int moved(struct tls_rig *rig, int result) {
    int error = SSL_get_error(rig->ssl, result);
    ERR_clear_error();
    if (result > 0) {
        return result;
    }
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

int tls_rig_read(struct tls_rig *rig, char *bytes, uint32_t count) {
    ERR_clear_error();
    return moved(rig, SSL_read(rig->ssl, bytes, (int)count));
}

int tls_rig_write(struct tls_rig *rig, const char *bytes, uint32_t count) {
    ERR_clear_error();
    return moved(rig, SSL_write(rig->ssl, bytes, (int)count));
}
