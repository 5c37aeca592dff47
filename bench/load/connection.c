/* What is in flight on a connection. */
#include "connection.h"

#include <stdlib.h>
#include <string.h>

#include "request.h"

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
    *c = (struct connection){.channel.fd = -1};
    c->operations = allocate(o->pipeline_depth, sizeof *c->operations);
    c->keys = allocate((size_t)o->pipeline_depth * o->keys_per_get, sizeof *c->keys);
}

void connection_teardown(struct connection *c) {
    channel_teardown(&c->channel);
    free(c->operations);
    free(c->keys);
    free(c->missed_keys);
    buffer_free(&c->partial);
    buffer_free(&c->unsent);
}

uint32_t connection_drop(struct connection *c) {
    uint32_t lost_count = c->inflight_count;
    channel_close(&c->channel);
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

size_t connection_push_get(struct connection *c, const struct options *o, const uint64_t *keys,
                           uint64_t intended_ns, uint8_t *out) {
    uint32_t slot = push_operation(
        c, o, (struct operation){.intended_ns = intended_ns, .key_count = o->keys_per_get});
    memcpy(c->keys + (size_t)slot * o->keys_per_get, keys, o->keys_per_get * sizeof *keys);
    return request_write_get(o, keys, c->next_number++, out);
}

size_t connection_push_set(struct connection *c, const struct options *o, uint64_t key_id,
                           uint64_t generation, uint64_t intended_ns, uint8_t *out) {
    uint32_t slot = push_operation(
        c, o, (struct operation){.intended_ns = intended_ns, .key_count = 1, .is_set = true});
    c->keys[(size_t)slot * o->keys_per_get] = key_id;
    return request_write_set(o, key_id, generation, c->next_number++, out);
}
