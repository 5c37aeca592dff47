// set, add, replace, append, prepend: requests with a value, whole or in pieces.
#include <stdlib.h>

#include "proto/binary/binary_internal.h"

// What an answer to it needs of a request whose value comes in pieces.
struct binary_value {
    struct session_value value;
    uint32_t opaque;
    uint8_t number;
};

static int status_of(const struct binary_opcode *opcode, int outcome) {
    switch (outcome) {
    case STORE_STORED: return BINARY_OK;
    case STORE_NOT_STORED:
        return opcode->variant == STORE_ADD       ? BINARY_EXISTS
               : opcode->variant == STORE_REPLACE ? BINARY_NOT_FOUND
                                                  : BINARY_NOT_STORED;
    case STORE_EXISTS: return BINARY_EXISTS;
    case STORE_NOT_FOUND: return BINARY_NOT_FOUND;
    case STORE_TOO_LARGE: return BINARY_TOO_LARGE;
    case EXECUTE_BUSY: return BINARY_BUSY;
    default: return BINARY_NO_MEMORY;
    }
}

static void put_outcome(uint8_t number, uint32_t opaque, int outcome,
                        const struct store_result *result, struct reply *reply) {
    int status = status_of(&binary_opcodes[number], outcome);
    if (LIKELY(status == BINARY_OK)) {
        binary_put_done(number, opaque, result->cas, reply);
    } else {
        binary_put_error(number, opaque, status, reply);
    }
}

static void answer(const struct session_value *value, int outcome,
                   const struct store_result *result, struct reply *reply) {
    const struct binary_value *binary = (const struct binary_value *)value;
    put_outcome(binary->number, binary->opaque, outcome, result, reply);
}

// With a CAS number all three modes that take one compare it, and a missing key is not found.
static struct store_write write_from(const struct session *session,
                                     const struct binary_request *request) {
    struct store_write write = {.key = request->key,
                                .key_bytes = request->key_bytes,
                                .value_bytes = request->value_bytes,
                                .mode = request->opcode->variant,
                                .cas_compare = request->cas};
    // Without CAS numbers (-C) there is nothing to compare.
    write.has_cas_compare = request->cas != 0 && link_has_cas(session_store(session));
    write.key_is_binary = binary_key_is_binary(request->key, request->key_bytes);
    if (request->extras_bytes) {
        write.client_flags = binary_u32(request->extras);
        write.expiry_seconds = session_expiry(session, binary_u32(request->extras + 4));
        write.mode = write.has_cas_compare ? STORE_SET : write.mode;
    }
    return write;
}

// A `set` that is refused takes the old value with it, as in memcached, whether it compared or not.
static bool forgets_refused(const struct binary_request *request) {
    return request->opcode->variant == STORE_SET && request->cas != 0;
}

// The value comes in pieces.
static enum command_took begin(struct session *session, const struct binary_request *request,
                               const struct store_write *write, struct reply *reply) {
    struct binary_value *binary = malloc(sizeof *binary);
    if (!binary) {
        space_refused(session_store(session), COUNTER_oom_process_memory);
        binary_refuse(request, BINARY_NO_MEMORY, reply);
        session_swallow(session, request->value_bytes);
    } else {
        session_value_init(&binary->value, write);
        binary->value.line_end_bytes = 0;
        binary->value.forgets_refused = forgets_refused(request);
        binary->value.answer = answer;
        binary->number = request->number;
        binary->opaque = request->opaque;
        session_value_begin(session, &binary->value, reply);
    }
    if (UNLIKELY(session->is_waiting)) {
        return COMMAND_TOOK_NONE;
    }
    session_count_request(session);
    return COMMAND_TOOK_ALL;
}

#define PREFETCH_WINDOW 16

// Brings the memory of pipelined requests that store nearer, a window of them at a time.
static void prefetch(struct session *session, const char *in, const char *end) {
    const struct store *store = session_store(session);
    uint64_t hashes[PREFETCH_WINDOW];
    uint32_t found = 0;
    while (found < PREFETCH_WINDOW && end - in >= BINARY_HEADER_BYTES
           && (unsigned char)in[0] == BINARY_REQUEST
           && binary_opcodes[(unsigned char)in[1]].form == BINARY_FORM_STORES) {
        uint32_t key_bytes = binary_u16(in + 2);
        uint32_t extras_bytes = (unsigned char)in[4];
        size_t body_bytes = binary_u32(in + 8);
        const char *key = in + BINARY_HEADER_BYTES + extras_bytes;
        if (key_bytes > KEY_BYTES_MAX || (size_t)(end - in) < BINARY_HEADER_BYTES + body_bytes
            || extras_bytes + key_bytes > body_bytes) {
            break;
        }
        hashes[found] = link_hash(store, key, key_bytes);
        link_prefetch_bucket(store, hashes[found++]);
        in += BINARY_HEADER_BYTES + body_bytes;
    }
    session->fetched_until = in;
    // With one request there is nothing to overlap with; storing it does its own prefetching.
    for (uint32_t i = 0; found > 1 && i < found; i++) {
        link_prefetch_items(store, hashes[i]);
    }
}

enum command_took binary_store(struct session *session, const struct binary_request *request,
                               const char *in, const char *end, struct reply *reply) {
    if (in >= session->fetched_until) {
        prefetch(session, in, end);
    }
    struct store_write write = write_from(session, request);
    enum session_value_way way =
        session_value_way(session, &write, 0, in, request->value, (size_t)(end - request->value));
    if (UNLIKELY(way != VALUE_IS_WHOLE)) {
        return way == VALUE_MAY_WAIT ? COMMAND_TOOK_NONE : begin(session, request, &write, reply);
    }
    struct store_result result;
    int outcome = execute_put(session, &write, request->value, forgets_refused(request), &result);
    if (UNLIKELY(outcome == EXECUTE_WAITS)) {
        return COMMAND_TOOK_NONE;
    }
    session_count_request(session);
    put_outcome(request->number, request->opaque, outcome, &result, reply);
    return COMMAND_TOOK_ALL;
}
