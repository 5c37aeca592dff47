// Responses of the binary protocol that have no value, and the words of its errors.
#include "proto/binary/binary_internal.h"

static const char *words_of(int status) {
    switch (status) {
    case BINARY_NOT_FOUND: return "Not found";
    case BINARY_EXISTS: return "Data exists for key.";
    case BINARY_TOO_LARGE: return "Too large.";
    case BINARY_INVALID: return "Invalid arguments";
    case BINARY_NOT_STORED: return "Not stored.";
    case BINARY_NON_NUMERIC: return "Non-numeric server-side value for incr or decr";
    case BINARY_AUTH_ERROR: return "Auth failure.";
    case BINARY_UNKNOWN: return "Unknown command";
    case BINARY_BUSY: return "Busy";
    default: return "Out of memory";
    }
}

void binary_put_error(uint8_t number, uint32_t opaque, int status, struct reply *reply) {
    const char *words = words_of(status);
    uint32_t bytes = (uint32_t)strlen(words);
    char *at = binary_put_head(reply->at, (struct binary_head){.number = number,
                                                               .status = (uint16_t)status,
                                                               .body_bytes = bytes,
                                                               .opaque = opaque});
    reply->at = reply_put_bytes(at, words, bytes);
}

void binary_put_refusal(const struct session *session, const struct binary_request *request,
                        struct reply *reply) {
    bool is_disabled = session_refuse(session, request->opcode->command) == SESSION_DISABLED;
    binary_refuse(request, is_disabled ? BINARY_UNKNOWN : BINARY_AUTH_ERROR, reply);
}

void binary_put_body(uint8_t number, uint32_t opaque, uint64_t cas, const char *body,
                     uint32_t body_bytes, struct reply *reply) {
    char *at = binary_put_head(
        reply->at, (struct binary_head){
                       .number = number, .body_bytes = body_bytes, .opaque = opaque, .cas = cas});
    reply->at = reply_put_bytes(at, body, body_bytes);
}

void binary_put_done(uint8_t number, uint32_t opaque, uint64_t cas, struct reply *reply) {
    if (!binary_opcodes[number].is_quiet) {
        reply->at = binary_put_head(
            reply->at, (struct binary_head){.number = number, .opaque = opaque, .cas = cas});
    }
}
