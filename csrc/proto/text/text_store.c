// set, add, replace, append, prepend, cas: lines with a value behind them, whole or in pieces.
#include <stdlib.h>

#include "proto/text/text_internal.h"

static void put_outcome(struct reply *reply, int outcome) {
    switch (outcome) {
    case STORE_STORED: REPLY_LITERAL(reply, "STORED\r\n"); break;
    case STORE_NOT_STORED: REPLY_LITERAL(reply, "NOT_STORED\r\n"); break;
    case STORE_EXISTS: REPLY_LITERAL(reply, "EXISTS\r\n"); break;
    case STORE_NOT_FOUND: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    default: reply_refusal(reply, outcome); break;
    }
}

static const char *parse(const struct session *session, const struct token *tokens, int variant,
                         struct store_write *write) {
    const char *bad = "CLIENT_ERROR bad command line format";
    int32_t expiry;
    int32_t value_bytes;
    bool has_cas = variant == TEXT_STORE_CAS;
    if (tokens[1].bytes > KEY_BYTES_MAX
        || !token_u32(tokens[2].text, tokens[2].bytes, &write->client_flags)
        || !token_i32(tokens[3].text, tokens[3].bytes, &expiry)
        || !token_i32(tokens[4].text, tokens[4].bytes, &value_bytes)
        || (has_cas && !token_u64(tokens[5].text, tokens[5].bytes, &write->cas_compare))) {
        return bad;
    }
    if (value_bytes < 0 || value_bytes > INT32_MAX - 2) {
        return bad;
    }
    write->mode = has_cas ? STORE_SET : variant;
    write->has_cas_compare = has_cas;
    write->key = tokens[1].text;
    write->key_bytes = tokens[1].bytes;
    write->value_bytes = (uint32_t)value_bytes;
    write->expiry_seconds = session_expiry(session, expiry);
    return NULL;
}

#define PREFETCH_WINDOW 16

// Brings the memory of pipelined plain `set` commands nearer, a window of them at a time.
static void prefetch(struct session *session, const char *in, const char *end) {
    const struct store *store = session_store(session);
    uint64_t hashes[PREFETCH_WINDOW];
    uint32_t found = 0;
    while (found < PREFETCH_WINDOW && end - in > 8 && memcmp(in, "set ", 4) == 0) {
        const char *key_end = memchr(in + 4, ' ', (size_t)(end - in - 4));
        const char *newline = key_end ? memchr(key_end, '\n', (size_t)(end - key_end)) : NULL;
        if (!newline || newline - in > LINE_BYTES_MAX) {
            break;
        }
        hashes[found] = link_hash(store, in + 4, (size_t)(key_end - in - 4));
        link_prefetch_bucket(store, hashes[found++]);
        // The value's size is the last word; anything else there ends the guessing.
        const char *digit = newline - (newline[-1] == '\r' ? 2 : 1);
        uint64_t value_bytes = 0;
        uint64_t scale = 1;
        while (digit > key_end && *digit >= '0' && *digit <= '9' && scale < 100000000) {
            value_bytes += (uint64_t)(*digit-- - '0') * scale;
            scale *= 10;
        }
        if (scale == 1 || *digit != ' ' || (uint64_t)(end - newline) < value_bytes + 3) {
            in = newline + 1;
            break;
        }
        in = newline + 1 + value_bytes + 2;
    }
    session->fetched_until = in;
    // With one command there is nothing to overlap with; storing it does its own prefetching.
    for (uint32_t i = 0; found > 1 && i < found; i++) {
        link_prefetch_items(store, hashes[i]);
    }
}

static void answer(const struct session_value *value, int outcome,
                   const struct store_result *result, struct reply *reply) {
    put_outcome(reply, outcome);
}

// The value comes in pieces.
static enum command_took begin(struct session *session, const struct store_write *write,
                               bool is_quiet, struct reply *reply) {
    struct session_value *value = malloc(sizeof *value);
    if (value) {
        session_value_init(value, write);
        value->is_quiet = is_quiet;
        value->answer = answer;
    }
    session_value_begin(session, value, reply);
    if (UNLIKELY(session->is_waiting)) {
        return COMMAND_TOOK_NONE;
    }
    session_count_request(session);
    return COMMAND_TOOK_ALL;
}

enum command_took text_store(struct session *session, const struct command_line *line,
                             struct token *tokens, uint32_t words, int variant, struct reply *reply,
                             size_t *body_consumed) {
    if (line->start >= session->fetched_until) {
        prefetch(session, line->start, line->body + line->body_bytes);
    }
    bool is_quiet = token_is(&tokens[words - 1], "noreply");
    struct store_write write = {0};
    const char *error = parse(session, tokens, variant, &write);
    if (error) {
        if (!is_quiet) {
            reply_line(reply, error);
        }
        return COMMAND_TOOK_ALL;
    }
    enum session_value_way way =
        session_value_way(session, &write, 2, line->start, line->body, line->body_bytes);
    if (UNLIKELY(way != VALUE_IS_WHOLE)) {
        return way == VALUE_MAY_WAIT ? COMMAND_TOOK_NONE : begin(session, &write, is_quiet, reply);
    }
    struct store_result result;
    int outcome = execute_put(session, &write, line->body, false, &result);
    if (UNLIKELY(outcome == EXECUTE_WAITS)) {
        return COMMAND_TOOK_NONE;
    }
    *body_consumed = (size_t)write.value_bytes + 2;
    session_count_request(session);
    if (!is_quiet) {
        put_outcome(reply, outcome);
    }
    return COMMAND_TOOK_ALL;
}
