// Output of encrypted connections: text and values become records, many of them for one call of the
// transport below.
#include <string.h>

#include "conn/transport_tls_internal.h"

// OpenSSL has to read first now and then; so often is enough for one message of a handshake.
#define READS_TO_SEND_MAX 4

// Whoever was sent nothing for a while gets the beginning of much in a small record: the client can
// decrypt it before the rest has come, which takes one more round trip where a connection that was
// idle begins slowly again.
#define FIRST_RECORD_BYTES 4096
#define IDLE_TICKS 2

// What is to be sent, and how far it has got.
struct source_pieces {
    const struct iovec *pieces;
    size_t count;
    size_t at;    // Of the first piece.
};

static void skip(struct source_pieces *source, size_t bytes) {
    source->at += bytes;
    while (source->count > 0 && source->at >= source->pieces->iov_len) {
        source->at -= source->pieces->iov_len;
        source->pieces++;
        source->count--;
    }
}

// The next record's bytes: in place if one piece fills it, or is the last, else put together.
static const char *record_bytes(struct tls_io *io, const struct source_pieces *source,
                                size_t *bytes_out) {
    const struct iovec *piece = source->pieces;
    const char *first = (const char *)piece->iov_base + source->at;
    size_t bytes = piece->iov_len - source->at;
    if (bytes >= RECORD_BYTES || source->count == 1) {
        *bytes_out = bytes < RECORD_BYTES ? bytes : RECORD_BYTES;
        return first;
    }
    memcpy(io->plain, first, bytes);
    for (size_t i = 1; i < source->count && bytes < RECORD_BYTES; i++) {
        size_t room = RECORD_BYTES - bytes;
        size_t part = piece[i].iov_len < room ? piece[i].iov_len : room;
        memcpy(io->plain + bytes, piece[i].iov_base, part);
        bytes += part;
    }
    *bytes_out = bytes;
    return io->plain;
}

// OpenSSL may be in the middle of a message of the client's, and cannot encrypt before its end.
static bool read_first(struct tls_end *end) {
    end->reads_to_send = SSL_want_read(end->ssl);
    return end->reads_to_send && end->io->in_bytes == 0 && tls_fill(end, RECORD_BYTES) > 0;
}

// Encrypts one record. Returns TRANSPORT_DONE, TRANSPORT_LATER or TRANSPORT_BROKEN.
static int encrypt(struct tls_end *end, const char *bytes, size_t count) {
    end->reads_to_send = false;
    for (int reads = 0;; reads++) {
        size_t written;
        if (LIKELY(SSL_write_ex(end->ssl, bytes, count, &written) > 0)) {
            PYMC_CHECK(written == count);
            return TRANSPORT_DONE;
        }
        int verdict = tls_verdict(end);
        if (verdict != TRANSPORT_LATER || reads == READS_TO_SEND_MAX || !read_first(end)) {
            return verdict == TRANSPORT_LATER ? TRANSPORT_LATER : TRANSPORT_BROKEN;
        }
    }
}

// Part of a batch left: as much of its plaintext counts as taken, but the last byte only with the
// last of the ciphertext.
static size_t count_taken(struct tls_end *end) {
    uint64_t left = (uint64_t)end->batch_plain * end->unsent.bytes / end->batch_bytes;
    uint32_t owed = left ? (uint32_t)left : end->unsent.bytes > 0;
    uint32_t taken = owed < end->owed ? end->owed - owed : 0;
    end->owed -= taken;
    return taken;
}

// Hands what was encrypted to the transport below. Returns how many of its `plain` bytes count as
// taken: not all of them when something is left to be sent.
static ssize_t send_batch(struct tls_end *end, size_t plain) {
    struct tls_io *io = end->io;
    size_t bytes = io->out_bytes;
    io->out_bytes = 0;
    ssize_t sent = transport_send(&end->below, io->out, bytes);
    if (LIKELY(sent == (ssize_t)bytes)) {
        return (ssize_t)plain;
    }
    size_t gone = sent > 0 ? (size_t)sent : 0;
    end->batch_bytes = (uint32_t)bytes;
    end->batch_plain = end->owed = (uint32_t)plain;
    if (sent == TRANSPORT_BROKEN || !tls_keep_unsent(end, io->out + gone, bytes - gone)) {
        end->is_deaf = true;
        return TRANSPORT_BROKEN;
    }
    size_t taken = count_taken(end);
    return taken ? (ssize_t)taken : TRANSPORT_LATER;
}

// Encrypts as much as is sent in one piece.
static ssize_t encrypt_batch(struct tls_end *end, struct source_pieces *source) {
    struct tls_io *io = end->io;
    size_t plain = 0;
    int result = TRANSPORT_DONE;
    // A ticket in front of it does not keep the first record from leaving.
    while (source->count > 0
           && (plain == 0 || io->out_bytes + RECORD_BYTES + RECORD_EXTRA_BYTES <= io->out_limit)) {
        size_t bytes;
        const char *from = record_bytes(io, source, &bytes);
        if (UNLIKELY(bytes == RECORD_BYTES && io->ticks >= end->full_until_tick)) {
            bytes = FIRST_RECORD_BYTES;
        }
        result = encrypt(end, from, bytes);
        if (UNLIKELY(result != TRANSPORT_DONE)) {
            break;
        }
        end->full_until_tick = io->ticks + IDLE_TICKS;
        plain += bytes;
        skip(source, bytes);
    }
    if (UNLIKELY(result == TRANSPORT_BROKEN)) {
        return TRANSPORT_BROKEN;
    }
    if (UNLIKELY(plain == 0)) {
        return result == TRANSPORT_LATER ? TRANSPORT_LATER : 0;
    }
    return send_batch(end, plain);
}

ssize_t tls_send_pieces(struct transport *transport, const struct iovec *pieces,
                        size_t piece_count) {
    struct tls_end *end = transport->tls;
    if (UNLIKELY(end->is_broken || end->is_deaf)) {
        return TRANSPORT_BROKEN;
    }
    if (UNLIKELY((end->unsent.bytes && !end->has_ticket) || end->owed)) {
        int result = tls_send_unsent(end);
        size_t taken = result == TRANSPORT_BROKEN || !end->owed ? 0 : count_taken(end);
        if (result != TRANSPORT_DONE || taken) {
            return taken ? (ssize_t)taken : result;
        }
    }
    struct source_pieces source = {.pieces = pieces, .count = piece_count};
    skip(&source, 0);    // Empty pieces at the front.
    tls_io_begin(end);
    if (UNLIKELY(end->has_ticket)) {
        tls_take_ticket(end);
    }
    end->reads_on = end->has_ended;
    ssize_t result = encrypt_batch(end, &source);
    if (UNLIKELY(!tls_io_end(end))) {
        end->is_broken = true;
        return TRANSPORT_BROKEN;
    }
    // It may have read before it could send: whoever turns to input comes back for that.
    transport->holds_input |= end->unread.bytes > 0;
    return result;
}
