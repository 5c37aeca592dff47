// The transport of plain sockets.
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/transport_inline.h"

static ssize_t result_of(ssize_t result) {
    if (LIKELY(result >= 0)) {
        return result;
    }
    bool is_later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return is_later ? TRANSPORT_LATER : TRANSPORT_BROKEN;
}

static ssize_t socket_receive(struct transport *transport, void *place, size_t bytes) {
    return result_of(recv(transport->fd, place, bytes, MSG_DONTWAIT));
}

static ssize_t socket_receive_pieces(struct transport *transport, const struct iovec *pieces,
                                     size_t piece_count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = piece_count};
    return result_of(recvmsg(transport->fd, &message, MSG_DONTWAIT));
}

static ssize_t socket_send(struct transport *transport, const void *bytes, size_t count) {
    return result_of(send(transport->fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static ssize_t socket_send_pieces(struct transport *transport, const struct iovec *pieces,
                                  size_t piece_count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = piece_count};
    return result_of(sendmsg(transport->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static uint32_t socket_arrived(struct transport *transport) {
    int bytes = 0;
    return ioctl(transport->fd, FIONREAD, &bytes) == 0 && bytes > 0 ? (uint32_t)bytes : 0;
}

static uint32_t socket_wanted(const struct transport *transport, uint32_t wants) {
    (void)transport;
    return wants;
}

// close() says it, once the last descriptor of the socket is closed: another process may have one.
static void socket_shut_down(struct transport *transport) {
    (void)transport;
}

static void socket_close(struct transport *transport) {
    close(transport->fd);
    transport->fd = -1;
}

void transport_open_socket(struct transport *transport, int fd) {
    static const struct transport_ops socket_ops = {.receive = socket_receive,
                                                    .receive_pieces = socket_receive_pieces,
                                                    .send = socket_send,
                                                    .send_pieces = socket_send_pieces,
                                                    .arrived = socket_arrived,
                                                    .wanted = socket_wanted,
                                                    .shut_down = socket_shut_down,
                                                    .close = socket_close};
    *transport = (struct transport){.ops = &socket_ops, .fd = fd};
}
