/* Opening connections and writing requests. */
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void buffer_append(struct buffer *b, const void *bytes, size_t count) {
    if (b->used + count > b->capacity) {
        b->capacity = (b->used + count) * 2;
        b->bytes = reallocate(b->bytes, b->capacity);
    }
    memcpy(b->bytes + b->used, bytes, count);
    b->used += count;
}

void buffer_free(struct buffer *b) {
    free(b->bytes);
    *b = (struct buffer){0};
}

void connection_setup(struct connection *c, const struct options *o) {
    *c = (struct connection){.fd = -1};
    c->operations = allocate(o->pipeline_depth, sizeof *c->operations);
    c->keys = allocate((size_t)o->pipeline_depth * o->keys_per_get, sizeof *c->keys);
}

void connection_teardown(struct connection *c) {
    if (c->fd >= 0) {
        close(c->fd);
    }
    free(c->operations);
    free(c->keys);
    free(c->missed_keys);
    buffer_free(&c->partial);
    buffer_free(&c->unsent);
}

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        die(EXIT_CODE_USAGE, "--unix: path too long");
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static int connect_tcp(const char *host, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        die(EXIT_CODE_USAGE, "--host %s: want an IPv4 address", host);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

bool connection_open(struct connection *c, const struct options *o) {
    c->fd = o->unix_path ? connect_unix(o->unix_path) : connect_tcp(o->host, o->port);
    if (c->fd < 0) {
        return false;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    return true;
}

uint32_t connection_drop(struct connection *c) {
    uint32_t lost_count = c->inflight_count;
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->wants_write = false;
    c->inflight_count = 0;
    c->answered_keys = 0;
    c->partial.used = 0;
    c->unsent.used = 0;
    return lost_count;
}

void connection_remember_miss(struct connection *c, uint64_t key_id) {
    if (c->missed_count == c->missed_capacity) {
        c->missed_capacity = c->missed_capacity ? c->missed_capacity * 2 : 8;
        c->missed_keys = reallocate(c->missed_keys, c->missed_capacity * sizeof *c->missed_keys);
    }
    c->missed_keys[c->missed_count++] = key_id;
}

static uint32_t push_operation(struct connection *c, const struct options *o,
                               struct operation operation) {
    uint32_t slot = c->head + c->inflight_count;
    if (slot >= o->pipeline_depth) {
        slot -= o->pipeline_depth;
    }
    c->operations[slot] = operation;
    c->inflight_count++;
    return slot;
}

static uint8_t *write_decimal(uint8_t *out, uint64_t value) {
    uint8_t digits[20];
    uint32_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count) {
        *out++ = digits[--count];
    }
    return out;
}

size_t connection_push_get(struct connection *c, const struct options *o, const uint64_t *keys,
                           uint64_t intended_ns, uint8_t *out) {
    uint32_t slot = push_operation(
        c, o, (struct operation){.intended_ns = intended_ns, .key_count = o->keys_per_get});
    memcpy(c->keys + (size_t)slot * o->keys_per_get, keys, o->keys_per_get * sizeof *keys);
    uint8_t *at = out;
    memcpy(at, "get", 3);
    at += 3;
    for (uint32_t i = 0; i < o->keys_per_get; i++) {
        *at++ = ' ';
        at += dataset_key(&o->dataset, keys[i], at);
    }
    *at++ = '\r';
    *at++ = '\n';
    return (size_t)(at - out);
}

size_t connection_push_set(struct connection *c, const struct options *o, uint64_t key_id,
                           uint64_t generation, uint64_t intended_ns, uint8_t *out) {
    uint32_t slot = push_operation(
        c, o, (struct operation){.intended_ns = intended_ns, .key_count = 1, .is_set = true});
    c->keys[(size_t)slot * o->keys_per_get] = key_id;
    uint32_t value_bytes = dataset_value_bytes(&o->dataset, key_id, generation);
    uint8_t *at = out;
    memcpy(at, "set ", 4);
    at += 4;
    at += dataset_key(&o->dataset, key_id, at);
    memcpy(at, " 0 ", 3);
    at = write_decimal(at + 3, o->ttl_seconds);
    *at++ = ' ';
    at = write_decimal(at, value_bytes);
    *at++ = '\r';
    *at++ = '\n';
    dataset_value(&o->dataset, key_id, generation, at, value_bytes);
    at += value_bytes;
    *at++ = '\r';
    *at++ = '\n';
    return (size_t)(at - out);
}

size_t request_bytes_max(const struct options *o) {
    size_t get = 8 + (size_t)o->keys_per_get * (o->dataset.key_bytes_max + 1);
    size_t set = 64 + (size_t)o->dataset.key_bytes_max + o->dataset.value_bytes_max;
    return get > set ? get : set;
}
