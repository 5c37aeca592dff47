/* A client's end of a connection: a socket, bare or under TLS. */
#pragma once

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "options.h"

struct channel {
    int fd; /* -1: closed */
    bool is_handshaking;
    SSL *ssl;             /* NULL: plain */
    SSL_SESSION *session; /* the newest one, offered by the next handshake with --tls-resume */
    uint64_t opened_ns;
};

/* Connects, non-blocking afterwards; under TLS it also begins the handshake, and is_handshaking
 * tells that it goes on. False when the server refuses: channel_trouble() says why. */
bool channel_open(struct channel *ch, const struct options *o);

enum handshake { HANDSHAKE_GOES_ON, HANDSHAKE_DONE, HANDSHAKE_FAILED };

/* One more step of the handshake, as far as what was received goes.
 * REQUIRES: is_handshaking. Once it is done, is_handshaking is false. */
enum handshake channel_handshake(struct channel *ch);

/* Waits until the handshake is over, for `seconds` at most. False when it failed. */
bool channel_finish_handshake(struct channel *ch, double seconds);

/* Closes, under TLS with a close_notify. The session stays for the next handshake. */
void channel_close(struct channel *ch);

/* Closes and forgets the session. */
void channel_teardown(struct channel *ch);

ssize_t channel_send_tls(struct channel *ch, const uint8_t *bytes, size_t count);
ssize_t channel_recv_tls(struct channel *ch, uint8_t *bytes, size_t room);

/* As send() and recv(), with their errno. Under TLS recv() takes all that it can decrypt, so that
 * nothing is left behind of which epoll does not tell, unless it fills the whole of `room`. */
static inline ssize_t channel_send(struct channel *ch, const uint8_t *bytes, size_t count) {
    return ch->ssl ? channel_send_tls(ch, bytes, count) : send(ch->fd, bytes, count, MSG_NOSIGNAL);
}

static inline ssize_t channel_recv(struct channel *ch, uint8_t *bytes, size_t room) {
    return ch->ssl ? channel_recv_tls(ch, bytes, room) : recv(ch->fd, bytes, room, 0);
}

/* Why the last call of this thread failed: TLS's own words where there are some, else errno's. */
const char *channel_trouble(void);
