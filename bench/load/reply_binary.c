/* Parsing and verifying replies of the binary protocol. */
#include <string.h>

#include "binary.h"
#include "reply_internal.h"

struct binary_reply {
    uint32_t opcode, key_bytes, extras_bytes, status, body_bytes, number;
    const uint8_t *body;
};

static void read_header(struct binary_reply *reply, const uint8_t *at) {
    *reply = (struct binary_reply){.opcode = at[1],
                                   .key_bytes = binary_u16(at + 2),
                                   .extras_bytes = at[4],
                                   .status = binary_u16(at + 6),
                                   .body_bytes = binary_u32(at + 8),
                                   .number = binary_u32(at + 12),
                                   .body = at + BINARY_HEADER_BYTES};
}

static enum step wrong_reply(const struct binary_reply *reply, struct tally *t, const char *why) {
    tally_problem(t, "binary reply: %s (opcode %u, status %u, %u bytes, opaque %u)", why,
                  reply->opcode, reply->status, reply->body_bytes, reply->number);
    t->wrong_reply_count++;
    return STEP_WRONG;
}

static uint32_t oldest_number(const struct connection *c) {
    return c->next_number - c->inflight_count;
}

static void finish_miss(struct connection *c, const struct options *o, struct tally *t,
                        uint64_t received_ns) {
    reply_count_miss(c, o, t, c->keys[(size_t)c->head * o->keys_per_get]);
    reply_finish(c, o, t, received_ns);
}

/* Quiet GETs that a later reply shows to be missing. False when the reply belongs to no request, or
 * passes over one that must be answered. */
static bool pass_over_misses(struct connection *c, const struct options *o, struct tally *t,
                             uint32_t number, uint64_t received_ns) {
    uint32_t passed_count = number - oldest_number(c);
    if (passed_count > c->inflight_count) {
        return false;
    }
    for (; passed_count; passed_count--) {
        if (!o->is_quiet || c->operations[c->head].is_set) {
            return false;
        }
        finish_miss(c, o, t, received_ns);
    }
    return true;
}

static enum step take_get(struct connection *c, const struct options *o, struct tally *t,
                          const struct binary_reply *reply, uint64_t received_ns) {
    if (reply->status == BINARY_NOT_FOUND && !o->is_quiet) {
        finish_miss(c, o, t, received_ns);
        return STEP_AGAIN;
    }
    static const uint8_t NO_FLAGS[BINARY_GET_EXTRAS_BYTES];
    if (reply->status != BINARY_OK || reply->extras_bytes != sizeof NO_FLAGS || reply->key_bytes
        || reply->body_bytes < sizeof NO_FLAGS
        || memcmp(reply->body, NO_FLAGS, sizeof NO_FLAGS) != 0) {
        return wrong_reply(reply, t, "not allowed to a get");
    }
    reply_count_hit(c, o, t, reply->body + sizeof NO_FLAGS,
                    reply->body_bytes - (uint32_t)sizeof NO_FLAGS);
    reply_finish(c, o, t, received_ns);
    return STEP_AGAIN;
}

static enum step take_set(struct connection *c, const struct options *o, struct tally *t,
                          const struct binary_reply *reply, uint64_t received_ns) {
    switch (reply->status) {
    case BINARY_OK:
        if (reply->body_bytes) {
            return wrong_reply(reply, t, "a set has no body");
        }
        break;
    case BINARY_OUT_OF_MEMORY:
    case BINARY_BUSY:
    case BINARY_TEMPORARY:
        tally_problem(t, "refused: status %u", reply->status);
        t->refused_count++;
        break;
    default: return wrong_reply(reply, t, "not allowed to a set");
    }
    reply_finish(c, o, t, received_ns);
    return STEP_AGAIN;
}

static enum step take_reply(struct connection *c, const struct options *o, struct tally *t,
                            const struct binary_reply *reply, uint64_t received_ns) {
    if (!pass_over_misses(c, o, t, reply->number, received_ns)) {
        return wrong_reply(reply, t, "to no request that is due");
    }
    if (o->is_quiet && reply->opcode == BINARY_NOOP) {
        bool is_bare = !reply->status && !reply->body_bytes;
        return is_bare ? STEP_AGAIN : wrong_reply(reply, t, "not allowed to a no-op");
    }
    bool is_set = c->inflight_count && c->operations[c->head].is_set;
    uint32_t opcode = is_set ? BINARY_SET : o->is_quiet ? BINARY_GETQ : BINARY_GET;
    if (c->inflight_count == 0 || reply->opcode != opcode) {
        return wrong_reply(reply, t, "to no request that is due");
    }
    return is_set ? take_set(c, o, t, reply, received_ns) : take_get(c, o, t, reply, received_ns);
}

size_t replies_consume_binary(struct connection *c, const struct options *o, struct tally *t,
                              const uint8_t *bytes, size_t byte_count, uint64_t received_ns) {
    const size_t body_bytes_max = 1024 + (size_t)o->dataset.value_bytes_max;
    struct reader r = {bytes, bytes + byte_count};
    enum step step = STEP_AGAIN;
    while (step == STEP_AGAIN && r.end - r.at >= BINARY_HEADER_BYTES) {
        struct binary_reply reply;
        read_header(&reply, r.at);
        if (r.at[0] != BINARY_REPLY || reply.body_bytes > body_bytes_max) {
            wrong_reply(&reply, t, "not one, or too long");
            break;
        }
        size_t whole_bytes = BINARY_HEADER_BYTES + (size_t)reply.body_bytes;
        if ((size_t)(r.end - r.at) < whole_bytes) {
            break;
        }
        step = take_reply(c, o, t, &reply, received_ns);
        r.at += step == STEP_AGAIN ? whole_bytes : 0;
    }
    return (size_t)(r.at - bytes);
}
