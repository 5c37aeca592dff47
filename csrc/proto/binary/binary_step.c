// Requests of the binary protocol in the input: their headers, what is wrong with them, and who
// answers them.
#include "proto/binary/binary_internal.h"

// What a login may say; no user and password of a file are as long together.
#define LOGIN_BYTES_MAX 1024

static struct binary_request request_at(const char *in) {
    struct binary_request request = {.opcode = &binary_opcodes[(unsigned char)in[1]],
                                     .extras = in + BINARY_HEADER_BYTES,
                                     .cas = binary_u64(in + 16),
                                     .body_bytes = binary_u32(in + 8),
                                     .key_bytes = binary_u16(in + 2),
                                     .extras_bytes = (uint8_t)in[4],
                                     .number = (uint8_t)in[1]};
    memcpy(&request.opaque, in + 12, sizeof request.opaque);
    request.key = request.extras + request.extras_bytes;
    request.value = request.key + request.key_bytes;
    request.value_bytes = request.body_bytes - request.key_bytes - request.extras_bytes;
    return request;
}

static bool is_well_formed(const struct binary_request *request) {
    const struct binary_opcode *opcode = request->opcode;
    bool extras_fit = opcode->extras_bytes == FLUSH_EXTRAS
                          ? request->extras_bytes == 0 || request->extras_bytes == 4
                          : request->extras_bytes == opcode->extras_bytes;
    bool key_fits =
        opcode->key == BINARY_ANY_KEY || (opcode->key == BINARY_KEY) == (request->key_bytes != 0);
    return extras_fit && key_fits && (opcode->has_value || request->value_bytes == 0);
}

static bool is_let_in(const struct session *session, const struct binary_opcode *opcode) {
    return LIKELY(!live_get(session_store(session)->arena, LIVE_sasl_enabled))
           || session->is_authenticated || opcode->is_for_anybody;
}

// Looks at the header, in memcached's order. Returns false when that is the end of the request: it
// was answered, and either its body will be thrown away or the connection is closed.
static bool is_acceptable(struct session *session, const struct binary_request *request,
                          struct reply *reply) {
    int status;
    if ((uint32_t)request->key_bytes + request->extras_bytes > request->body_bytes) {
        status = BINARY_UNKNOWN;
    } else if (!is_let_in(session, request->opcode)) {
        status = BINARY_AUTH_ERROR;
    } else if (request->key_bytes > KEY_BYTES_MAX) {
        status = BINARY_INVALID;
    } else if (request->opcode->form == BINARY_FORM_NONE) {
        binary_refuse(request, BINARY_UNKNOWN, reply);
        session_swallow(session, request->body_bytes);
        return false;
    } else if (!is_well_formed(request)) {
        status = BINARY_INVALID;
    } else if (UNLIKELY(!binary_permits(session, request->opcode))) {
        binary_put_refusal(session, request, reply);
        session_swallow(session, request->body_bytes);
        return false;
    } else {
        return true;
    }
    binary_refuse(request, status, reply);
    session->mode = MODE_CLOSE;
    return false;
}

// A login that is longer than any can be is wrong, and is not waited for.
static bool is_too_long(const struct binary_request *request) {
    return request->opcode->form == BINARY_FORM_WHOLE && request->value_bytes > LOGIN_BYTES_MAX;
}

// Answers a request that is acceptable. Returns the bytes that are done with; 0 when it needs more
// input or is parked.
static size_t answer(struct session *session, const struct binary_request *request, const char *in,
                     size_t bytes, struct reply *reply) {
    size_t head_bytes = (size_t)(request->value - in);
    if (bytes < head_bytes) {
        return 0;
    }
    if (request->opcode->form == BINARY_FORM_STORES) {
        if (binary_store(session, request, in, in + bytes, reply) == COMMAND_TOOK_NONE) {
            session->awaits_value = !session->is_waiting;
            return 0;
        }
        bool is_on_its_way = session->mode == MODE_VALUE || session->mode == MODE_SWALLOW;
        return head_bytes + (is_on_its_way ? 0 : request->value_bytes);
    }
    if (UNLIKELY(is_too_long(request))) {
        struct binary_request cut = *request;
        cut.value = "";
        cut.value_bytes = 1;    // What no login is.
        session_count_request(session);
        // In this order: a failed login is answered later, and its rest is thrown away after that.
        session_swallow(session, request->value_bytes);
        request->opcode->action(session, &cut, reply);
        return head_bytes;
    }
    if (bytes - head_bytes < request->value_bytes) {
        session->awaits_value = true;
        return 0;
    }
    request->opcode->action(session, request, reply);
    if (UNLIKELY(session->is_waiting)) {
        return 0;
    }
    session_count_request(session);
    return head_bytes + request->value_bytes;
}

size_t binary_step(struct session *session, const char *in, size_t bytes, struct reply *reply,
                   int *stop_out) {
    if (UNLIKELY(bytes > 0 && (unsigned char)in[0] != BINARY_REQUEST)) {
        session->mode = MODE_CLOSE;    // Where the next request begins nobody can know.
        return bytes;
    }
    if (UNLIKELY(bytes < BINARY_HEADER_BYTES)) {
        *stop_out = SESSION_NEEDS_INPUT;
        return 0;
    }
    const struct binary_opcode *opcode = &binary_opcodes[(unsigned char)in[1]];
    if (LIKELY(opcode->form == BINARY_FORM_READS) && is_let_in(session, opcode)) {
        size_t consumed_bytes = binary_get(session, in, bytes, reply);
        if (LIKELY(consumed_bytes) || session->is_waiting) {
            return consumed_bytes;
        }
    }
    struct binary_request request = request_at(in);
    if (UNLIKELY(!is_acceptable(session, &request, reply))) {
        session_count_request(session);
        return BINARY_HEADER_BYTES;
    }
    size_t consumed_bytes =
        opcode->form == BINARY_FORM_READS ? 0 : answer(session, &request, in, bytes, reply);
    if (consumed_bytes == 0 && !session->is_waiting) {
        *stop_out = SESSION_NEEDS_INPUT;
    }
    return consumed_bytes;
}

uint64_t binary_peek_key(const struct store *store, const char *in, size_t bytes) {
    if (bytes < BINARY_HEADER_BYTES) {
        return 0;
    }
    uint32_t key_bytes = binary_u16(in + 2);
    size_t key_at = BINARY_HEADER_BYTES + (size_t)(unsigned char)in[4];
    int form = binary_opcodes[(unsigned char)in[1]].form;
    if ((form != BINARY_FORM_READS && form != BINARY_FORM_STORES) || key_bytes == 0
        || bytes < key_at + key_bytes) {
        return 0;
    }
    uint64_t hash = link_hash(store, in + key_at, key_bytes);
    link_prefetch_bucket(store, hash);
    return hash;
}
