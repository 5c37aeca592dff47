// The flags of meta commands, their numbers, base64 keys.
#include "base/base64.h"
#include "proto/meta/meta_internal.h"

#define OPAQUE_BYTES_MAX 32
#define BAD_TOKEN "CLIENT_ERROR bad token in command line format"

static const char *parse_mode(const char *text, uint32_t bytes, struct meta_request *request) {
    if (bytes != 1) {
        return "CLIENT_ERROR incorrect length for M token";
    }
    request->mode = text[0];
    return NULL;
}

// One flag: its letter, then its argument.
static const char *parse_flag(const struct token *token, struct meta_request *request) {
    const char *text = token->text + 1;
    uint32_t bytes = token->bytes - 1;
    switch (token->text[0]) {
    case 'b':
    case 'c':
    case 'f':
    case 'h':
    case 'k':
    case 'l':
    case 'q':
    case 's':
    case 't':
    case 'u':
    case 'v':
    case 'x':
    case 'I':
    case 'L':
    case 'P': return NULL;
    case 'O': return token->bytes > OPAQUE_BYTES_MAX ? "CLIENT_ERROR opaque token too long" : NULL;
    case 'N': return token_i32(text, bytes, &request->vivify_expiry) ? NULL : BAD_TOKEN;
    case 'T': return token_i32(text, bytes, &request->expiry) ? NULL : BAD_TOKEN;
    case 'R': return token_i32(text, bytes, &request->recache) ? NULL : BAD_TOKEN;
    case 'F':
        return token_u32(text, bytes, &request->client_flags)
                   ? NULL
                   : "CLIENT_ERROR bad command line format";
    case 'C': return token_u64(text, bytes, &request->cas_compare) ? NULL : BAD_TOKEN;
    case 'E': return token_u64(text, bytes, &request->cas_new) ? NULL : BAD_TOKEN;
    case 'D':
        return token_u64(text, bytes, &request->delta) ? NULL
                                                       : "CLIENT_ERROR invalid numeric delta value";
    case 'J':
        return token_u64(text, bytes, &request->initial)
                   ? NULL
                   : "CLIENT_ERROR invalid numeric initial value";
    case 'M': return parse_mode(text, bytes, request);
    default: return "CLIENT_ERROR invalid flag";
    }
}

static const char *decode_key(struct meta_request *request) {
    if (!meta_has(request, 'b')) {
        return NULL;
    }
    uint32_t bytes = base64_decode(request->binary_key, request->key_text, request->key_text_bytes);
    if (bytes == 0) {
        return "CLIENT_ERROR error decoding key";
    }
    request->key = request->binary_key;
    request->key_bytes = bytes;
    return NULL;
}

const char *meta_parse(const struct token *tokens, uint32_t words, uint32_t flags_from,
                       char command, struct meta_request *request) {
    bool has_one_error = command == 'd' || command == 'a';
    request->flags_seen = 0;
    request->return_count = 0;
    request->mode = 0;
    request->delta = 1;
    request->initial = 0;
    request->key = request->key_text = tokens[1].text;
    request->key_bytes = request->key_text_bytes = tokens[1].bytes;
    if (tokens[1].bytes > KEY_BYTES_MAX) {
        return "CLIENT_ERROR bad command line format";
    }
    if (words - flags_from > (command == 's' ? META_SET_FLAGS_MAX : META_FLAGS_MAX)) {
        return command == 'g' ? "CLIENT_ERROR options flags are too long"
                              : "CLIENT_ERROR options flags too long";
    }
    for (uint32_t i = flags_from; i < words; i++) {
        char letter = tokens[i].text[0];
        bool is_letter = (letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z');
        if ((unsigned char)letter >= 127 || (is_letter && meta_has(request, letter))) {
            return has_one_error ? "CLIENT_ERROR invalid or duplicate flag"
                                 : "CLIENT_ERROR duplicate flag";
        }
        const char *error =
            is_letter ? parse_flag(&tokens[i], request) : "CLIENT_ERROR invalid flag";
        if (error) {
            return has_one_error && letter != 'O' ? "CLIENT_ERROR invalid or duplicate flag"
                                                  : error;
        }
        request->flags_seen |= META_BIT(letter);
        request->returns[request->return_count++] = tokens[i];
    }
    const char *error = decode_key(request);
    return error && has_one_error ? "CLIENT_ERROR invalid or duplicate flag" : error;
}

uint32_t meta_expiry_of_new(const struct session *session, const struct meta_request *request) {
    uint32_t expiry = 0;
    for (uint32_t i = 0; i < request->return_count; i++) {
        char letter = request->returns[i].text[0];
        if (letter == 'T') {
            expiry = session_expiry(session, request->expiry);
        } else if (letter == 'N') {
            expiry = session_expiry(session, request->vivify_expiry);
        }
    }
    return expiry;
}

char *meta_put_key(char *at, const struct meta_request *request) {
    at = PUT_LITERAL(at, " k");
    at = reply_put_bytes(at, request->key_text, request->key_text_bytes);
    return meta_has(request, 'b') ? PUT_LITERAL(at, " b") : at;
}

char *meta_put_item_key(char *at, const struct meta_request *request, bool is_binary) {
    at = PUT_LITERAL(at, " k");
    if (!is_binary) {
        return reply_put_bytes(at, request->key, request->key_bytes);
    }
    at += base64_encode(at, request->key, request->key_bytes);
    return PUT_LITERAL(at, " b");
}

char *meta_put_ttl(char *at, const struct session *session, uint32_t expiry_seconds) {
    int64_t now = session_store(session)->proc->now_seconds;
    at = PUT_LITERAL(at, " t");
    return expiry_seconds ? reply_put_i64(at, (int64_t)expiry_seconds - now)
                          : PUT_LITERAL(at, "-1");
}

char *meta_put_flag(char *at, const struct token *flag) {
    *at++ = ' ';
    return reply_put_bytes(at, flag->text, flag->bytes);
}
