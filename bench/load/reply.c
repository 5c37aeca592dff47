/* Parsing and verifying replies. */
#include "reply.h"

#include <string.h>

#include "reply_internal.h"

enum { LINE_BYTES_MAX = 2048 };

/* Length of the line at the reader without its \r\n, or -1 when it is not there yet. */
static long line_length(const struct reader *r) {
    const uint8_t *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!newline) {
        return -1;
    }
    long length = newline - r->at;
    return length > 0 && newline[-1] == '\r' ? length - 1 : length;
}

static enum step wrong_reply(struct connection *c, struct tally *t, const struct reader *r) {
    long left = r->end - r->at;
    tally_problem(t, "reply not allowed to a %s: %.*s",
                  c->operations[c->head].is_set ? "set" : "get", (int)(left < 80 ? left : 80),
                  (const char *)r->at);
    t->wrong_reply_count++;
    return STEP_WRONG;
}

void reply_finish(struct connection *c, const struct options *o, struct tally *t,
                  uint64_t received_ns) {
    const struct operation *operation = &c->operations[c->head];
    uint64_t latency_ns =
        received_ns > operation->intended_ns ? received_ns - operation->intended_ns : 0;
    if (operation->is_set) {
        t->set_count++;
        histogram_record(&t->set_latency, latency_ns);
    } else {
        t->get_count++;
        histogram_record(&t->get_latency, latency_ns);
    }
    const uint64_t *keys = c->keys + (size_t)c->head * o->keys_per_get;
    for (uint32_t i = 0; i < operation->key_count; i++) {
        t->key_digest += mix64(keys[i] * 2 + operation->is_set);
    }
    t->end_ns = received_ns;
    c->head = c->head + 1 == o->pipeline_depth ? 0 : c->head + 1;
    c->inflight_count--;
    c->answered_keys = 0;
}

/* Anything but the expected reply: SERVER_ERROR ends the request, all else is not allowed. */
static enum step other_line(struct connection *c, const struct options *o, struct tally *t,
                            struct reader *r, uint64_t received_ns) {
    long length = line_length(r);
    if (length < 0) {
        if (r->end - r->at > LINE_BYTES_MAX) {
            return wrong_reply(c, t, r);
        }
        return STEP_NEED_MORE;
    }
    if (length < 12 || memcmp(r->at, "SERVER_ERROR", 12) != 0) {
        return wrong_reply(c, t, r);
    }
    tally_problem(t, "refused: %.*s", (int)(length < 100 ? length : 100), (const char *)r->at);
    t->refused_count++;
    r->at = (const uint8_t *)memchr(r->at, '\n', (size_t)(r->end - r->at)) + 1;
    reply_finish(c, o, t, received_ns);
    return STEP_AGAIN;
}

void reply_count_miss(struct connection *c, const struct options *o, struct tally *t,
                      uint64_t key_id) {
    t->miss_count++;
    c->answered_keys++;
    if (o->read_through) {
        connection_remember_miss(c, key_id);
    }
}

static void count_wrong_value(struct tally *t, uint32_t value_bytes, uint64_t key_id) {
    t->wrong_value_count++;
    tally_problem(t, "wrong value of %u bytes for key number %llu", value_bytes,
                  (unsigned long long)key_id);
}

void reply_count_hit(struct connection *c, const struct options *o, struct tally *t,
                     const uint8_t *data, uint32_t value_bytes) {
    uint64_t key_id = c->keys[(size_t)c->head * o->keys_per_get + c->answered_keys];
    if (!dataset_value_valid(&o->dataset, key_id, data, value_bytes)) {
        count_wrong_value(t, value_bytes, key_id);
    }
    t->hit_count++;
    c->answered_keys++;
}

/* Moves on to the key the server answered, counting those it left out as misses. False when it
 * answered a key that was not asked for. */
static bool match_key(struct connection *c, const struct options *o, struct tally *t,
                      const uint8_t *text, size_t length) {
    const uint64_t *keys = c->keys + (size_t)c->head * o->keys_per_get;
    uint32_t key_count = c->operations[c->head].key_count;
    while (c->answered_keys < key_count) {
        uint64_t key_id = keys[c->answered_keys];
        uint8_t expected[KEY_BYTES_MAX];
        uint32_t expected_length = dataset_key(&o->dataset, key_id, expected);
        if (length == expected_length && memcmp(text, expected, length) == 0) {
            return true;
        }
        reply_count_miss(c, o, t, key_id);
    }
    return false;
}

/* " <flags> <bytes>\r\n" behind the key: the size in bytes, or -1. Flags are always set to 0. */
static long parse_value_size(const uint8_t *text, const uint8_t *line_end) {
    if (line_end - text < 4 || memcmp(text, " 0 ", 3) != 0) {
        return -1;
    }
    long size = 0;
    for (text += 3; text < line_end; text++) {
        if (*text < '0' || *text > '9' || size > (1l << 40)) {
            return -1;
        }
        size = size * 10 + (*text - '0');
    }
    return size;
}

static enum step take_value(struct connection *c, const struct options *o, struct tally *t,
                            struct reader *r) {
    long length = line_length(r);
    if (length < 0) {
        return r->end - r->at > LINE_BYTES_MAX ? wrong_reply(c, t, r) : STEP_NEED_MORE;
    }
    const uint8_t *line_end = r->at + length;
    const uint8_t *key = r->at + 6;
    const uint8_t *key_end = memchr(key, ' ', (size_t)(line_end - key));
    if (!key_end || line_end[0] != '\r') {
        return wrong_reply(c, t, r);
    }
    long size = parse_value_size(key_end, line_end);
    if (size < 0 || size > (long)o->dataset.value_bytes_max) {
        t->wrong_value_count++;
        return wrong_reply(c, t, r);
    }
    const uint8_t *data = line_end + 2;
    if (r->end - data < size + 2) {
        return STEP_NEED_MORE;
    }
    if (!match_key(c, o, t, key, (size_t)(key_end - key))) {
        t->wrong_value_count++;
        return wrong_reply(c, t, r);
    }
    uint64_t key_id = c->keys[(size_t)c->head * o->keys_per_get + c->answered_keys];
    if (data[size] != '\r' || data[size + 1] != '\n') {
        count_wrong_value(t, (uint32_t)size, key_id);
    }
    reply_count_hit(c, o, t, data, (uint32_t)size);
    r->at = data + size + 2;
    return STEP_AGAIN;
}

static enum step take_get_part(struct connection *c, const struct options *o, struct tally *t,
                               struct reader *r, uint64_t received_ns) {
    long left = r->end - r->at;
    if (left >= 6 && memcmp(r->at, "VALUE ", 6) == 0) {
        return take_value(c, o, t, r);
    }
    if (left >= 5 && memcmp(r->at, "END\r\n", 5) == 0) {
        const uint64_t *keys = c->keys + (size_t)c->head * o->keys_per_get;
        uint32_t key_count = c->operations[c->head].key_count;
        while (c->answered_keys < key_count) {
            reply_count_miss(c, o, t, keys[c->answered_keys]);
        }
        r->at += 5;
        reply_finish(c, o, t, received_ns);
        return STEP_AGAIN;
    }
    if (left < 6) {
        return STEP_NEED_MORE;
    }
    return other_line(c, o, t, r, received_ns);
}

size_t replies_consume(struct connection *c, const struct options *o, struct tally *t,
                       const uint8_t *bytes, size_t byte_count, uint64_t received_ns) {
    if (o->is_binary) {
        return replies_consume_binary(c, o, t, bytes, byte_count, received_ns);
    }
    struct reader r = {bytes, bytes + byte_count};
    while (r.at < r.end) {
        if (c->inflight_count == 0) {
            tally_problem(t, "%zu bytes that nobody asked for", (size_t)(r.end - r.at));
            t->wrong_reply_count++;
            break;
        }
        enum step step;
        if (!c->operations[c->head].is_set) {
            step = take_get_part(c, o, t, &r, received_ns);
        } else if (r.end - r.at >= 8 && memcmp(r.at, "STORED\r\n", 8) == 0) {
            r.at += 8;
            reply_finish(c, o, t, received_ns);
            step = STEP_AGAIN;
        } else {
            step = r.end - r.at < 8 ? STEP_NEED_MORE : other_line(c, o, t, &r, received_ns);
        }
        if (step != STEP_AGAIN) {
            break;
        }
    }
    return (size_t)(r.at - bytes);
}
