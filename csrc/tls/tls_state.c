// What a connection knows of its client, kept beside OpenSSL's own structure and freed with it.
#include <openssl/crypto.h>
#include <stdlib.h>

#include "tls/tls_internal.h"

// OpenSSL numbers the places beside its structures once for a process, whoever uses them.
static CRYPTO_ONCE state_once = CRYPTO_ONCE_STATIC_INIT;
static int state_place = -1;

static void free_state(void *parent, void *state, CRYPTO_EX_DATA *data, int place, long argument,
                       void *more) {
    (void)parent;
    (void)data;
    (void)place;
    (void)argument;
    (void)more;
    if (state) {
        free(((struct tls_state *)state)->identity);
        free(state);
    }
}

static void find_place(void) {
    state_place = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_state);
}

static int place_of_state(void) {
    return CRYPTO_THREAD_run_once(&state_once, find_place) == 1 ? state_place : -1;
}

struct tls_state *tls_state_of(const SSL *ssl) {
    int place = place_of_state();
    return place < 0 ? NULL : SSL_get_ex_data(ssl, place);
}

bool tls_state_attach(SSL *ssl, struct tls_context *context) {
    struct tls_state *state = calloc(1, sizeof *state);
    int place = place_of_state();
    if (!state || place < 0 || SSL_set_ex_data(ssl, place, state) != 1) {
        free(state);
        return false;
    }
    state->context = context;
    state->rights = TLS_MAY_ALL;
    return true;
}
