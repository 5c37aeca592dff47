// The encrypting transport: its beginning, its handshake and its end.
#include <openssl/err.h>
#include <stdlib.h>

#include "conn/transport_tls_internal.h"

// What one step of a handshake may receive before others get their turn.
#define GREET_FILLS_MAX 4

static ssize_t tls_receive(struct transport *transport, void *place, size_t bytes) {
    struct iovec piece = {place, bytes};
    return tls_receive_pieces(transport, &piece, 1);
}

static ssize_t tls_send(struct transport *transport, const void *bytes, size_t count) {
    struct iovec piece = {(void *)bytes, count};
    return tls_send_pieces(transport, &piece, 1);
}

static uint32_t tls_arrived(struct transport *transport) {
    // Of what lies below nobody knows how much of it is plaintext.
    return (uint32_t)SSL_pending(transport->tls->ssl);
}

static uint32_t tls_wanted(const struct transport *transport, uint32_t wants) {
    const struct tls_end *end = transport->tls;
    uint32_t below = transport_wanted(&end->below, wants);
    if (LIKELY(!end->unsent.bytes && !end->reads_to_send)) {
        return below;
    }
    bool waits_for_room =
        end->unsent.bytes && !end->has_ticket && !end->is_deaf && (wants & TRANSPORT_IN);
    bool reads_first = end->reads_to_send && (wants & TRANSPORT_OUT);
    return below | (waits_for_room ? TRANSPORT_OUT : 0) | (reads_first ? TRANSPORT_IN : 0);
}

// A client that has said that it ends, was sent nothing since then, and has closed its side as well
// as a rule is not there any more: what it is sent is answered by a reset.
static bool has_left(struct tls_end *end) {
    if (!end->has_ended || end->reads_on) {
        return false;
    }
    tls_io_begin(end);
    ssize_t received = end->io->in_bytes ? 1 : tls_fill(end, RECORD_BYTES);
    end->io->in_bytes = 0;
    return received == TRANSPORT_END || received == TRANSPORT_BROKEN;
}

static void tls_shut_down(struct transport *transport) {
    struct tls_end *end = transport->tls;
    // Half a record was sent, or the conversation ended in disorder: there is no word for that.
    bool has_rest = end->unsent.bytes && !end->has_ticket;
    if (end->is_broken || end->is_deaf || has_rest || !SSL_is_init_finished(end->ssl)
        || has_left(end)) {
        return;
    }
    tls_io_begin(end);
    if (end->has_ticket) {
        tls_take_ticket(end);
    }
    SSL_shutdown(end->ssl);
    ERR_clear_error();
    end->is_broken = !tls_io_end(end);
}

static void end_free(struct tls_end *end) {
    tls_forget(end);
    SSL_free(end->ssl);
    free(end->unread.base);
    free(end->unsent.base);
    tls_context_release(end->context);
    free(end);
}

static void tls_close(struct transport *transport) {
    struct tls_end *end = transport->tls;
    end->below.ops->shut_down(&end->below);
    end->below.ops->close(&end->below);
    transport->fd = end->below.fd;
    end_free(end);
    transport->tls = NULL;
}

// One step after the other, as far as what has come reaches.
static int greet(struct tls_end *end, bool *has_more_out) {
    for (int fills = 0; fills <= GREET_FILLS_MAX; fills++) {
        if (end->io->in_bytes == 0) {
            ssize_t received = tls_fill(end, RECORD_BYTES);
            if (received <= 0) {
                end->failure = TLS_FAILED_CLOSED;
                return received == TRANSPORT_LATER ? TRANSPORT_LATER : TRANSPORT_BROKEN;
            }
        }
        if (SSL_do_handshake(end->ssl) == 1) {
            return TRANSPORT_DONE;
        }
        int verdict = tls_verdict(end);
        if (verdict != TRANSPORT_LATER) {
            return TRANSPORT_BROKEN;
        }
    }
    *has_more_out = true;
    return TRANSPORT_LATER;
}

static int tls_greet(struct transport *transport) {
    struct tls_end *end = transport->tls;
    transport->holds_input = false;
    if (UNLIKELY(end->unsent.bytes) && tls_send_unsent(end) == TRANSPORT_LATER) {
        return TRANSPORT_LATER;
    }
    bool has_more = false;
    tls_io_begin(end);
    int result = greet(end, &has_more);
    // In TLS 1.3 the client waits for nothing more, and what was written is a ticket.
    end->has_ticket = result == TRANSPORT_DONE && end->unsent.bytes == 0
                      && SSL_version(end->ssl) >= TLS1_3_VERSION && end->io->out_bytes > 0;
    if (!tls_io_end(end)) {
        end->is_broken = true;
        return TRANSPORT_BROKEN;
    }
    // Once it is done nobody knows whether the last bytes were all that had come.
    transport->holds_input = has_more || result == TRANSPORT_DONE;
    return result;
}

bool transport_encrypt(struct transport *transport, struct tls_io *io, struct tls_context *context,
                       enum tls_door door) {
    static const struct transport_ops tls_ops = {.greet = tls_greet,
                                                 .receive = tls_receive,
                                                 .receive_pieces = tls_receive_pieces,
                                                 .send = tls_send,
                                                 .send_pieces = tls_send_pieces,
                                                 .arrived = tls_arrived,
                                                 .wanted = tls_wanted,
                                                 .shut_down = tls_shut_down,
                                                 .close = tls_close};
    struct tls_end *end = calloc(1, sizeof *end);
    SSL *ssl = end ? tls_begin(context, door) : NULL;
    if (!ssl) {
        ERR_clear_error();
        free(end);
        return false;
    }
    // Input lies in the worker's buffer already, and buffers are taken back by tls_io_tick(). All
    // bytes of a call are encrypted: a client may have asked for records of 512 bytes.
    SSL_set_read_ahead(ssl, 0);
    SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    BIO_up_ref(io->bio);
    SSL_set_bio(ssl, io->bio, io->bio);
    end->ssl = ssl;
    end->io = io;
    end->context = tls_context_hold(context);
    end->below = *transport;
    *transport = (struct transport){.ops = &tls_ops, .fd = transport->fd, .tls = end};
    tls_kernel_begin(transport);
    return true;
}

static struct tls_end *end_of(const struct transport *transport) {
    return transport->ops->receive_pieces == tls_receive_pieces ? transport->tls : NULL;
}

const struct transport *transport_below(const struct transport *transport) {
    const struct tls_end *end = end_of(transport);
    return end ? &end->below : transport;
}

enum tls_failure transport_tls_failure(const struct transport *transport) {
    const struct tls_end *end = end_of(transport);
    return end && end->failure ? end->failure : TLS_FAILED_INSIDE;
}

bool transport_tls_admit(struct transport *transport, struct tls_peer *peer_out) {
    struct tls_end *end = end_of(transport);
    PYMC_CHECK(end != NULL);
    bool is_admitted = tls_admit(end->context, end->ssl, peer_out);
    ERR_clear_error();
    return is_admitted;
}

struct tls_context *transport_tls_context(const struct transport *transport) {
    const struct tls_end *end = end_of(transport);
    return end ? end->context : NULL;
}

SSL *transport_tls_ssl(const struct transport *transport) {
    const struct tls_end *end = end_of(transport);
    return end ? end->ssl : NULL;
}
