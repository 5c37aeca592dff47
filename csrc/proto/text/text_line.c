// incr, decr, touch, delete, flush_all, version, quit: commands that are a line.
#include "proto/text/text_internal.h"

// noreply silences whatever the command said, errors included; only a wrong word count is always
// answered.
static bool is_quiet(const struct token *tokens, uint32_t words) {
    return token_is(&tokens[words - 1], "noreply");
}

static void put_arith(struct reply *reply, int outcome, uint64_t value) {
    switch (outcome) {
    case STORE_STORED:
        reply->at = reply_put_u64(reply->at, value);
        REPLY_LITERAL(reply, "\r\n");
        break;
    case STORE_NOT_FOUND: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    default: reply_failure(reply, outcome); break;
    }
}

static void arith(struct session *session, const struct token *tokens, int variant,
                  struct reply *reply) {
    struct store_arith request = {
        .key = tokens[1].text, .key_bytes = tokens[1].bytes, .decrement = variant == TEXT_DECR};
    if (tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return;
    }
    if (!token_u64(tokens[2].text, tokens[2].bytes, &request.delta)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR invalid numeric delta argument\r\n");
        return;
    }
    struct store_number number;
    int outcome = execute_arith(session, &request, &number);
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        put_arith(reply, outcome, number.value);
    }
}

void text_arith(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply) {
    char *start = reply->at;
    arith(session, tokens, variant, reply);
    reply->at = is_quiet(tokens, words) ? start : reply->at;
}

static void touch(struct session *session, const struct token *tokens, struct reply *reply) {
    int32_t expiry;
    if (tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return;
    }
    if (!token_i32(tokens[2].text, tokens[2].bytes, &expiry)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR invalid exptime argument\r\n");
        return;
    }
    int outcome =
        execute_touch(session, tokens[1].text, tokens[1].bytes, session_expiry(session, expiry));
    switch (outcome) {
    case EXECUTE_WAITS: break;
    case STORE_TOUCHED: REPLY_LITERAL(reply, "TOUCHED\r\n"); break;
    case STORE_NOT_FOUND: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    default: reply_failure(reply, outcome); break;
    }
}

void text_touch(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply) {
    char *start = reply->at;
    touch(session, tokens, reply);
    reply->at = is_quiet(tokens, words) ? start : reply->at;
}

// "0" was a time once; old clients still send it.
static bool is_delete(const struct token *tokens, uint32_t words) {
    bool has_zero = words > 2 && token_is(&tokens[2], "0");
    bool quiet = words > 2 && is_quiet(tokens, words);
    return words == 2 || (words == 3 && (has_zero || quiet)) || (words == 4 && has_zero && quiet);
}

static void delete_key(struct session *session, const struct token *key, struct reply *reply) {
    if (key->bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return;
    }
    struct store_delete request = {.key = key->text, .key_bytes = key->bytes};
    int outcome = execute_delete(session, &request);
    switch (outcome) {
    case EXECUTE_WAITS: break;
    case STORE_DELETED: REPLY_LITERAL(reply, "DELETED\r\n"); break;
    case EXECUTE_BUSY:
    case STORE_NO_MEMORY: reply_failure(reply, outcome); break;
    default: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    }
}

void text_delete(struct session *session, struct token *tokens, uint32_t words, int variant,
                 struct reply *reply) {
    char *start = reply->at;
    if (is_delete(tokens, words)) {
        delete_key(session, &tokens[1], reply);
    } else {
        REPLY_LITERAL(reply,
                      "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n");
    }
    reply->at = words > 2 && is_quiet(tokens, words) ? start : reply->at;
}

static void flush(struct session *session, const struct token *tokens, uint32_t words, bool quiet,
                  struct reply *reply) {
    int32_t at = 0;
    if (!execute_may_flush(session)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR flush_all not allowed\r\n");
        return;
    }
    if (words > (quiet ? 2u : 1u) && !token_i32(tokens[1].text, tokens[1].bytes, &at)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR invalid exptime argument\r\n");
        return;
    }
    store_flush_all(session_store(session), at > 0 ? session_expiry(session, at) : 0);
    REPLY_LITERAL(reply, "OK\r\n");
}

void text_flush_all(struct session *session, struct token *tokens, uint32_t words, int variant,
                    struct reply *reply) {
    char *start = reply->at;
    bool quiet = is_quiet(tokens, words);
    flush(session, tokens, words, quiet, reply);
    reply->at = quiet ? start : reply->at;
}

void text_version(struct session *session, struct token *tokens, uint32_t words, int variant,
                  struct reply *reply) {
    REPLY_LITERAL(reply, "VERSION ");
    reply_line(reply, session->proto->version);
}

void text_quit(struct session *session, struct token *tokens, uint32_t words, int variant,
               struct reply *reply) {
    session->mode = MODE_CLOSE;
    session->has_quit = true;
}
