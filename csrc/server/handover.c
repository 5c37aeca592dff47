// Hand-over of connections between workers: a descriptor and a note through the receiver's inbox.
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/server_internal.h"

bool engine_give_connection(int inbox_fd, int fd, uint32_t listener) {
    struct hand_over note = {.listener = listener};
    socklen_t size = sizeof note.peer;
    // A client that has gone already has no name, and its new worker will notice.
    (void)getpeername(fd, &note.peer.any, &size);
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && inbox_send(inbox_fd, fd, &note);
}

// The descriptor that came with a message, -1 for none.
static int descriptor_of(struct msghdr *message) {
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;
    if (header && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    }
    return fd;
}

void inbox_serve(struct engine *engine) {
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct hand_over note;
        struct iovec iov = {&note, sizeof note};
        union {
            struct cmsghdr header;
            char room[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        ssize_t received = recvmsg(engine->inbox_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (received < 0) {
            return;
        }
        int fd = descriptor_of(&message);
        if (received == 1 && fd < 0 && *(const char *)&note == INBOX_CALL) {
            engine_watch_called(engine);
            continue;
        }
        if (received != (ssize_t)sizeof note || note.worker >= engine->workers) {
            // A note that nobody here wrote: its client sees the end.
            if (fd >= 0) {
                close(fd);
            }
            continue;
        }
        if (note.worker != engine->worker || note.epoch != engine->epoch) {
            // It was counted for another worker, for a life of this one that is over, or not at
            // all.
            server_place_here(engine, note.worker, note.epoch);
        }
        if (fd < 0) {
            // The descriptor did not fit into this process's table; its peer sees the end.
            server_load_change(engine, -1);
            continue;
        }
        if (note.listener < engine->listener_count) {
            client_open(engine, fd, &engine->listeners[note.listener], &note.peer, true);
        } else if (engine->listener_count == 0) {
            client_open(engine, fd, NULL, &note.peer, true);
        } else {
            // Who knows nothing of its listener does not know either whether it has to encrypt.
            close(fd);
            server_load_change(engine, -1);
        }
    }
}
