// Input of encrypted connections: records become bytes at the places where these belong.
#include "conn/transport_tls_internal.h"

// Less is not asked for from below: a record fits, and there is less to be kept for later.
#define FILL_BYTES_MIN (RECORD_BYTES + RECORD_EXTRA_BYTES)
// Records without a byte for the client's commands take so many fills at most before others get
// their turn.
#define FILLS_MAX 4

// Where bytes go next.
struct places {
    const struct iovec *pieces;
    size_t filled;    // Of the first piece.
    size_t room;
};

static bool is_held(const struct tls_end *end) {
    return end->io->in_bytes > 0 || SSL_pending(end->ssl) > 0;
}

// Decrypts what is there, as far as there is room. Returns how many bytes that were; what stopped
// it, if it was not the end of the bytes, is in the verdict.
static size_t decrypt(struct tls_end *end, struct places *places, int *verdict_out) {
    size_t all = 0;
    while (places->room > 0 && is_held(end)) {
        const struct iovec *piece = places->pieces;
        size_t bytes;
        size_t space = piece->iov_len - places->filled;
        if (UNLIKELY(SSL_read_ex(end->ssl, (char *)piece->iov_base + places->filled, space, &bytes)
                     <= 0)) {
            *verdict_out = tls_verdict(end);
            end->holds_part = tls_holds_part(end);
            break;
        }
        end->holds_part = false;
        all += bytes;
        places->room -= bytes;
        places->filled += bytes;
        if (places->filled == piece->iov_len) {
            places->pieces++;
            places->filled = 0;
        }
    }
    return all;
}

static size_t bytes_to_fill(const struct places *places) {
    size_t bytes = places->room > FILL_BYTES_MIN ? places->room : FILL_BYTES_MIN;
    return bytes < TLS_IN_BYTES ? bytes : TLS_IN_BYTES;
}

// As transport_receive().
static ssize_t receive(struct tls_end *end, struct places *places) {
    int verdict = TRANSPORT_LATER;
    size_t all = decrypt(end, places, &verdict);
    for (int fills = 0; all == 0 && verdict == TRANSPORT_LATER && fills < FILLS_MAX; fills++) {
        size_t asked = bytes_to_fill(places);
        ssize_t received = tls_fill(end, asked);
        if (received <= 0) {
            return received;
        }
        all = decrypt(end, places, &verdict);
        if (all == 0 && !end->may_hold_below) {
            break;    // The rest of a record will have its event.
        }
    }
    return all > 0 ? (ssize_t)all : verdict;
}

ssize_t tls_receive_pieces(struct transport *transport, const struct iovec *pieces,
                           size_t piece_count) {
    struct tls_end *end = transport->tls;
    transport->holds_input = false;
    if (UNLIKELY(end->is_broken || end->has_ended)) {
        return end->is_broken ? TRANSPORT_BROKEN : TRANSPORT_END;
    }
    if (UNLIKELY(end->unsent.bytes && !end->has_ticket)) {
        (void)tls_send_unsent(end);    // A client that takes nothing may still say something.
    }
    struct places places = {.pieces = pieces};
    for (size_t i = 0; i < piece_count; i++) {
        places.room += pieces[i].iov_len;
    }
    tls_io_begin(end);
    ssize_t result = receive(end, &places);
    bool is_held_here = is_held(end);
    transport->holds_part = end->holds_part;
    if (UNLIKELY(!tls_io_end(end))) {
        end->is_broken = true;
        return TRANSPORT_BROKEN;
    }
    if (UNLIKELY(end->has_ticket && result == TRANSPORT_LATER)) {
        (void)tls_send_unsent(end);    // There is no reply that it could leave with.
    }
    // An end that came with the bytes, and room that something waits for, is found by coming again.
    transport->holds_input =
        result == TRANSPORT_LATER
            ? end->may_hold_below
            : result > 0
                  && (end->may_hold_below || is_held_here || end->has_ended || end->is_broken
                      || UNLIKELY(end->unsent.bytes && !end->owed && !end->has_ticket));
    return result;
}
