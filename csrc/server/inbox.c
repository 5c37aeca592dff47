// The sending side of workers' inboxes.
#include <string.h>
#include <sys/socket.h>

#include "server/server_internal.h"

bool inbox_send(int inbox_fd, int fd, const struct hand_over *note) {
    struct iovec iov = {(void *)note, sizeof *note};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return inbox_fd >= 0
           && sendmsg(inbox_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *note;
}

void inbox_call(int inbox_fd) {
    static const char call = INBOX_CALL;
    (void)!send(inbox_fd, &call, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}
