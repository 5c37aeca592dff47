// set, add, replace, append, prepend, cas: lines with a value behind them, whole or in pieces.
#include <stdlib.h>

#include "proto/session_internal.h"

void text_outcome(struct reply *reply, int outcome) {
    switch (outcome) {
    case STORE_STORED: REPLY_LITERAL(reply, "STORED\r\n"); break;
    case STORE_NOT_STORED: REPLY_LITERAL(reply, "NOT_STORED\r\n"); break;
    case STORE_EXISTS: REPLY_LITERAL(reply, "EXISTS\r\n"); break;
    case STORE_NOT_FOUND: REPLY_LITERAL(reply, "NOT_FOUND\r\n"); break;
    case STORE_TOO_LARGE:
        REPLY_LITERAL(reply, "SERVER_ERROR object too large for cache\r\n");
        break;
    case STORE_BUSY: reply_line(reply, REPLY_BUSY); break;
    default: REPLY_LITERAL(reply, "SERVER_ERROR out of memory storing object\r\n"); break;
    }
}

static const char *parse_update(const struct session *session, const struct token *tokens,
                                struct store_write *write) {
    const char *bad = "CLIENT_ERROR bad command line format";
    int32_t expiry;
    int32_t value_bytes;
    bool has_cas = tokens[0].text[0] == 'c';
    switch (tokens[0].text[0]) {
    case 'a': write->mode = tokens[0].bytes == 3 ? STORE_ADD : STORE_APPEND; break;
    case 'r': write->mode = STORE_REPLACE; break;
    case 'p': write->mode = STORE_PREPEND; break;
    default: write->mode = STORE_SET; break;
    }
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
    write->has_cas_compare = has_cas;
    write->key = tokens[1].text;
    write->key_bytes = tokens[1].bytes;
    write->value_bytes = (uint32_t)value_bytes;
    write->expiry_seconds = expiry_from_client(session_store(session), expiry);
    return NULL;
}

#define PREFETCH_WINDOW 16

void text_update_prefetch(struct session *session, const char *in, const char *end) {
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

static struct session_value *value_new(const struct store_write *write, bool is_quiet) {
    struct session_value *value = malloc(sizeof *value);
    if (value) {
        value->write = *write;
        memcpy(value->key, write->key, write->key_bytes);
        value->write.key = value->key;
        value->trailer_seen = 0;
        value->trailer_bad = false;
        value->is_quiet = is_quiet;
        value->is_meta = false;
    }
    return value;
}

enum update_wants text_update(struct session *session, struct token *tokens, uint32_t words,
                              const char *body, size_t bytes, struct reply *reply,
                              size_t *body_consumed) {
    struct store *store = session_store(session);
    uint32_t needed = tokens[0].text[0] == 'c' ? 6 : 5;
    *body_consumed = 0;
    if (words != needed && words != needed + 1) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return UPDATE_DONE;
    }
    bool is_quiet = token_is(&tokens[words - 1], "noreply");
    struct store_write write = {0};
    const char *error = parse_update(session, tokens, &write);
    if (error) {
        if (!is_quiet) {
            reply_line(reply, error);
        }
        return UPDATE_DONE;
    }
    bool is_whole = bytes >= (size_t)write.value_bytes + 2;
    if (!is_whole && value_may_wait(session, &write, (size_t)(body - tokens[0].text), bytes)) {
        return UPDATE_MORE;
    }
    // A value without its line end goes the same way however it came: first is asked whether it is
    // too large.
    if (UNLIKELY(!is_whole || memcmp(body + write.value_bytes, "\r\n", 2) != 0)) {
        value_begin(session, value_new(&write, is_quiet), reply);
        count(store->proc, COUNTER_requests, LIKELY(!session->is_waiting));
        return UNLIKELY(session->is_waiting) ? UPDATE_MORE : UPDATE_STREAM;
    }
    *body_consumed = (size_t)write.value_bytes + 2;
    char *start = reply->at;
    struct store_result result;
    int outcome;
    do {
        outcome = store_put(store, &write, body, &result);
    } while (met_flash(session, write.key, write.key_bytes, &outcome));
    if (UNLIKELY(session->is_waiting)) {
        return UPDATE_MORE;
    }
    count(store->proc, COUNTER_requests, 1);
    count_prefix(store, write.key, write.key_bytes, PREFIX_SET, false);
    text_outcome(reply, outcome);
    if (is_quiet) {
        reply->at = start;
    }
    return UPDATE_DONE;
}

bool value_may_wait(const struct session *session, const struct store_write *write,
                    size_t line_bytes, size_t bytes) {
    uint64_t come = bytes + session->arrived_bytes;
    return line_bytes <= LINE_BYTES_MAX
           && (write->value_bytes <= VALUE_BUFFERED_MAX || come < VALUE_BUFFERED_MAX)
           && store_fits(session_store(session), write);
}

// A refused meta command takes the key's old value with it, whatever its mode. STORE_BUSY: it could
// not yet.
static int forget_for_meta(struct session *session, const struct session_value *value) {
    return value->is_meta ? store_forget(session_store(session), value->key, value->write.key_bytes)
                          : STORE_NOT_FOUND;
}

void value_begin(struct session *session, struct session_value *value, struct reply *reply) {
    struct store *store = session_store(session);
    int outcome = STORE_NO_MEMORY;
    uint64_t value_bytes = 0;
    if (value) {
        value_bytes = value->write.value_bytes;
        outcome = store_begin(store, &value->write, &value->making);
    }
    if (outcome == STORE_ROOM_MADE) {
        count_prefix(store, value->key, value->write.key_bytes, PREFIX_SET, false);
        session->value = value;
        session->mode = MODE_VALUE;
        return;
    }
    if (!value) {
        // Without a buffer there is no way to know how much to skip.
        space_refused(store, COUNTER_oom_process_memory);
        REPLY_LITERAL(reply, "SERVER_ERROR out of memory reading request\r\n");
        session->mode = MODE_CLOSE;
        return;
    }
    outcome = UNLIKELY(forget_for_meta(session, value) == STORE_BUSY) ? STORE_BUSY : outcome;
    if (UNLIKELY(outcome == STORE_BUSY) && session_put_off(session)) {
        free(value);
        return;
    }
    if (!value->is_quiet) {
        text_outcome(reply, outcome);
    }
    free(value);
    session->swallow_bytes = value_bytes + 2;
    session->mode = MODE_SWALLOW;
}

// There was no room for the next part: the answer comes at once, and the rest of the value is
// thrown away.
static void value_give_up(struct session *session, struct reply *reply) {
    struct session_value *value = session->value;
    struct store *store = session_store(session);
    uint64_t missing_bytes = value->making.value_bytes - value->making.filled_bytes;
    int outcome = forget_for_meta(session, value);
    outcome = outcome == STORE_BUSY ? outcome : store_give_up(store, &value->write, &value->making);
    if (UNLIKELY(outcome == STORE_BUSY) && session_put_off(session)) {
        return;    // What has come of it stays until this is done again.
    }
    store_abandon(store, &value->making);
    if (!value->is_quiet) {
        text_outcome(reply, outcome);
    }
    free(value);
    session->value = NULL;
    session->swallow_bytes = missing_bytes + 2;
    session->mode = MODE_SWALLOW;
}

void value_finish(struct session *session, struct reply *reply) {
    struct session_value *value = session->value;
    struct store *store = session_store(session);
    char *start = reply->at;
    if (value->trailer_bad) {
        store_abandon(store, &value->making);
        REPLY_LITERAL(reply, "CLIENT_ERROR bad data chunk\r\n");
    } else {
        struct store_result result;
        int outcome;
        do {
            outcome = store_commit(store, &value->write, &value->making, &result);
        } while (met_flash(session, value->key, value->write.key_bytes, &outcome));
        if (UNLIKELY(session->is_waiting)) {
            return;    // The value stays as it is until this is done again.
        }
        store_abandon(store, &value->making);    // Unless it was stored: the old value may have
                                                 // found no room.
        if (value->is_meta) {
            meta_set_outcome(&value->meta, outcome, &result, reply);
        } else {
            text_outcome(reply, outcome);
        }
    }
    if (value->is_quiet) {
        reply->at = start;
    }
    free(value);
    session->value = NULL;
    session->mode = MODE_COMMAND;
}

void value_drop(struct session *session) {
    if (session->value) {
        store_abandon(session_store(session), &session->value->making);
        free(session->value);
        session->value = NULL;
    }
}

size_t value_feed(struct session *session, const char *in, size_t bytes, struct reply *reply) {
    struct session_value *value = session->value;
    struct store *store = session_store(session);
    size_t at = 0;
    char *place;
    uint32_t fits;
    while (at < bytes && (fits = store_making_span(store, &value->making, &place)) > 0) {
        size_t piece = bytes - at < fits ? bytes - at : fits;
        racy_write(place, in + at, piece);
        value->making.filled_bytes += (uint32_t)piece;
        at += piece;
    }
    if (UNLIKELY(at < bytes && value->making.filled_bytes < value->making.value_bytes)) {
        value_give_up(session, reply);
        return at;
    }
    while (at < bytes && value->making.filled_bytes == value->making.value_bytes
           && value->trailer_seen < 2) {
        value->trailer_bad |= in[at++] != "\r\n"[value->trailer_seen++];
    }
    if (value->trailer_seen == 2) {
        value_finish(session, reply);
    }
    return at;
}

size_t session_direct_place(struct session *session, size_t ahead_bytes, char **place_out,
                            bool *is_last_out) {
    *is_last_out = false;
    if (session->mode != MODE_VALUE) {
        return 0;
    }
    const struct store_making *making = &session->value->making;
    uint32_t ahead = (uint32_t)ahead_bytes;
    uint32_t fits = store_making_span_ahead(session_store(session), making, ahead, place_out);
    *is_last_out = making->filled_bytes + ahead + fits == making->value_bytes;
    return fits;
}

void session_direct_filled(struct session *session, size_t bytes) {
    session->value->making.filled_bytes += (uint32_t)bytes;
}
