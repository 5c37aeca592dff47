// The binary protocol: a request as its 24 bytes of header say it, and what the files of this part
// share.
#pragma once

#include <endian.h>

#include "proto/commands_internal.h"
#include "proto/execute_internal.h"

#define BINARY_REQUEST 0x80
#define BINARY_RESPONSE 0x81
#define BINARY_HEADER_BYTES 24
#define BINARY_OPCODES 256
// flush has 4 bytes of extras, a time, or none.
#define FLUSH_EXTRAS 0xff
// What has no row in commands.def.
#define COMMAND_none COMMANDS

// As the protocol numbers them.
enum binary_status {
    BINARY_OK = 0,
    BINARY_NOT_FOUND = 1,
    BINARY_EXISTS = 2,
    BINARY_TOO_LARGE = 3,
    BINARY_INVALID = 4,
    BINARY_NOT_STORED = 5,
    BINARY_NON_NUMERIC = 6,
    BINARY_AUTH_ERROR = 0x20,
    BINARY_AUTH_CONTINUE = 0x21,
    BINARY_UNKNOWN = 0x81,
    BINARY_NO_MEMORY = 0x82,
    BINARY_BUSY = 0x85
};

// What a read does besides looking, as the variant of its opcode.
enum binary_read { BINARY_VALUE = 1, BINARY_RETURNS_KEY = 2, BINARY_TOUCHES = 4 };

struct binary_request;

// Answers a request that is all in the input. When the session is parked, nothing was answered.
typedef void (*binary_action)(struct session *session, const struct binary_request *request,
                              struct reply *reply);

enum binary_form {
    BINARY_FORM_NONE,      // There is no such opcode.
    BINARY_FORM_WHOLE,     // A binary_action.
    BINARY_FORM_READS,     // binary_get()
    BINARY_FORM_STORES,    // binary_store()
};
enum binary_key { BINARY_NO_KEY, BINARY_KEY, BINARY_ANY_KEY };

// A row of opcodes.def.
struct binary_opcode {
    const char *name;
    binary_action action;
    uint8_t form;
    uint8_t command;    // enum command_number, or COMMAND_none: it takes no right.
    uint8_t extras_bytes;
    uint8_t key;    // enum binary_key
    bool has_value;
    bool is_quiet;
    bool is_for_anybody;
    uint8_t variant;
};
extern const struct binary_opcode binary_opcodes[BINARY_OPCODES];

// A request whose header is in the input; key and value are where they stand there, if they have
// come.
struct binary_request {
    const struct binary_opcode *opcode;
    const char *extras;
    const char *key;
    const char *value;
    uint64_t cas;
    uint32_t body_bytes;
    uint32_t value_bytes;
    uint32_t opaque;    // As it came.
    uint16_t key_bytes;
    uint8_t extras_bytes;
    uint8_t number;    // Of the opcode.
};

// Fields of the protocol are big-endian, at any address.
static inline uint16_t binary_u16(const char *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return be16toh(value);
}
static inline uint32_t binary_u32(const char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}
static inline uint64_t binary_u64(const char *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}
static inline char *binary_put_u64(char *at, uint64_t value) {
    value = htobe64(value);
    return reply_put_bytes(at, (const char *)&value, sizeof value);
}

// What the header of a response says.
struct binary_head {
    uint64_t cas;
    uint32_t body_bytes;    // Of extras, key and value together.
    uint32_t opaque;
    uint16_t key_bytes;
    uint16_t status;
    uint8_t extras_bytes;
    uint8_t number;
};
static inline __attribute__((always_inline)) char *binary_put_head(char *at,
                                                                   struct binary_head head) {
    at = binary_put_u64(at, (uint64_t)BINARY_RESPONSE << 56 | (uint64_t)head.number << 48
                                | (uint64_t)head.key_bytes << 32 | (uint64_t)head.extras_bytes << 24
                                | head.status);
    uint32_t body = htobe32(head.body_bytes);
    at = reply_put_bytes(at, (const char *)&body, sizeof body);
    at = reply_put_bytes(at, (const char *)&head.opaque, sizeof head.opaque);
    return binary_put_u64(at, head.cas);
}

// Answers with a status other than BINARY_OK and its text.
void binary_put_error(uint8_t number, uint32_t opaque, int status, struct reply *reply);
// Answers that all went well, with a body.
void binary_put_body(uint8_t number, uint32_t opaque, uint64_t cas, const char *body,
                     uint32_t body_bytes, struct reply *reply);
// The same without one, unless the opcode is quiet.
void binary_put_done(uint8_t number, uint32_t opaque, uint64_t cas, struct reply *reply);
static inline void binary_refuse(const struct binary_request *request, int status,
                                 struct reply *reply) {
    binary_put_error(request->number, request->opaque, status, reply);
}

// Whether the session may use an opcode.
static inline bool binary_permits(const struct session *session,
                                  const struct binary_opcode *opcode) {
    return opcode->command == COMMAND_none
           || !commands_lacking(session, &session->proto->command_rows[opcode->command]);
}
// Answers and counts a request that the session may not make.
void binary_put_refusal(const struct session *session, const struct binary_request *request,
                        struct reply *reply);

// Whether text clients cannot write the key as it is: their dumps show it encoded.
static inline bool binary_key_is_binary(const char *key, uint32_t key_bytes) {
    uint32_t i = 0;
    for (uint64_t eight; key_bytes - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, key + i, sizeof eight);
        if (UNLIKELY(token_bytes_below(eight, ' ' + 1))) {
            break;
        }
    }
    for (; i < key_bytes; i++) {
        if (key[i] == ' ' || key[i] == '\n' || key[i] == '\r' || key[i] == '\0') {
            return true;
        }
    }
    return false;
}

// One step of a session in command mode, as step() in session.c has it.
size_t binary_step(struct session *session, const char *in, size_t bytes, struct reply *reply,
                   int *stop_out);
// Tells watchers of errors, who are there, if this response is one.
void binary_watch_answer(struct session *session, struct token key, const char *answer,
                         size_t answer_bytes);
// As binary_step(), shown in the log or to watchers of errors, or only in the log.
size_t binary_observed_step(struct session *session, const char *in, size_t bytes,
                            struct reply *reply, int *stop_out);
size_t binary_logged_step(struct session *session, const char *in, size_t bytes,
                          struct reply *reply, int *stop_out);
// What session_peek_key() says of input that begins like a request.
uint64_t binary_peek_key(const struct store *store, const char *in, size_t bytes);

// Answers the reads that stand whole at the start of the input. Returns how many bytes are done
// with; 0 when the first one is not whole or not well formed, or the session is parked.
size_t binary_get(struct session *session, const char *in, size_t bytes, struct reply *reply);
// Answers a request with a value, or turns to receiving it.
enum command_took binary_store(struct session *session, const struct binary_request *request,
                               const char *in, const char *end, struct reply *reply);
void binary_delete(struct session *session, const struct binary_request *request,
                   struct reply *reply);
void binary_arith(struct session *session, const struct binary_request *request,
                  struct reply *reply);
void binary_flush(struct session *session, const struct binary_request *request,
                  struct reply *reply);
void binary_no_op(struct session *session, const struct binary_request *request,
                  struct reply *reply);
void binary_version(struct session *session, const struct binary_request *request,
                    struct reply *reply);
void binary_quit(struct session *session, const struct binary_request *request,
                 struct reply *reply);
void binary_stat(struct session *session, const struct binary_request *request,
                 struct reply *reply);
void binary_sasl_list(struct session *session, const struct binary_request *request,
                      struct reply *reply);
void binary_sasl_auth(struct session *session, const struct binary_request *request,
                      struct reply *reply);
