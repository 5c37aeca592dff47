/* One client connection: the requests in flight, and the bytes that wait on either side. */
#pragma once

#include "channel.h"
#include "tally.h"

struct operation {
    uint64_t intended_ns; /* when it should have been sent; latency counts from here */
    uint32_t key_count;
    bool is_set;
};

struct buffer {
    uint8_t *bytes;
    size_t used;
    size_t capacity;
};

struct connection {
    struct channel channel;
    bool wants_write; /* EPOLLOUT is armed */
    uint32_t head;    /* ring index of the oldest request in flight */
    uint32_t inflight_count;
    uint32_t answered_keys;       /* of the oldest request: keys already found or missed */
    struct operation *operations; /* ring of pipeline_depth */
    uint64_t *keys;               /* ring of pipeline_depth * keys_per_get */
    struct buffer partial;        /* received, not yet a whole reply */
    struct buffer unsent;
    uint64_t *missed_keys; /* read-through: to be SET */
    uint32_t missed_count, missed_capacity;
    uint32_t next_number; /* of the next request; with inflight_count also that of the oldest */
    uint64_t next_index;  /* open loop: schedule index of the next request to send */
};

void buffer_append(struct buffer *b, const void *bytes, size_t count);
void buffer_free(struct buffer *b);

void connection_setup(struct connection *c, const struct options *o);
void connection_teardown(struct connection *c);

/* Closes the socket and forgets everything in flight; returns how many requests were lost. */
uint32_t connection_drop(struct connection *c);

void connection_remember_miss(struct connection *c, uint64_t key_id);

/* Appends one request to the ring and its bytes at `out`; returns the bytes written.
 * REQUIRES: inflight_count < pipeline_depth; room for request_bytes_max(o) at out. */
size_t connection_push_get(struct connection *c, const struct options *o, const uint64_t *keys,
                           uint64_t intended_ns, uint8_t *out);
size_t connection_push_set(struct connection *c, const struct options *o, uint64_t key_id,
                           uint64_t generation, uint64_t intended_ns, uint8_t *out);
