// ms, md, ma: changing items with metadata.
#include <stdlib.h>

#include "proto/session_internal.h"

// The flags that every answer of a writing command gives back, in request order.
static char *put_returns(char *at, const struct meta_request *request, uint64_t cas,
                         uint64_t value_bytes, const char *wanted) {
    for (uint32_t i = 0; i < request->return_count; i++) {
        const struct token *flag = &request->returns[i];
        if (!strchr(wanted, flag->text[0])) {
            continue;
        }
        switch (flag->text[0]) {
        case 'O':
            *at++ = ' ';
            at = put_bytes(at, flag->text, flag->bytes);
            break;
        case 'k': at = meta_put_key(at, request); break;
        case 'c': at = put_u64(PUT_LITERAL(at, " c"), cas); break;
        case 's': at = put_u64(PUT_LITERAL(at, " s"), value_bytes); break;
        default: break;
        }
    }
    return at;
}

void meta_set_outcome(const struct meta_request *request, int outcome,
                      const struct store_result *result, struct reply *reply) {
    char *at = reply->at;
    switch (outcome) {
    case STORE_STORED:
        if (meta_has(request, 'q')) {
            return;
        }
        at = PUT_LITERAL(at, "HD");
        break;
    case STORE_NOT_STORED: at = PUT_LITERAL(at, "NS"); break;
    case STORE_EXISTS: at = PUT_LITERAL(at, "EX"); break;
    case STORE_NOT_FOUND: at = PUT_LITERAL(at, "NF"); break;
    default: text_outcome(reply, outcome); return;
    }
    at = put_returns(at, request, result->cas, result->value_bytes, "Okcs");
    reply->at = PUT_LITERAL(at, "\r\n");
}

static bool set_mode(const struct meta_request *request, struct store_write *write) {
    switch (request->mode) {
    case 0:
    case 'S': write->mode = STORE_SET; return true;
    case 'E': write->mode = STORE_ADD; return true;
    case 'A': write->mode = STORE_APPEND; return true;
    case 'P': write->mode = STORE_PREPEND; return true;
    case 'R': write->mode = STORE_REPLACE; return true;
    default: return false;
    }
}

static const char *write_from(const struct session *session, const struct meta_request *request,
                              uint32_t value_bytes, struct store_write *write) {
    const struct store *store = session_store(session);
    *write = (struct store_write){.key = request->key,
                                  .key_bytes = request->key_bytes,
                                  .value_bytes = value_bytes,
                                  .key_is_binary = meta_has(request, 'b'),
                                  .has_cas_compare = meta_has(request, 'C'),
                                  .cas_compare = request->cas_compare,
                                  .has_cas_new = meta_has(request, 'E') && request->cas_new,
                                  .cas_new = request->cas_new,
                                  .invalidate = meta_has(request, 'I'),
                                  .vivify = meta_has(request, 'N')};
    write->client_flags = meta_has(request, 'F') ? request->client_flags : 0;
    write->expiry_seconds = meta_has(request, 'T') ? expiry_from_client(store, request->expiry) : 0;
    write->vivify_expiry_seconds =
        write->vivify ? expiry_from_client(store, request->vivify_expiry) : 0;
    if (!set_mode(request, write)) {
        return "CLIENT_ERROR invalid mode for ms M token";
    }
    // Without CAS numbers (-C) there is nothing to compare that an append could lose to.
    write->has_cas_compare =
        write->has_cas_compare && (write->mode < STORE_APPEND || link_has_cas(store));
    return NULL;
}

// A large value: everything that its answer needs is copied, since the line is gone when the value
// is complete.
static void stream(struct session *session, const char *line, const char *line_end,
                   uint32_t value_bytes, struct reply *reply) {
    size_t line_bytes = (size_t)(line_end - line);
    struct session_value *value = malloc(sizeof *value + line_bytes);
    if (value) {
        struct token tokens[TOKENS_MAX];
        memcpy(value->meta_line, line, line_bytes);
        uint32_t words = tokens_split(value->meta_line, value->meta_line + line_bytes, tokens);
        meta_parse(tokens, words, 3, 's', &value->meta);
        write_from(session, &value->meta, value_bytes, &value->write);
        memcpy(value->key, value->meta.key, value->meta.key_bytes);
        value->write.key = value->meta.key = value->key;
        value->trailer_seen = 0;
        value->trailer_bad = value->is_quiet = false;
        value->is_meta = true;
    }
    value_begin(session, value, reply);
}

static void swallow_value(struct session *session, uint32_t value_bytes, size_t bytes,
                          size_t *body_consumed) {
    uint64_t whole = (uint64_t)value_bytes + 2;
    *body_consumed = bytes < whole ? bytes : (size_t)whole;
    session->swallow_bytes = whole - *body_consumed;
    session->mode = session->swallow_bytes ? MODE_SWALLOW : MODE_COMMAND;
}

enum update_wants meta_set(struct session *session, const char *line, const char *line_end,
                           const char *body, size_t bytes, struct reply *reply,
                           size_t *body_consumed) {
    struct store *store = session_store(session);
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line, line_end, tokens);
    struct meta_request request;
    struct store_write write;
    int32_t value_bytes;
    *body_consumed = 0;
    if (words < 2) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return UPDATE_DONE;
    }
    if (words < 3 || tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return UPDATE_DONE;
    }
    if (!token_i32(tokens[2].text, tokens[2].bytes, &value_bytes) || value_bytes < 0
        || value_bytes > INT32_MAX - 2) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return UPDATE_DONE;
    }
    const char *error = meta_parse(tokens, words, 3, 's', &request);
    if (!error) {
        error = write_from(session, &request, (uint32_t)value_bytes, &write);
    }
    if (words - 3 > 16) {
        // Refused before the size is looked at: what follows is read as commands, as memcached
        // does.
        reply_line(reply, error);
        return UPDATE_DONE;
    }
    if (error) {
        count(store->proc, COUNTER_requests, 1);
        reply_line(reply, error);
        swallow_value(session, (uint32_t)value_bytes, bytes, body_consumed);
        return UPDATE_DONE;
    }
    bool is_whole = bytes >= (size_t)value_bytes + 2;
    if (!is_whole && value_may_wait(session, &write, (size_t)(body - line), bytes)) {
        return UPDATE_MORE;
    }
    // A value without its line end goes the same way however it came: first is asked whether it is
    // too large.
    if (UNLIKELY(!is_whole || memcmp(body + value_bytes, "\r\n", 2) != 0)) {
        stream(session, line, line_end, (uint32_t)value_bytes, reply);
        count(store->proc, COUNTER_requests, LIKELY(!session->is_waiting));
        return UNLIKELY(session->is_waiting) ? UPDATE_MORE : UPDATE_STREAM;
    }
    *body_consumed = (size_t)value_bytes + 2;
    struct store_result result;
    int outcome;
    do {
        outcome = store_put(store, &write, body, &result);
    } while (met_flash(session, write.key, write.key_bytes, &outcome));
    bool is_refused = outcome == STORE_TOO_LARGE || outcome == STORE_NO_MEMORY;
    if (UNLIKELY(is_refused) && store_forget(store, write.key, write.key_bytes) == STORE_BUSY
        && session_put_off(session)) {
        outcome = STORE_BUSY;
    }
    if (UNLIKELY(session->is_waiting)) {
        return UPDATE_MORE;
    }
    count(store->proc, COUNTER_requests, 1);
    count_prefix(store, write.key, write.key_bytes, PREFIX_SET, false);
    meta_set_outcome(&request, outcome, &result, reply);
    return UPDATE_DONE;
}

void meta_delete(struct session *session, struct token *tokens, uint32_t words,
                 struct reply *reply) {
    struct store *store = session_store(session);
    struct meta_request request;
    if (words < 2) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    const char *error = meta_parse(tokens, words, 2, 'd', &request);
    if (error) {
        reply_line(reply, error);
        return;
    }
    struct store_delete wanted = {.key = request.key,
                                  .key_bytes = request.key_bytes,
                                  .has_cas_compare = meta_has(&request, 'C'),
                                  .cas_compare = request.cas_compare,
                                  .mark_stale = meta_has(&request, 'I'),
                                  .clear_value = meta_has(&request, 'x'),
                                  .has_expiry = meta_has(&request, 'T'),
                                  .has_client_flags = meta_has(&request, 'F'),
                                  .client_flags = request.client_flags,
                                  .has_cas_new = meta_has(&request, 'E'),
                                  .cas_new = request.cas_new};
    if (wanted.has_expiry) {
        wanted.expiry_seconds = expiry_from_client(store, request.expiry);
    }
    int outcome = flash_delete(session, &wanted);
    if (UNLIKELY(session->is_waiting)) {
        return;
    }
    count_prefix(store, request.key, request.key_bytes, PREFIX_DELETE, false);
    if (outcome == STORE_NO_MEMORY || outcome == STORE_BUSY) {
        reply_line(reply, outcome == STORE_BUSY ? REPLY_BUSY : "SERVER_ERROR out of memory");
        return;
    }
    if (outcome == STORE_DELETED && meta_has(&request, 'q')) {
        return;
    }
    char *at = reply->at;
    at = outcome == STORE_DELETED  ? PUT_LITERAL(at, "HD")
         : outcome == STORE_EXISTS ? PUT_LITERAL(at, "EX")
                                   : PUT_LITERAL(at, "NF");
    at = put_returns(at, &request, 0, 0, "Ok");
    reply->at = PUT_LITERAL(at, "\r\n");
}

static void arith_hit(struct session *session, const struct meta_request *request,
                      const struct store_number *number, struct reply *reply) {
    const struct store *store = session_store(session);
    // memcached answers the one who made the number, quiet or not.
    if (meta_has(request, 'q') && !number->vivified) {
        return;
    }
    char digits[24];
    uint32_t digit_count = (uint32_t)(put_u64(digits, number->value) - digits);
    char *at = reply->at;
    bool wants_value = meta_has(request, 'v');
    at = wants_value ? put_u64(PUT_LITERAL(at, "VA "), digit_count) : PUT_LITERAL(at, "HD");
    uint32_t expiry = number->vivified ? expiry_from_client(store, request->vivify_expiry)
                                       : number->expiry_seconds;
    for (uint32_t i = 0; i < request->return_count; i++) {
        const struct token *flag = &request->returns[i];
        switch (flag->text[0]) {
        case 'O':
            *at++ = ' ';
            at = put_bytes(at, flag->text, flag->bytes);
            break;
        case 'k': at = meta_put_key(at, request); break;
        case 'c': at = put_u64(PUT_LITERAL(at, " c"), number->cas); break;
        case 'T': expiry = expiry_from_client(store, request->expiry); break;
        case 'N':
            expiry = number->vivified ? expiry_from_client(store, request->vivify_expiry) : expiry;
            break;
        case 't':
            at = PUT_LITERAL(at, " t");
            at = expiry ? put_i64(at, (int64_t)expiry - store->proc->now_seconds)
                        : PUT_LITERAL(at, "-1");
            break;
        default: break;
        }
    }
    at = PUT_LITERAL(at, "\r\n");
    if (wants_value) {
        at = put_bytes(at, digits, digit_count);
        at = PUT_LITERAL(at, "\r\n");
    }
    reply->at = at;
}

static void arith_other(const struct meta_request *request, const char *code, struct reply *reply) {
    char *at = put_bytes(reply->at, code, 2);
    at = put_returns(at, request, 0, 0, "Ok");
    reply->at = PUT_LITERAL(at, "\r\n");
}

void meta_arith(struct session *session, struct token *tokens, uint32_t words,
                struct reply *reply) {
    struct store *store = session_store(session);
    struct meta_request request;
    if (words < 2) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    const char *error = meta_parse(tokens, words, 2, 'a', &request);
    char mode = request.mode;
    if (!error && mode && !strchr("ID+-", mode)) {
        error = "CLIENT_ERROR invalid mode for ma M token";
    }
    if (error) {
        reply_line(reply, error);
        return;
    }
    struct store_arith wanted = {.key = request.key,
                                 .key_bytes = request.key_bytes,
                                 .decrement = mode == 'D' || mode == '-',
                                 .has_cas_compare = meta_has(&request, 'C'),
                                 .cas_compare = request.cas_compare,
                                 .has_cas_new = meta_has(&request, 'E'),
                                 .cas_new = request.cas_new,
                                 .has_expiry = meta_has(&request, 'T'),
                                 .vivify = meta_has(&request, 'N'),
                                 .delta = request.delta,
                                 .initial = request.initial};
    wanted.expiry_seconds = wanted.has_expiry ? expiry_from_client(store, request.expiry) : 0;
    wanted.vivify_expiry_seconds = wanted.vivify ? meta_expiry_of_new(store, &request) : 0;
    struct store_number number;
    int outcome;
    do {
        outcome = store_arith(store, &wanted, &number);
    } while (met_flash(session, request.key, request.key_bytes, &outcome));
    if (UNLIKELY(session->is_waiting)) {
        return;
    }
    switch (outcome) {
    case STORE_BUSY: reply_line(reply, REPLY_BUSY); break;
    case STORE_STORED: arith_hit(session, &request, &number, reply); break;
    case STORE_NOT_FOUND: arith_other(&request, "NF", reply); break;
    case STORE_EXISTS: arith_other(&request, "EX", reply); break;
    case STORE_NOT_STORED: arith_other(&request, "NS", reply); break;
    case STORE_NON_NUMERIC:
        REPLY_LITERAL(reply, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
        break;
    default: REPLY_LITERAL(reply, "SERVER_ERROR out of memory\r\n"); break;
    }
}
