// delete, incr, decr, flush, noop, version, quit, stat: requests without a value.
#include "proto/binary/binary_internal.h"

// An incr or decr with this expiry makes no counter.
#define MAKES_NONE UINT32_MAX

static int status_of(int outcome) {
    switch (outcome) {
    case STORE_DELETED:
    case STORE_STORED: return BINARY_OK;
    case STORE_EXISTS: return BINARY_EXISTS;
    case STORE_NON_NUMERIC: return BINARY_NON_NUMERIC;
    case STORE_NOT_STORED: return BINARY_NOT_STORED;
    case STORE_NO_MEMORY: return BINARY_NO_MEMORY;
    case EXECUTE_BUSY: return BINARY_BUSY;
    default: return BINARY_NOT_FOUND;
    }
}

void binary_delete(struct session *session, const struct binary_request *request,
                   struct reply *reply) {
    struct store_delete wanted = {.key = request->key,
                                  .key_bytes = request->key_bytes,
                                  .has_cas_compare = request->cas != 0,
                                  .cas_compare = request->cas};
    int outcome = execute_delete(session, &wanted);
    if (UNLIKELY(outcome == EXECUTE_WAITS)) {
        return;
    }
    int status = status_of(outcome);
    if (status == BINARY_OK) {
        binary_put_done(request->number, request->opaque, 0, reply);
    } else {
        binary_refuse(request, status, reply);
    }
}

void binary_arith(struct session *session, const struct binary_request *request,
                  struct reply *reply) {
    uint32_t expiry = binary_u32(request->extras + 16);
    struct store_arith wanted = {.key = request->key,
                                 .key_bytes = request->key_bytes,
                                 .key_is_binary =
                                     binary_key_is_binary(request->key, request->key_bytes),
                                 .decrement = request->opcode->variant != 0,
                                 .has_cas_compare = request->cas != 0,
                                 .cas_compare = request->cas,
                                 .delta = binary_u64(request->extras),
                                 .initial = binary_u64(request->extras + 8),
                                 .vivify = expiry != MAKES_NONE};
    wanted.vivify_expiry_seconds = wanted.vivify ? session_expiry(session, expiry) : 0;
    struct store_number number;
    int outcome = execute_arith(session, &wanted, &number);
    if (UNLIKELY(outcome == EXECUTE_WAITS)) {
        return;
    }
    int status = status_of(outcome);
    if (status != BINARY_OK) {
        binary_refuse(request, status, reply);
    } else if (!request->opcode->is_quiet) {
        char body[8];
        binary_put_u64(body, number.value);
        binary_put_body(request->number, request->opaque, number.cas, body, sizeof body, reply);
    }
}

void binary_flush(struct session *session, const struct binary_request *request,
                  struct reply *reply) {
    uint32_t at = request->extras_bytes ? binary_u32(request->extras) : 0;
    if (!execute_may_flush(session)) {
        binary_refuse(request, BINARY_AUTH_ERROR, reply);
        return;
    }
    store_flush_all(session_store(session), at ? session_expiry(session, at) : 0);
    binary_put_done(request->number, request->opaque, 0, reply);
}

void binary_no_op(struct session *session, const struct binary_request *request,
                  struct reply *reply) {
    binary_put_done(request->number, request->opaque, 0, reply);
}

void binary_version(struct session *session, const struct binary_request *request,
                    struct reply *reply) {
    const char *version = session->proto->version;
    binary_put_body(request->number, request->opaque, 0, version, (uint32_t)strlen(version), reply);
}

void binary_quit(struct session *session, const struct binary_request *request,
                 struct reply *reply) {
    binary_put_done(request->number, request->opaque, 0, reply);
    session->mode = MODE_CLOSE;
    session->has_quit = true;
}

void binary_stat(struct session *session, const struct binary_request *request,
                 struct reply *reply) {
    // Some of them take more than others.
    struct token tokens[TOKENS_MAX + 1] = {{"stats", 5}};
    uint32_t words = 1 + tokens_split(request->key, request->key + request->key_bytes, tokens + 1);
    if (commands_extra_rights(tokens, words) & ~(uint32_t)session->rights) {
        binary_put_refusal(session, request, reply);
        return;
    }
    session->admin_line = request->key;
    session->admin_bytes = request->key_bytes;
    session->admin_opaque = request->opaque;
    session->mode = MODE_PARKED;
}
