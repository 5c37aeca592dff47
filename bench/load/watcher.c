/* A connection beside those that work, which watches log streams and throws the lines away. */
#include "watcher.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RECEIVE_BYTES (256u << 10)

static struct channel channel;
static uint8_t received[RECEIVE_BYTES];
static uint64_t bytes_seen;

/* Waits for the next bytes; 0 at the end. */
static size_t receive(void) {
    for (;;) {
        struct pollfd asked = {.fd = channel.fd, .events = POLLIN};
        poll(&asked, 1, -1);
        ssize_t count = channel_recv(&channel, received, sizeof received);
        if (count > 0) {
            return (size_t)count;
        }
        if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            return 0;
        }
    }
}

static void *drain(void *unused) {
    (void)unused;
    for (size_t count; (count = receive()) > 0;) {
        __atomic_add_fetch(&bytes_seen, count, __ATOMIC_RELAXED);
    }
    return NULL;
}

void watcher_start(const struct options *o) {
    if (!o->watched) {
        return;
    }
    char line[256];
    int line_bytes = snprintf(line, sizeof line, "watch %s\r\n", o->watched);
    if (!channel_open(&channel, o) || !channel_finish_handshake(&channel, o->stall_seconds)) {
        die(EXIT_CODE_SERVER, "cannot open the watching connection: %s", channel_trouble());
    }
    if (channel_send(&channel, (uint8_t *)line, (size_t)line_bytes) != line_bytes || receive() < 4
        || memcmp(received, "OK\r\n", 4) != 0) {
        die(EXIT_CODE_SERVER, "cannot watch %s", o->watched);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, drain, NULL) != 0) {
        die(EXIT_CODE_USAGE, "cannot start the watching thread");
    }
    pthread_detach(thread);
}

uint64_t watcher_bytes(void) {
    return __atomic_load_n(&bytes_seen, __ATOMIC_RELAXED);
}
