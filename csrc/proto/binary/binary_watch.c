// What watchers of errors are told of binary requests: each response that says that something went
// wrong.
#include "proto/binary/binary_internal.h"

static bool is_error(uint16_t status) {
    return status != 0 && status != BINARY_NOT_FOUND && status != BINARY_EXISTS
           && status != BINARY_NOT_STORED && status != BINARY_AUTH_CONTINUE;
}

void binary_watch_answer(struct session *session, struct token key, const char *answer,
                         size_t answer_bytes) {
    if (answer_bytes < BINARY_HEADER_BYTES || !is_error(binary_u16(answer + 6))) {
        return;
    }
    const char *name = binary_opcodes[(unsigned char)answer[1]].name;
    name = name ? name : "unknown";
    struct token command = {name, (uint32_t)strlen(name)};
    uint32_t reason_bytes = binary_u32(answer + 8);
    size_t room = answer_bytes - BINARY_HEADER_BYTES;
    struct token reason = {answer + BINARY_HEADER_BYTES,
                           reason_bytes < room ? reason_bytes : (uint32_t)room};
    session_watch_error(session, command, key, reason);
}

// Tells of the response at `answer` to the request at `in`.
static void watch_response(struct session *session, const char *in, size_t bytes,
                           const char *answer, size_t answer_bytes) {
    if (bytes < BINARY_HEADER_BYTES) {
        return;
    }
    size_t key_at = BINARY_HEADER_BYTES + (size_t)(unsigned char)in[4];
    uint32_t key_bytes = binary_u16(in + 2);
    bool has_key = key_bytes <= KEY_BYTES_MAX && key_at + key_bytes <= bytes;
    struct token key = {in + (has_key ? key_at : 0), has_key ? key_bytes : 0};
    binary_watch_answer(session, key, answer, answer_bytes);
}

size_t binary_observed_step(struct session *session, const char *in, size_t bytes,
                            struct reply *reply, int *stop_out) {
    const char *answer = reply->at;
    size_t consumed_bytes = session->is_verbose
                                ? binary_logged_step(session, in, bytes, reply, stop_out)
                                : binary_step(session, in, bytes, reply, stop_out);
    if (watch_wants(&session_store(session)->watch, WATCH_ERRORS) && consumed_bytes > 0) {
        watch_response(session, in, bytes, answer, (size_t)(reply->at - answer));
    }
    return consumed_bytes;
}
