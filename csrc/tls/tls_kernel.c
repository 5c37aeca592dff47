// Whether the kernel can encrypt for this process, tried on a pair of sockets; whether it does.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "meter/meter_inline.h"
#include "tls/tls_internal.h"

// Connects a socket to one that listens on the loopback; both are the caller's to close.
static bool connect_pair(int *listener, int *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *listener >= 0 && *client >= 0
           && bind(*listener, (struct sockaddr *)&address, bytes) == 0 && listen(*listener, 1) == 0
           && getsockname(*listener, (struct sockaddr *)&address, &bytes) == 0
           && connect(*client, (struct sockaddr *)&address, bytes) == 0;
}

#ifdef OPENSSL_NO_KTLS
#define LIBRARY_HAS_IT false
#else
#define LIBRARY_HAS_IT true
#endif

static const char *what_lacks(void) {
    int listener;
    int client;
    const char *lack = NULL;
    if (!LIBRARY_HAS_IT) {
        return "OpenSSL was built without it";
    }
    if (!connect_pair(&listener, &client)) {
        lack = "it could not be tried on the loopback";
    } else if (setsockopt(client, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") != 0) {
        lack = errno == ENOENT ? "the kernel has no module `tls`, or it is not loaded"
                               : "the kernel refuses it";
    }
    if (listener >= 0) {
        close(listener);
    }
    if (client >= 0) {
        close(client);
    }
    return lack;
}

bool tls_kernel_works(char *reason, uint32_t reason_bytes) {
    const char *lack = what_lacks();
    snprintf(reason, reason_bytes, "%s", lack ? lack : "");
    return lack == NULL;
}

bool tls_kernel_encrypts(SSL *ssl) {
    BIO *bio = SSL_get_wbio(ssl);
    return bio && BIO_get_ktls_send(bio);
}

void tls_note_old_keys(struct tls_context *context) {
    tls_count(context, COUNTER_tls_kernel_old_keys);
}
