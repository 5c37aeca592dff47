/* Opening and closing connections, and their bytes under TLS. */
#include "channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "tls.h"

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        die(EXIT_CODE_USAGE, "--unix: path too long");
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static int connect_tcp(const char *host, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        die(EXIT_CODE_USAGE, "--host %s: want an IPv4 address", host);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void begin_tls(struct channel *ch, const struct options *o) {
    ch->ssl = tls_client_new(&o->tls, o->host);
    SSL_set_app_data(ch->ssl, ch);
    SSL_set_fd(ch->ssl, ch->fd);
    if (ch->session) {
        SSL_set_session(ch->ssl, ch->session);
    }
    ch->is_handshaking = true;
}

bool channel_open(struct channel *ch, const struct options *o) {
    ERR_clear_error();
    ch->opened_ns = now_ns();
    ch->fd = o->unix_path ? connect_unix(o->unix_path) : connect_tcp(o->host, o->port);
    if (ch->fd < 0) {
        return false;
    }
    fcntl(ch->fd, F_SETFL, O_NONBLOCK);
    if (!o->tls.context) {
        return true;
    }
    begin_tls(ch, o);
    return channel_handshake(ch) != HANDSHAKE_FAILED;
}

/* What recv() and send() would say of a call that moved nothing. */
static ssize_t outcome(struct channel *ch, int result) {
    switch (SSL_get_error(ch->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: errno = errno ? errno : ECONNRESET; return -1;
    default: errno = EPROTO; return -1;
    }
}

enum handshake channel_handshake(struct channel *ch) {
    ERR_clear_error();
    errno = 0;
    int result = SSL_connect(ch->ssl);
    if (result == 1) {
        ch->is_handshaking = false;
        return HANDSHAKE_DONE;
    }
    return outcome(ch, result) < 0 && errno == EAGAIN ? HANDSHAKE_GOES_ON : HANDSHAKE_FAILED;
}

bool channel_finish_handshake(struct channel *ch, double seconds) {
    uint64_t end_ns = now_ns() + (uint64_t)(seconds * 1e9);
    while (ch->is_handshaking) {
        uint64_t time_ns = now_ns();
        if (time_ns >= end_ns) {
            errno = ETIMEDOUT;
            return false;
        }
        struct pollfd readable = {.fd = ch->fd, .events = POLLIN};
        poll(&readable, 1, (int)((end_ns - time_ns) / 1000000) + 1);
        if (readable.revents && channel_handshake(ch) == HANDSHAKE_FAILED) {
            return false;
        }
    }
    return true;
}

void channel_close(struct channel *ch) {
    if (ch->ssl) {
        if (!ch->is_handshaking) {
            ERR_clear_error();
            SSL_shutdown(ch->ssl);
        }
        SSL_free(ch->ssl);
        ch->ssl = NULL;
    }
    if (ch->fd >= 0) {
        close(ch->fd);
    }
    ch->fd = -1;
    ch->is_handshaking = false;
}

void channel_teardown(struct channel *ch) {
    channel_close(ch);
    SSL_SESSION_free(ch->session);
    ch->session = NULL;
}

ssize_t channel_send_tls(struct channel *ch, const uint8_t *bytes, size_t count) {
    size_t sent = 0;
    while (sent < count) {
        size_t left = count - sent;
        ERR_clear_error();
        errno = 0;
        int result = SSL_write(ch->ssl, bytes + sent, left < INT_MAX ? (int)left : INT_MAX);
        if (result <= 0) {
            return sent ? (ssize_t)sent : outcome(ch, result);
        }
        sent += (size_t)result;
    }
    return (ssize_t)sent;
}

ssize_t channel_recv_tls(struct channel *ch, uint8_t *bytes, size_t room) {
    size_t got = 0;
    do {
        size_t left = room - got;
        ERR_clear_error();
        errno = 0;
        int result = SSL_read(ch->ssl, bytes + got, left < INT_MAX ? (int)left : INT_MAX);
        if (result <= 0) {
            /* An error says the same again to the next call. */
            return got ? (ssize_t)got : outcome(ch, result);
        }
        got += (size_t)result;
    } while (got < room && SSL_has_pending(ch->ssl));
    return (ssize_t)got;
}

const char *channel_trouble(void) {
    int saved = errno;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : strerror(saved);
}
