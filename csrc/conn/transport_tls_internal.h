// What the files of the encrypting transport share: OpenSSL's part of a connection, and the buffers
// that all of a worker's connections use one after the other.
#pragma once

#include "conn/transport_tls_inline.h"

// What is received at once at most.
#define TLS_IN_BYTES 65536
// The most that one record holds, and what encryption adds to it at most.
#define RECORD_BYTES 16384
#define RECORD_EXTRA_BYTES 512

// Ciphertext that waits for one connection; freed when there is none.
struct tls_bytes {
    char *base;
    uint32_t at;
    uint32_t bytes;
};

struct tls_io {
    BIO_METHOD *method;
    BIO *bio;             // One for all connections: its bytes are those of the call under way.
    const char *in_at;    // What OpenSSL reads next ...
    size_t in_bytes;      // ... and how much of it there is.
    char *in;             // What the transport below gave last.
    char *plain;          // Pieces that become one record.
    char *out;            // What OpenSSL wrote and was not sent yet.
    uint32_t out_bytes;
    uint32_t out_room;
    uint32_t out_limit;    // So much is sent in one piece.
    uint32_t ticks;
    uint32_t warm_count;
    bool pretends_kernel;    // For tests: that the kernel encrypts.
    struct tls_end *warm;    // Those whose SSL has buffers.
};

struct tls_end {
    SSL *ssl;
    struct tls_io *io;
    struct tls_context *context;
    struct transport below;
    struct tls_bytes unread;    // Received, and not looked at.
    struct tls_bytes unsent;    // Encrypted, and not taken by the transport below.
    uint32_t batch_bytes;       // What `unsent` was when the first byte of it was refused ...
    uint32_t batch_plain;       // ... and what was encrypted in it.
    uint32_t owed;              // Of that plaintext so much was not yet said to be taken.
    uint32_t used_tick;
    uint32_t full_until_tick;    // Before it the client was sent something lately.
    uint8_t failure;             // enum tls_failure
    bool has_ended;              // The client has said that it sends nothing more.
    bool is_broken;              // OpenSSL met what ends the conversation at once.
    bool holds_part;             // Of a record: more than is kept of it has to come.
    bool may_hold_below;         // The last fill was full: no event tells of what is behind it.
    bool is_deaf;          // The transport below takes nothing any more; it may still hold input.
    bool reads_to_send;    // OpenSSL has to read before it can encrypt.
    bool has_ticket;       // `unsent` is a ticket that leaves with the first reply, or when there
                           // is nothing to be received.
    bool reads_on;         // It was sent something after its end: it listens.
    bool is_warm;
    struct tls_end *warm_next, *warm_previous;
    struct tls_by_kernel *kernel;    // NULL but where the kernel may encrypt.
};

// Between these two OpenSSL may be called: it reads what was not looked at, then what tls_fill()
// got, and writes to io->out, which is empty at first.
void tls_io_begin(struct tls_end *end);
// What it did not read is kept, what it wrote is sent or kept. Returns false when the connection
// cannot go on.
MUST_CHECK bool tls_io_end(struct tls_end *end);
// Whether OpenSSL has a record that came in part.
bool tls_holds_part(const struct tls_end *end);
// Takes one that is freed out of the list of those with buffers.
void tls_forget(struct tls_end *end);
// Receives from below, TLS_IN_BYTES at most; only when io->in_bytes is 0. As transport_receive().
ssize_t tls_fill(struct tls_end *end, size_t bytes);
// What OpenSSL said of a call that moved nothing: TRANSPORT_LATER when it lacks input,
// TRANSPORT_END when the client sends no more, TRANSPORT_BROKEN.
int tls_verdict(struct tls_end *end);
// Sends what is unsent: TRANSPORT_DONE when that was all, TRANSPORT_LATER or TRANSPORT_BROKEN.
int tls_send_unsent(struct tls_end *end);
// Puts a ticket that was kept for the first reply before what is written next.
void tls_take_ticket(struct tls_end *end);
// Keeps what the transport below did not take of the bytes. Returns false at the bound or without
// memory.
MUST_CHECK bool tls_keep_unsent(struct tls_end *end, const char *bytes, size_t count);

// If the context wants it, and the kernel may be able to: its part of a transport that is encrypted
// otherwise as all are. Without memory it stays as it is.
void tls_kernel_begin(struct transport *transport);

ssize_t tls_receive_pieces(struct transport *transport, const struct iovec *pieces,
                           size_t piece_count);
ssize_t tls_send_pieces(struct transport *transport, const struct iovec *pieces,
                        size_t piece_count);
