// A log keeps what its reader does not take in a buffer of whole lines, and counts what does not
// fit.
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check_inline.h"

#define KEPT_BYTES_MAX 65536
#define NAME_BYTES 32
// Room for the time, the name and what stands between them.
#define STAMP_BYTES 80
#define NS_PER_SECOND 1000000000u

struct log {
    int fd;
    bool is_socket;
    bool may_block;
    uint32_t used;
    uint64_t dropped;
    uint64_t dropped_logged;
    uint32_t stamp_bytes;
    char name[NAME_BYTES];
    char stamp[STAMP_BYTES];
    char kept[KEPT_BYTES_MAX];
};

struct log *log_open(int fd, const char *name) {
    struct log *log = malloc(sizeof *log);
    if (!log) {
        return NULL;
    }
    struct stat found;
    int flags = fcntl(fd, F_GETFL);
    memset(log, 0, offsetof(struct log, kept));
    log->fd = fd;
    log->is_socket = fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode);
    log->may_block =
        !log->is_socket && flags >= 0 && !(flags & O_NONBLOCK) && !S_ISREG(found.st_mode);
    snprintf(log->name, sizeof log->name, "%s", name);
    return log;
}

void log_close(struct log *log) {
    if (log) {
        log_flush(log);
        free(log);
    }
}

void log_stamp(struct log *log, uint64_t unix_ns) {
    time_t seconds = (time_t)(unix_ns / NS_PER_SECOND);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t bytes = strftime(log->stamp, sizeof log->stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(log->stamp + bytes, sizeof log->stamp - bytes,
                        ".%06uZ %s: ", (unsigned)(unix_ns % NS_PER_SECOND / 1000), log->name);
    log->stamp_bytes = (uint32_t)bytes + (uint32_t)more;
}

uint64_t log_dropped(const struct log *log) {
    return log->dropped;
}

static ssize_t write_now(const struct log *log, uint32_t bytes) {
    if (log->is_socket) {
        return send(log->fd, log->kept, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    // A pipe with any room has room for what is written here as a whole, unless somebody else is
    // faster just now.
    struct pollfd room = {.fd = log->fd, .events = POLLOUT};
    if (log->may_block && (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))) {
        errno = EAGAIN;
        return -1;
    }
    return write(log->fd, log->kept, bytes);
}

// As many whole lines as may go in one piece, so that lines of several processes do not mix.
static uint32_t piece_bytes(const struct log *log) {
    if (log->used <= LOG_LINE_BYTES_MAX) {
        return log->used;
    }
    const char *end = memrchr(log->kept, '\n', LOG_LINE_BYTES_MAX);
    return end ? (uint32_t)(end + 1 - log->kept) : LOG_LINE_BYTES_MAX;
}

void log_flush(struct log *log) {
    while (log->used > 0) {
        ssize_t written = write_now(log, piece_bytes(log));
        if (written < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (written <= 0) {
            log->used = 0;    // Nobody will ever read it.
            return;
        }
        log->used -= (uint32_t)written;
        memmove(log->kept, log->kept + written, log->used);
    }
}

static bool keep(struct log *log, const char *text, uint32_t bytes) {
    uint32_t room = LOG_LINE_BYTES_MAX - 1 - log->stamp_bytes;
    bytes = bytes < room ? bytes : room;
    if (log->stamp_bytes + bytes + 1 > KEPT_BYTES_MAX - log->used) {
        return false;
    }
    char *at = log->kept + log->used;
    memcpy(at, log->stamp, log->stamp_bytes);
    memcpy(at + log->stamp_bytes, text, bytes);
    at[log->stamp_bytes + bytes] = '\n';
    log->used += log->stamp_bytes + bytes + 1;
    return true;
}

void log_line(struct log *log, const char *text, uint32_t bytes) {
    if (!log) {
        return;
    }
    if (UNLIKELY(log->used)) {
        log_flush(log);
    }
    if (UNLIKELY(log->dropped != log->dropped_logged)) {
        char lost_line[96];
        int lost_line_bytes = snprintf(lost_line, sizeof lost_line,
                                       "pymc: %llu lines of the log were dropped: nobody read them",
                                       (unsigned long long)(log->dropped - log->dropped_logged));
        // Said only when what follows it can be said too.
        if (log->used || !keep(log, lost_line, (uint32_t)lost_line_bytes)) {
            log->dropped++;
            return;
        }
        log->dropped_logged = log->dropped;
    }
    if (!keep(log, text, bytes)) {
        log->dropped++;
        return;
    }
    log_flush(log);
}
