// How OpenSSL's bytes get to the transport below: one pair of buffers for all connections of a
// worker, and what is kept for one of them when the transport does not go along.
#include <stdlib.h>
#include <string.h>

#include "conn/transport_tls_internal.h"

#define OUT_BYTES_USUAL (128u << 10)
#define OUT_BYTES_MAX (1u << 20)
// Answers to what a client says within TLS, while it takes nothing: more than this is an attack.
#define UNSENT_BYTES_MAX (64u << 10)
// Buffers of OpenSSL, 34 KiB in all, stay with so many connections, and so many ticks after they
// were used last.
#define WARM_MAX 128
#define WARM_TICKS 2

static int io_read(BIO *bio, char *place, size_t bytes, size_t *read_out) {
    struct tls_io *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (UNLIKELY(io->in_bytes == 0)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    bytes = bytes < io->in_bytes ? bytes : io->in_bytes;
    memcpy(place, io->in_at, bytes);
    io->in_at += bytes;
    io->in_bytes -= bytes;
    *read_out = bytes;
    return 1;
}

static int io_write(BIO *bio, const char *from, size_t bytes, size_t *written_out) {
    struct tls_io *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t room = io->out_room - io->out_bytes;
    bytes = bytes < room ? bytes : room;
    if (UNLIKELY(bytes == 0)) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(io->out + io->out_bytes, from, bytes);
    io->out_bytes += (uint32_t)bytes;
    *written_out = bytes;
    return 1;
}

static long io_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static bool make_bio(struct tls_io *io) {
    io->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "worker");
    if (!io->method || !BIO_meth_set_read_ex(io->method, io_read)
        || !BIO_meth_set_write_ex(io->method, io_write)
        || !BIO_meth_set_ctrl(io->method, io_control)) {
        return false;
    }
    io->bio = BIO_new(io->method);
    if (!io->bio) {
        return false;
    }
    BIO_set_data(io->bio, io);
    BIO_set_init(io->bio, 1);
    return true;
}

void tls_io_set_output(struct tls_io *io, uint32_t bytes) {
    uint32_t least = RECORD_BYTES + RECORD_EXTRA_BYTES;
    bytes = bytes ? bytes : OUT_BYTES_USUAL;
    bytes = bytes < OUT_BYTES_MAX ? bytes : OUT_BYTES_MAX;
    io->out_limit = bytes > least ? bytes : least;
}

struct tls_io *tls_io_open(void) {
    struct tls_io *io = calloc(1, sizeof *io);
    if (!io) {
        return NULL;
    }
    // Whatever the limit is, a record fits behind the last one below it.
    io->out_room = OUT_BYTES_MAX + RECORD_BYTES + RECORD_EXTRA_BYTES;
    io->in = malloc(TLS_IN_BYTES);
    io->plain = malloc(RECORD_BYTES);
    io->out = malloc(io->out_room);
    tls_io_set_output(io, 0);
    if (!io->in || !io->plain || !io->out || !make_bio(io)) {
        tls_io_close(io);
        return NULL;
    }
    return io;
}

void tls_io_close(struct tls_io *io) {
    if (io) {
        BIO_free(io->bio);
        BIO_meth_free(io->method);
        free(io->in);
        free(io->plain);
        free(io->out);
        free(io);
    }
}

bool tls_holds_part(const struct tls_end *end) {
    return SSL_has_pending(end->ssl) || strcmp(SSL_rstate_string(end->ssl), "RH") != 0;
}

// OpenSSL up to 3.0.13 frees them under a record that has come in part.
static bool free_buffers(const struct tls_end *end) {
    return !tls_holds_part(end) && SSL_free_buffers(end->ssl);
}

static void warm_out(struct tls_end *end) {
    struct tls_end *next = end->warm_next;
    struct tls_end *previous = end->warm_previous;
    *(previous ? &previous->warm_next : &end->io->warm) = next;
    if (next) {
        next->warm_previous = previous;
    }
    end->warm_next = end->warm_previous = NULL;
    end->is_warm = false;
    end->io->warm_count--;
}

static void warm_in(struct tls_end *end) {
    struct tls_io *io = end->io;
    if (io->warm_count >= WARM_MAX && free_buffers(end)) {
        return;
    }
    end->warm_next = io->warm;
    if (io->warm) {
        io->warm->warm_previous = end;
    }
    io->warm = end;
    end->is_warm = true;
    io->warm_count++;
}

void tls_io_tick(struct tls_io *io) {
    io->ticks++;
    struct tls_end *end = io->warm;
    while (end) {
        struct tls_end *next = end->warm_next;
        if (io->ticks - end->used_tick > WARM_TICKS && free_buffers(end)) {
            warm_out(end);
        }
        end = next;
    }
}

void tls_forget(struct tls_end *end) {
    if (end->is_warm) {
        warm_out(end);
    }
}

void tls_io_begin(struct tls_end *end) {
    struct tls_io *io = end->io;
    io->in_at = end->unread.base + end->unread.at;
    io->in_bytes = end->unread.bytes;
    io->out_bytes = 0;
    BIO_clear_retry_flags(io->bio);
}

ssize_t tls_fill(struct tls_end *end, size_t bytes) {
    struct tls_io *io = end->io;
    ssize_t received = transport_receive(&end->below, io->in, bytes);
    end->may_hold_below = received == (ssize_t)bytes || end->below.holds_input;
    if (received > 0) {
        io->in_at = io->in;
        io->in_bytes = (size_t)received;
        BIO_clear_retry_flags(io->bio);
    }
    return received;
}

static void drop(struct tls_bytes *kept) {
    free(kept->base);
    *kept = (struct tls_bytes){0};
}

// What is left of the input waits for the next call.
static bool keep_unread(struct tls_end *end) {
    struct tls_io *io = end->io;
    struct tls_bytes *unread = &end->unread;
    if (LIKELY(io->in_bytes == 0)) {
        if (UNLIKELY(unread->base)) {
            drop(unread);
        }
        return true;
    }
    if (io->in_at >= io->in && io->in_at < io->in + TLS_IN_BYTES) {
        char *copy = malloc(io->in_bytes);
        if (!copy) {
            return false;
        }
        memcpy(copy, io->in_at, io->in_bytes);
        drop(unread);
        *unread = (struct tls_bytes){.base = copy};
    } else {
        unread->at = (uint32_t)(io->in_at - unread->base);
    }
    unread->bytes = (uint32_t)io->in_bytes;
    return true;
}

bool tls_keep_unsent(struct tls_end *end, const char *bytes, size_t count) {
    struct tls_bytes *unsent = &end->unsent;
    size_t all = unsent->bytes + count;
    size_t most = UNSENT_BYTES_MAX + (end->owed ? end->batch_bytes : 0);
    char *base = all <= most ? malloc(all) : NULL;
    if (!base) {
        return false;
    }
    if (unsent->bytes) {
        memcpy(base, unsent->base + unsent->at, unsent->bytes);
    }
    memcpy(base + unsent->bytes, bytes, count);
    drop(unsent);
    *unsent = (struct tls_bytes){.base = base, .bytes = (uint32_t)all};
    return true;
}

void tls_take_ticket(struct tls_end *end) {
    struct tls_io *io = end->io;
    memcpy(io->out, end->unsent.base + end->unsent.at, end->unsent.bytes);
    io->out_bytes = end->unsent.bytes;
    drop(&end->unsent);
    end->has_ticket = false;
}

int tls_send_unsent(struct tls_end *end) {
    struct tls_bytes *unsent = &end->unsent;
    end->has_ticket = false;
    if (end->is_deaf) {
        return TRANSPORT_BROKEN;
    }
    while (unsent->bytes) {
        ssize_t sent = transport_send(&end->below, unsent->base + unsent->at, unsent->bytes);
        if (sent <= 0) {
            end->is_deaf = sent != TRANSPORT_LATER;
            return end->is_deaf ? TRANSPORT_BROKEN : TRANSPORT_LATER;
        }
        unsent->at += (uint32_t)sent;
        unsent->bytes -= (uint32_t)sent;
    }
    if (unsent->base) {
        drop(unsent);
    }
    return TRANSPORT_DONE;
}

// What OpenSSL wrote by itself: parts of a handshake, tickets, alerts. A client that takes nothing
// any more may still have said something before.
static bool send_written(struct tls_end *end) {
    struct tls_io *io = end->io;
    uint32_t at = 0;
    if (end->has_ticket && end->unsent.bytes) {
        (void)tls_send_unsent(end);    // It is not the only one any more.
    }
    if (!end->is_deaf && end->unsent.bytes == 0 && !end->has_ticket) {
        ssize_t sent = transport_send(&end->below, io->out, io->out_bytes);
        at = sent > 0 ? (uint32_t)sent : 0;
        end->is_deaf = sent == TRANSPORT_BROKEN;
    }
    bool is_kept = end->is_deaf || at == io->out_bytes
                   || tls_keep_unsent(end, io->out + at, io->out_bytes - at);
    io->out_bytes = 0;
    return is_kept;
}

bool tls_io_end(struct tls_end *end) {
    struct tls_io *io = end->io;
    end->used_tick = io->ticks;
    bool is_kept = keep_unread(end);
    if (UNLIKELY(io->out_bytes)) {
        is_kept &= send_written(end);
    }
    if (UNLIKELY(!end->is_warm)) {
        warm_in(end);
    }
    return is_kept;
}

int tls_verdict(struct tls_end *end) {
    // What the SSL wants is also set by errors of handshakes.
    if (LIKELY(BIO_should_retry(end->io->bio))
        && (SSL_want_read(end->ssl) || SSL_want_write(end->ssl))) {
        return TRANSPORT_LATER;
    }
    if (SSL_get_shutdown(end->ssl) & SSL_RECEIVED_SHUTDOWN) {
        end->has_ended = true;
        return TRANSPORT_END;
    }
    end->failure = (uint8_t)tls_failure_of(end->ssl, SSL_ERROR_SSL);
    end->is_broken = true;
    return TRANSPORT_BROKEN;
}
