// How bytes get from and to a client: what a connection asks of a socket, or of a client in memory.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/check_inline.h"

// What receive and send return besides a number of bytes above 0.
enum transport_result {
    TRANSPORT_DONE = 1,      // greet: bytes can be moved.
    TRANSPORT_END = 0,       // receive: the client will send no more.
    TRANSPORT_LATER = -1,    // Nothing can be moved until an event tells.
    TRANSPORT_BROKEN = -2    // There is no client any more.
};

// What a connection wants to be told of, and is told of. The numbers are those of epoll and poll,
// so that an engine has nothing to translate.
enum transport_event {
    TRANSPORT_IN = 0x001,
    TRANSPORT_OUT = 0x004,
    TRANSPORT_ERROR = 0x008,
    TRANSPORT_HANG_UP = 0x010,
    TRANSPORT_ENDED = 0x2000    // The client will send no more than what is to be received.
};

struct transport;
struct tls_context;

// Nothing here waits. Events tell of changes only (edges): who gets fewer bytes than it asked for
// will be told of more, unless the transport `holds_input`.
struct transport_ops {
    // What has to be agreed on before the first byte: TRANSPORT_DONE, TRANSPORT_LATER or
    // TRANSPORT_BROKEN. NULL where that is nothing.
    int (*greet)(struct transport *transport);
    ssize_t (*receive)(struct transport *transport, void *place, size_t bytes);
    // Fills the pieces one after the other, as the parts of a large item; it may fill fewer.
    ssize_t (*receive_pieces)(struct transport *transport, const struct iovec *pieces,
                              size_t piece_count);
    // Takes as many of the bytes as it can. What it did not take is offered again as the first
    // bytes of a later call, which may bring them from another place in memory.
    ssize_t (*send)(struct transport *transport, const void *bytes, size_t count);
    // The same for text and values in turn, up to some hundred pieces. The values lie in the arena
    // and are pinned until this says that they were taken.
    ssize_t (*send_pieces)(struct transport *transport, const struct iovec *pieces,
                           size_t piece_count);
    // How many bytes have surely come that were not received yet; 0 when that is not known.
    uint32_t (*arrived)(struct transport *transport);
    // The events to wait for when the connection wants these. They differ where a transport has to
    // send before it can receive, or the other way round.
    uint32_t (*wanted)(const struct transport *transport, uint32_t wants);
    // Says to the client that nothing more is sent, as far as that has a word of its own beside
    // close.
    void (*shut_down)(struct transport *transport);
    void (*close)(struct transport *transport);
};

// Part of a connection, so that looking at it costs no further line of memory.
struct transport {
    const struct transport_ops *ops;
    int fd;              // Whose events tell of it; -1 for none.
    bool holds_input;    // It has input that no event will tell of: receive again without waiting.
    bool holds_part;     // Of something that is received whole or not at all: more has to come.
    union {
        struct memory_client *client;
        struct tls_end *tls;
    };
};

// A connected, non-blocking socket, which the transport closes.
void transport_open_socket(struct transport *transport, int fd);

static inline ssize_t transport_receive(struct transport *transport, void *place, size_t bytes) {
    return transport->ops->receive(transport, place, bytes);
}
static inline ssize_t transport_receive_pieces(struct transport *transport,
                                               const struct iovec *pieces, size_t piece_count) {
    return transport->ops->receive_pieces(transport, pieces, piece_count);
}
static inline ssize_t transport_send(struct transport *transport, const void *bytes, size_t count) {
    return transport->ops->send(transport, bytes, count);
}
static inline ssize_t transport_send_pieces(struct transport *transport, const struct iovec *pieces,
                                            size_t piece_count) {
    return transport->ops->send_pieces(transport, pieces, piece_count);
}
static inline uint32_t transport_arrived(struct transport *transport) {
    return transport->ops->arrived(transport);
}
static inline uint32_t transport_wanted(const struct transport *transport, uint32_t wants) {
    return transport->ops->wanted(transport, wants);
}
// Ends the conversation from this side.
static inline void transport_close(struct transport *transport) {
    transport->ops->shut_down(transport);
    transport->ops->close(transport);
}
