// incr, decr, touch, delete, flush_all.
#include "proto/session_internal.h"

// noreply silences whatever the command said, errors included; only a wrong word count is always
// answered.
static bool is_quiet(const struct token *tokens, uint32_t words) {
    return token_is(&tokens[words - 1], "noreply");
}

static void arith_reply(struct session *session, const struct token *tokens, struct reply *reply) {
    struct store_arith request = {
        .key = tokens[1].text, .key_bytes = tokens[1].bytes, .decrement = tokens[0].text[0] == 'd'};
    if (tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return;
    }
    if (!token_u64(tokens[2].text, tokens[2].bytes, &request.delta)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR invalid numeric delta argument\r\n");
        return;
    }
    struct store_number number;
    int outcome;
    do {
        outcome = store_arith(session_store(session), &request, &number);
    } while (met_flash(session, request.key, request.key_bytes, &outcome));
    if (UNLIKELY(session->is_waiting)) {
        return;
    }
    switch (outcome) {
    case STORE_BUSY: reply_line(reply, REPLY_BUSY); break;
    case STORE_STORED:
        reply->at = put_u64(reply->at, number.value);
        REPLY_LITERAL(reply, "\r\n");
        break;
    case STORE_NOT_FOUND: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    case STORE_NON_NUMERIC:
        REPLY_LITERAL(reply, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
        break;
    default: REPLY_LITERAL(reply, "SERVER_ERROR out of memory\r\n"); break;
    }
}

void text_arith(struct session *session, struct token *tokens, uint32_t words,
                struct reply *reply) {
    if (words != 3 && words != 4) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    char *start = reply->at;
    arith_reply(session, tokens, reply);
    if (is_quiet(tokens, words)) {
        reply->at = start;
    }
}

static void touch_reply(struct session *session, const struct token *tokens, struct reply *reply) {
    struct store *store = session_store(session);
    int32_t expiry;
    if (tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return;
    }
    if (!token_i32(tokens[2].text, tokens[2].bytes, &expiry)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR invalid exptime argument\r\n");
        return;
    }
    int outcome;
    do {
        outcome =
            store_touch(store, tokens[1].text, tokens[1].bytes, expiry_from_client(store, expiry));
    } while (met_flash(session, tokens[1].text, tokens[1].bytes, &outcome));
    if (UNLIKELY(session->is_waiting)) {
        return;
    }
    count(store->proc, COUNTER_cmd_touch, 1);
    switch (outcome) {
    case STORE_BUSY: reply_line(reply, REPLY_BUSY); break;
    case STORE_TOUCHED: REPLY_LITERAL(reply, "TOUCHED\r\n"); break;
    case STORE_NOT_FOUND: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    default: REPLY_LITERAL(reply, "SERVER_ERROR out of memory\r\n"); break;
    }
}

void text_touch(struct session *session, struct token *tokens, uint32_t words,
                struct reply *reply) {
    if (words != 3 && words != 4) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    char *start = reply->at;
    touch_reply(session, tokens, reply);
    if (is_quiet(tokens, words)) {
        reply->at = start;
    }
}

void text_delete(struct session *session, struct token *tokens, uint32_t words,
                 struct reply *reply) {
    struct store *store = session_store(session);
    if (words < 2 || words > 4) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    char *start = reply->at;
    bool quiet = words > 2 && is_quiet(tokens, words);
    if (words > 2) {
        // "0" was a time once; old clients still send it.
        bool zero = token_is(&tokens[2], "0");
        bool valid = (words == 3 && (zero || quiet)) || (words == 4 && zero && quiet);
        if (!valid) {
            REPLY_LITERAL(
                reply, "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n");
            reply->at = quiet ? start : reply->at;
            return;
        }
    }
    if (tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
    } else {
        struct store_delete request = {.key = tokens[1].text, .key_bytes = tokens[1].bytes};
        int outcome = flash_delete(session, &request);
        if (UNLIKELY(session->is_waiting)) {
            return;
        }
        count_prefix(store, request.key, request.key_bytes, PREFIX_DELETE, false);
        switch (outcome) {
        case STORE_BUSY: reply_line(reply, REPLY_BUSY); break;
        case STORE_DELETED: REPLY_LITERAL(reply, "DELETED\r\n"); break;
        case STORE_NO_MEMORY: REPLY_LITERAL(reply, "SERVER_ERROR out of memory\r\n"); break;
        default: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
        }
    }
    reply->at = quiet ? start : reply->at;
}

static void flush_reply(struct session *session, const struct token *tokens, uint32_t words,
                        bool quiet, struct reply *reply) {
    struct store *store = session_store(session);
    int32_t at = 0;
    count(store->proc, COUNTER_cmd_flush, 1);
    if (!live_get(store->arena, LIVE_flush_enabled)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR flush_all not allowed\r\n");
        return;
    }
    if (words > (quiet ? 2u : 1u) && !token_i32(tokens[1].text, tokens[1].bytes, &at)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR invalid exptime argument\r\n");
        return;
    }
    store_flush_all(store, at > 0 ? expiry_from_client(store, at) : 0);
    REPLY_LITERAL(reply, "OK\r\n");
}

void text_flush_all(struct session *session, struct token *tokens, uint32_t words,
                    struct reply *reply) {
    if (words > 3) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    char *start = reply->at;
    bool quiet = is_quiet(tokens, words);
    flush_reply(session, tokens, words, quiet, reply);
    reply->at = quiet ? start : reply->at;
}
