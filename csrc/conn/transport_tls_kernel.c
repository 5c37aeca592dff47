// Encrypted connections of which the kernel encrypts what is sent: OpenSSL writes to the socket
// itself. What is received is decrypted as that of all others, since a kernel that decrypts fails
// at new keys.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/transport_tls_internal.h"

#define GREET_FILLS_MAX 4
// OpenSSL has to read first now and then; so often is enough for one message of a handshake.
#define READS_TO_SEND_MAX 4
// How much is sent before the connection is asked whether others have their turn.
#define SEND_BYTES_MAX (1u << 20)

// A record that was not sent in full: OpenSSL has the address of its plaintext, and wants it again
// with the same bytes, so they stay here until then.
struct tls_by_kernel {
    const struct transport_ops *user_ops;    // Those of a connection without the kernel.
    char *held;
    size_t held_bytes;
    bool waits_for_room;    // The handshake does.
    bool is_on;             // The kernel has the keys.
};

void tls_io_pretend_kernel(struct tls_io *io) {
    io->pretends_kernel = true;
}

// What a call of OpenSSL that moved nothing waits for is room in the socket.
static bool wants_room(const struct tls_end *end) {
    return SSL_want_write(end->ssl) && BIO_should_retry(SSL_get_wbio(end->ssl));
}

// Without the kernel records are gathered, and sent by fewer calls.
static void use_user_space(struct transport *transport) {
    struct tls_end *end = transport->tls;
    struct tls_by_kernel *kernel = end->kernel;
    transport->ops = kernel->user_ops;
    BIO_up_ref(end->io->bio);
    SSL_set0_wbio(end->ssl, end->io->bio);
    free(kernel);
    end->kernel = NULL;
}

// One step after the other, as far as what has come reaches, and the socket has room.
static int greet(struct tls_end *end, bool *has_more_out) {
    struct tls_by_kernel *kernel = end->kernel;
    for (int fills = 0; fills <= GREET_FILLS_MAX; fills++) {
        if (end->io->in_bytes == 0 && !kernel->waits_for_room) {
            ssize_t received = tls_fill(end, RECORD_BYTES);
            if (received <= 0) {
                end->failure = TLS_FAILED_CLOSED;
                return received == TRANSPORT_LATER ? TRANSPORT_LATER : TRANSPORT_BROKEN;
            }
        }
        BIO_clear_retry_flags(SSL_get_wbio(end->ssl));
        if (SSL_do_handshake(end->ssl) == 1) {
            return TRANSPORT_DONE;
        }
        kernel->waits_for_room = wants_room(end);
        if (kernel->waits_for_room) {
            return TRANSPORT_LATER;
        }
        if (tls_verdict(end) != TRANSPORT_LATER) {
            return TRANSPORT_BROKEN;
        }
    }
    *has_more_out = true;
    return TRANSPORT_LATER;
}

static int kernel_greet(struct transport *transport) {
    struct tls_end *end = transport->tls;
    transport->holds_input = false;
    bool has_more = false;
    tls_io_begin(end);
    int result = greet(end, &has_more);
    if (!tls_io_end(end)) {
        end->is_broken = true;
        return TRANSPORT_BROKEN;
    }
    if (result == TRANSPORT_DONE) {
        end->kernel->waits_for_room = false;
        end->kernel->is_on = tls_kernel_encrypts(end->ssl) || end->io->pretends_kernel;
        if (!end->kernel->is_on) {
            use_user_space(transport);
        }
    }
    // Once it is done nobody knows whether the last bytes were all that had come.
    transport->holds_input = has_more || result == TRANSPORT_DONE;
    return result;
}

static ssize_t kernel_receive(struct transport *transport, void *place, size_t bytes) {
    struct iovec piece = {place, bytes};
    return tls_receive_pieces(transport, &piece, 1);
}

static uint32_t kernel_arrived(struct transport *transport) {
    return (uint32_t)SSL_pending(transport->tls->ssl);
}

static uint32_t kernel_wanted(const struct transport *transport, uint32_t wants) {
    const struct tls_end *end = transport->tls;
    bool reads_first = end->reads_to_send && (wants & TRANSPORT_OUT);
    return transport_wanted(&end->below, wants) | (end->kernel->waits_for_room ? TRANSPORT_OUT : 0)
           | (reads_first ? TRANSPORT_IN : 0);
}

// OpenSSL may be in the middle of a message of the client's, and cannot encrypt before its end.
static bool read_first(struct tls_end *end) {
    return end->io->in_bytes == 0 && tls_fill(end, RECORD_BYTES) > 0;
}

// The client wants keys that the kernel cannot be given: it is told nothing more with the old ones.
static bool has_old_keys(const struct tls_end *end) {
    return SSL_get_key_update_type(end->ssl) != SSL_KEY_UPDATE_NONE;
}

// Returns TRANSPORT_DONE, TRANSPORT_LATER when the same bytes are to be written again, or
// TRANSPORT_BROKEN.
static int write_record(struct tls_end *end, const char *bytes, size_t count) {
    end->reads_to_send = false;
    for (int reads = 0;; reads++) {
        size_t written;
        BIO_clear_retry_flags(SSL_get_wbio(end->ssl));
        if (LIKELY(SSL_write_ex(end->ssl, bytes, count, &written) > 0)) {
            PYMC_CHECK(written == count);
            return TRANSPORT_DONE;
        }
        if (wants_room(end)) {
            return TRANSPORT_LATER;
        }
        end->reads_to_send = SSL_want_read(end->ssl) && BIO_should_retry(end->io->bio);
        if (!end->reads_to_send) {
            ERR_clear_error();
            end->is_deaf = true;    // What it said before may still be received.
            return TRANSPORT_BROKEN;
        }
        if (reads == READS_TO_SEND_MAX || !read_first(end)) {
            return TRANSPORT_LATER;
        }
    }
}

// Writes what is held. Returns as write_record().
static int write_held(struct tls_end *end, size_t *taken_out) {
    struct tls_by_kernel *kernel = end->kernel;
    if (LIKELY(!kernel->held)) {
        return TRANSPORT_DONE;
    }
    int result = write_record(end, kernel->held, kernel->held_bytes);
    if (result == TRANSPORT_DONE) {
        *taken_out = kernel->held_bytes;
        free(kernel->held);
        kernel->held = NULL;
        kernel->held_bytes = 0;
    }
    return result;
}

// The worker's buffer stays with the connection, as OpenSSL knows it by its address.
static bool hold(struct tls_end *end, size_t bytes) {
    struct tls_io *io = end->io;
    char *next = malloc(RECORD_BYTES);
    if (!next) {
        end->is_broken = true;
        return false;
    }
    end->kernel->held = io->plain;
    end->kernel->held_bytes = bytes;
    io->plain = next;
    return true;
}

// Puts together the next record's bytes, of those behind the first `skipped`. Returns how many.
static size_t gather(char *place, const struct iovec *pieces, size_t count, size_t skipped) {
    size_t bytes = 0;
    for (size_t i = 0; i < count && bytes < RECORD_BYTES; i++) {
        if (skipped >= pieces[i].iov_len) {
            skipped -= pieces[i].iov_len;
            continue;
        }
        size_t part = pieces[i].iov_len - skipped;
        part = part < RECORD_BYTES - bytes ? part : RECORD_BYTES - bytes;
        memcpy(place + bytes, (const char *)pieces[i].iov_base + skipped, part);
        bytes += part;
        skipped = 0;
    }
    return bytes;
}

// Writes record by record. Returns as transport_send().
static ssize_t write_pieces(struct tls_end *end, const struct iovec *pieces, size_t count) {
    size_t taken = 0;
    size_t bytes;
    int result = write_held(end, &taken);
    while (result == TRANSPORT_DONE && taken < SEND_BYTES_MAX
           && (bytes = gather(end->io->plain, pieces, count, taken)) > 0) {
        if (UNLIKELY(has_old_keys(end))) {
            tls_note_old_keys(end->context);
            return TRANSPORT_BROKEN;
        }
        result = write_record(end, end->io->plain, bytes);
        if (result == TRANSPORT_DONE) {
            taken += bytes;
        } else if (result == TRANSPORT_LATER && !hold(end, bytes)) {
            result = TRANSPORT_BROKEN;
        }
    }
    return taken > 0 || result == TRANSPORT_DONE ? (ssize_t)taken : result;
}

static ssize_t kernel_send_pieces(struct transport *transport, const struct iovec *pieces,
                                  size_t piece_count) {
    struct tls_end *end = transport->tls;
    if (UNLIKELY(end->is_broken || end->is_deaf)) {
        return TRANSPORT_BROKEN;
    }
    tls_io_begin(end);
    ssize_t result = write_pieces(end, pieces, piece_count);
    if (UNLIKELY(!tls_io_end(end))) {
        end->is_broken = true;
        return TRANSPORT_BROKEN;
    }
    transport->holds_input |= end->unread.bytes > 0;
    return result;
}

static ssize_t kernel_send(struct transport *transport, const void *bytes, size_t count) {
    struct iovec piece = {(void *)bytes, count};
    return kernel_send_pieces(transport, &piece, 1);
}

static void kernel_shut_down(struct transport *transport) {
    struct tls_end *end = transport->tls;
    // Behind half a record nothing can be said.
    if (!end->kernel->held) {
        end->kernel->user_ops->shut_down(transport);
    }
}

static void kernel_close(struct transport *transport) {
    struct tls_by_kernel *kernel = transport->tls->kernel;
    kernel->user_ops->close(transport);
    free(kernel->held);
    free(kernel);
}

static bool can_encrypt(const struct tls_end *end, int fd) {
    return fd >= 0 && (SSL_get_options(end->ssl) & SSL_OP_ENABLE_KTLS)
           && (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0
               || end->io->pretends_kernel);
}

void tls_kernel_begin(struct transport *transport) {
    static const struct transport_ops kernel_ops = {.greet = kernel_greet,
                                                    .receive = kernel_receive,
                                                    .receive_pieces = tls_receive_pieces,
                                                    .send = kernel_send,
                                                    .send_pieces = kernel_send_pieces,
                                                    .arrived = kernel_arrived,
                                                    .wanted = kernel_wanted,
                                                    .shut_down = kernel_shut_down,
                                                    .close = kernel_close};
    struct tls_end *end = transport->tls;
    if (LIKELY(!can_encrypt(end, end->below.fd))) {
        return;
    }
    struct tls_by_kernel *kernel = calloc(1, sizeof *kernel);
    BIO *bio = kernel ? BIO_new_socket(end->below.fd, BIO_NOCLOSE) : NULL;
    if (!bio) {
        ERR_clear_error();
        free(kernel);
        return;
    }
    SSL_set0_wbio(end->ssl, bio);
    kernel->user_ops = transport->ops;
    end->kernel = kernel;
    transport->ops = &kernel_ops;
}
