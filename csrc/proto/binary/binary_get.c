// get, getk, gat, touch and their quiet forms: those that stand in a row are looked up together, so
// that their memory latencies overlap.
#include "proto/binary/binary_internal.h"

#define BATCH 24

struct wanted {
    const char *key;
    const char *end;    // Of the request.
    uint64_t hash;
    uint32_t opaque;
    uint8_t key_bytes;
    uint8_t number;
    uint8_t variant;    // Bits of enum binary_read.
    bool is_quiet;
};

// What stands before the value.
static inline __attribute__((always_inline)) char *put_head(struct execute_get *get, char *at) {
    const struct wanted *wanted = get->line;
    const struct link_view *view = get->view;
    uint32_t key_bytes = wanted->variant & BINARY_RETURNS_KEY ? get->key_bytes : 0;
    uint32_t flags = htobe32(view->client_flags);
    uint32_t value_bytes = get->wants_value ? view->value_bytes : 0;
    at = binary_put_head(
        at, (struct binary_head){.number = wanted->number,
                                 .extras_bytes = sizeof flags,
                                 .key_bytes = (uint16_t)key_bytes,
                                 .body_bytes = (uint32_t)sizeof flags + key_bytes + value_bytes,
                                 .opaque = wanted->opaque,
                                 .cas = view->cas});
    at = reply_put_bytes(at, (const char *)&flags, sizeof flags);
    return UNLIKELY(key_bytes) ? reply_put_bytes(at, get->key, key_bytes) : at;
}

// put_head() as a function of its own, for reads that have to look again.
static char *put_head_again(struct execute_get *get, char *at) {
    return put_head(get, at);
}

// Answers one key that is there. Returns what execute_get() does.
static int get_one(struct session *session, const struct wanted *wanted, struct reply *reply) {
    struct link_view view;
    struct execute_get get = {.session = session,
                              .key = wanted->key,
                              .key_bytes = wanted->key_bytes,
                              .hash = wanted->hash,
                              .view = &view,
                              .line = wanted,
                              .put_head = put_head_again,
                              .wants_value = true,
                              .is_counted = true,
                              .is_read = true};
    int found = execute_get(&get, put_head, reply);
    // What ends a value in the protocols of lines.
    reply->at -= LIKELY(found == STORE_HIT) ? 2 : 0;
    return found;
}

// The expiry changes with the look; counted as a touch only.
static int touch_one(struct session *session, const struct wanted *wanted, struct reply *reply) {
    struct link_view view;
    bool wants_value = wanted->variant & BINARY_VALUE;
    struct execute_get get = {.session = session,
                              .key = wanted->key,
                              .key_bytes = wanted->key_bytes,
                              .hash = wanted->hash,
                              .view = &view,
                              .line = wanted,
                              .put_head = put_head_again,
                              .wants_value = wants_value,
                              .is_counted = true,
                              .is_read = true,
                              .is_touch = true,
                              .is_changed = true,
                              .has_expiry = true,
                              .expiry_seconds =
                                  session_expiry(session, binary_u32(wanted->key - 4))};
    int found = execute_get(&get, put_head, reply);
    reply->at -= wants_value && found == STORE_HIT ? 2 : 0;
    return found;
}

// A key that is missing is given back where a hit would give it back; else there are words.
static void put_missing(const struct wanted *wanted, struct reply *reply) {
    if (!(wanted->variant & BINARY_RETURNS_KEY)) {
        binary_put_error(wanted->number, wanted->opaque, BINARY_NOT_FOUND, reply);
        return;
    }
    char *at = binary_put_head(reply->at, (struct binary_head){.number = wanted->number,
                                                               .status = BINARY_NOT_FOUND,
                                                               .key_bytes = wanted->key_bytes,
                                                               .body_bytes = wanted->key_bytes,
                                                               .opaque = wanted->opaque});
    reply->at = reply_put_bytes(at, wanted->key, wanted->key_bytes);
}

// What came of a request: its counts, and the answer unless it was a hit.
static inline void finish(struct session *session, const struct wanted *wanted, int found,
                          struct reply *reply) {
    struct store *store = session_store(session);
    bool touches = wanted->variant & BINARY_TOUCHES;
    bool is_hit = found == STORE_HIT;
    bool is_miss =
        found == STORE_MISS || found == STORE_MISS_EXPIRED || found == STORE_MISS_FLUSHED;
    session_count_request(session);
    count(store->proc, LIKELY(!touches) ? COUNTER_cmd_get : COUNTER_cmd_touch, 1);
    if (is_hit || is_miss) {
        prefix_count(store, wanted->key, wanted->key_bytes, PREFIX_GET, is_hit);
    }
    if (LIKELY(is_hit)) {
        return;
    }
    if (LIKELY(is_miss)) {
        count(store->proc, LIKELY(!touches) ? COUNTER_get_misses : COUNTER_touch_misses, 1);
        if (!wanted->is_quiet) {
            put_missing(wanted, reply);
        }
        return;
    }
    binary_put_error(wanted->number, wanted->opaque,
                     found == EXECUTE_BUSY ? BINARY_BUSY : BINARY_NO_MEMORY, reply);
}

// The session is parked at the first key: what the others will want is read meanwhile.
static __attribute__((noinline)) void look_ahead(struct session *session,
                                                 const struct wanted *batch,
                                                 uint32_t count_wanted) {
    for (uint32_t i = 1; i < count_wanted; i++) {
        session_look_ahead(session, batch[i].key, batch[i].key_bytes, batch[i].hash);
    }
}

// Answers requests in order; stops early when the reply is full or the session is parked. Returns
// how many.
static uint32_t answer(struct session *session, const struct wanted *batch, uint32_t count_wanted,
                       struct reply *reply) {
    for (uint32_t i = 0; i < count_wanted; i++) {
        link_prefetch_items(session_store(session), batch[i].hash);
    }
    for (uint32_t i = 0; i < count_wanted; i++) {
        if (UNLIKELY(reply_is_full(reply))) {
            return i;
        }
        int found = LIKELY(!(batch[i].variant & BINARY_TOUCHES))
                        ? get_one(session, &batch[i], reply)
                        : touch_one(session, &batch[i], reply);
        if (UNLIKELY(found == EXECUTE_WAITS)) {
            if (!session->is_busy) {
                look_ahead(session, batch + i, count_wanted - i);
            }
            return i;
        }
        finish(session, &batch[i], found, reply);
    }
    return count_wanted;
}

// The read that stands here, if it is whole, as it has to be, and permitted.
static inline bool scan(const struct session *session, const char *at, const char *end,
                        struct wanted *wanted) {
    if (end - at < BINARY_HEADER_BYTES || (unsigned char)at[0] != BINARY_REQUEST) {
        return false;
    }
    const struct binary_opcode *opcode = &binary_opcodes[(unsigned char)at[1]];
    uint32_t key_bytes = binary_u16(at + 2);
    uint32_t extras_bytes = (unsigned char)at[4];
    uint32_t body_bytes = binary_u32(at + 8);
    if (opcode->form != BINARY_FORM_READS || key_bytes - 1 >= KEY_BYTES_MAX
        || !binary_permits(session, opcode) || extras_bytes != opcode->extras_bytes
        || body_bytes != key_bytes + extras_bytes
        || end - at < BINARY_HEADER_BYTES + (ptrdiff_t)body_bytes) {
        return false;
    }
    wanted->key = at + BINARY_HEADER_BYTES + extras_bytes;
    wanted->end = wanted->key + key_bytes;
    wanted->key_bytes = (uint8_t)key_bytes;
    wanted->number = (uint8_t)at[1];
    wanted->variant = opcode->variant;
    wanted->is_quiet = opcode->is_quiet;
    memcpy(&wanted->opaque, at + 12, sizeof wanted->opaque);
    wanted->hash = link_hash(session_store(session), wanted->key, key_bytes);
    link_prefetch_bucket(session_store(session), wanted->hash);
    return true;
}

static uint32_t collect(const struct session *session, const char *at, const char *end,
                        struct wanted *batch) {
    uint32_t most = UNLIKELY(session->is_observed) ? 1 : BATCH;
    uint32_t filled = 0;
    while (filled < most && !session_has_had_its_turn(session, filled)
           && scan(session, at, end, &batch[filled])) {
        at = batch[filled++].end;
    }
    return filled;
}

size_t binary_get(struct session *session, const char *in, size_t bytes, struct reply *reply) {
    const char *at = in;
    struct wanted batch[BATCH];
    uint32_t filled;
    uint32_t answered;
    do {
        filled = collect(session, at, in + bytes, batch);
        answered = answer(session, batch, filled, reply);
        at = answered ? batch[answered - 1].end : at;
    } while (filled == BATCH && answered == filled);
    return (size_t)(at - in);
}
