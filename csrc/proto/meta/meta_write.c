// ms, md, ma: changing items with metadata.
#include <stdlib.h>

#include "proto/meta/meta_internal.h"

// The flags that every answer of a writing command gives back, in request order.
static char *put_returns(char *at, const struct meta_request *request, uint64_t cas,
                         uint64_t value_bytes, const char *wanted) {
    for (uint32_t i = 0; i < request->return_count; i++) {
        const struct token *flag = &request->returns[i];
        if (!strchr(wanted, flag->text[0])) {
            continue;
        }
        switch (flag->text[0]) {
        case 'O': at = meta_put_flag(at, flag); break;
        case 'k': at = meta_put_key(at, request); break;
        case 'c': at = reply_put_u64(PUT_LITERAL(at, " c"), cas); break;
        case 's': at = reply_put_u64(PUT_LITERAL(at, " s"), value_bytes); break;
        default: break;
        }
    }
    return at;
}

static void put_set(const struct meta_request *request, int outcome,
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
    default: reply_refusal(reply, outcome); return;
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
    write->expiry_seconds = meta_has(request, 'T') ? session_expiry(session, request->expiry) : 0;
    write->vivify_expiry_seconds =
        write->vivify ? session_expiry(session, request->vivify_expiry) : 0;
    if (!set_mode(request, write)) {
        return "CLIENT_ERROR invalid mode for ms M token";
    }
    // Without CAS numbers (-C) there is nothing to compare that an append could lose to.
    write->has_cas_compare =
        write->has_cas_compare
        && (write->mode < STORE_APPEND || link_has_cas(session_store(session)));
    return NULL;
}

// A value that comes in pieces, and the line that it came with: its answer needs that too.
struct meta_value {
    struct session_value value;
    struct meta_request request;
    char line[];    // What request.returns points into.
};

static void answer(const struct session_value *value, int outcome,
                   const struct store_result *result, struct reply *reply) {
    const struct meta_value *meta = (const struct meta_value *)value;
    put_set(&meta->request, outcome, result, reply);
}

// The line will be gone when the value is complete: all of it is copied.
static struct session_value *copy_request(struct session *session, const char *line,
                                          size_t line_bytes, uint32_t value_bytes) {
    struct meta_value *meta = malloc(sizeof *meta + line_bytes);
    if (!meta) {
        return NULL;
    }
    struct token tokens[TOKENS_MAX];
    struct store_write write;
    memcpy(meta->line, line, line_bytes);
    uint32_t words = tokens_split(meta->line, meta->line + line_bytes, tokens);
    meta_parse(tokens, words, 3, 's', &meta->request);
    write_from(session, &meta->request, value_bytes, &write);
    session_value_init(&meta->value, &write);
    meta->value.forgets_refused = true;
    meta->value.answer = answer;
    return &meta->value;
}

static enum command_took begin(struct session *session, const struct command_line *line,
                               uint32_t value_bytes, struct reply *reply) {
    size_t line_bytes = (size_t)(line->end - line->start);
    session_value_begin(session, copy_request(session, line->start, line_bytes, value_bytes),
                        reply);
    if (UNLIKELY(session->is_waiting)) {
        return COMMAND_TOOK_NONE;
    }
    session_count_request(session);
    return COMMAND_TOOK_ALL;
}

// The line is refused, but it says how much of what follows belongs to it.
static enum command_took refuse(struct session *session, const struct command_line *line,
                                uint32_t value_bytes, const char *error, struct reply *reply) {
    session_count_request(session);
    reply_line(reply, error);
    session_swallow(session, (uint64_t)value_bytes + 2);
    return COMMAND_TOOK_ALL;
}

enum command_took meta_set(struct session *session, const struct command_line *line,
                           struct token *tokens, uint32_t words, int variant, struct reply *reply,
                           size_t *body_consumed) {
    struct meta_request request;
    struct store_write write;
    int32_t value_bytes;
    if (words < 3 || tokens[1].bytes > KEY_BYTES_MAX
        || !token_i32(tokens[2].text, tokens[2].bytes, &value_bytes) || value_bytes < 0
        || value_bytes > INT32_MAX - 2) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return COMMAND_TOOK_ALL;
    }
    const char *error = meta_parse(tokens, words, 3, 's', &request);
    if (words - 3 > META_SET_FLAGS_MAX) {
        // Refused before the size is looked at: what follows is read as commands, as memcached
        // does.
        reply_line(reply, error);
        return COMMAND_TOOK_ALL;
    }
    error = error ? error : write_from(session, &request, (uint32_t)value_bytes, &write);
    if (error) {
        return refuse(session, line, (uint32_t)value_bytes, error, reply);
    }
    enum session_value_way way =
        session_value_way(session, &write, 2, line->start, line->body, line->body_bytes);
    if (UNLIKELY(way != VALUE_IS_WHOLE)) {
        return way == VALUE_MAY_WAIT ? COMMAND_TOOK_NONE
                                     : begin(session, line, (uint32_t)value_bytes, reply);
    }
    struct store_result result;
    int outcome = execute_put(session, &write, line->body, true, &result);
    if (UNLIKELY(outcome == EXECUTE_WAITS)) {
        return COMMAND_TOOK_NONE;
    }
    *body_consumed = (size_t)value_bytes + 2;
    session_count_request(session);
    put_set(&request, outcome, &result, reply);
    return COMMAND_TOOK_ALL;
}

static void put_delete(const struct meta_request *request, int outcome, struct reply *reply) {
    char *at = reply->at;
    switch (outcome) {
    case STORE_DELETED:
        if (meta_has(request, 'q')) {
            return;
        }
        at = PUT_LITERAL(at, "HD");
        break;
    case STORE_EXISTS: at = PUT_LITERAL(at, "EX"); break;
    case EXECUTE_BUSY:
    case STORE_NO_MEMORY: reply_failure(reply, outcome); return;
    default: at = PUT_LITERAL(at, "NF"); break;
    }
    at = put_returns(at, request, 0, 0, "Ok");
    reply->at = PUT_LITERAL(at, "\r\n");
}

void meta_delete(struct session *session, struct token *tokens, uint32_t words, int variant,
                 struct reply *reply) {
    struct meta_request request;
    const char *error = meta_parse(tokens, words, 2, 'd', &request);
    if (error) {
        reply_line(reply, error);
        return;
    }
    struct store_delete wanted = {.key = request.key,
                                  .key_bytes = request.key_bytes,
                                  .is_meta = true,
                                  .has_cas_compare = meta_has(&request, 'C'),
                                  .cas_compare = request.cas_compare,
                                  .mismatch_is_miss = true,
                                  .mark_stale = meta_has(&request, 'I'),
                                  .clear_value = meta_has(&request, 'x'),
                                  .has_expiry = meta_has(&request, 'T'),
                                  .has_client_flags = meta_has(&request, 'F'),
                                  .client_flags = request.client_flags,
                                  .has_cas_new = meta_has(&request, 'E'),
                                  .cas_new = request.cas_new};
    wanted.expiry_seconds = wanted.has_expiry ? session_expiry(session, request.expiry) : 0;
    int outcome = execute_delete(session, &wanted);
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        put_delete(&request, outcome, reply);
    }
}

static char *put_arith_flag(char *at, const struct session *session,
                            const struct meta_request *request, const struct token *flag,
                            const struct store_number *number, uint32_t *expiry) {
    switch (flag->text[0]) {
    case 'O': return meta_put_flag(at, flag);
    case 'k': return meta_put_key(at, request);
    case 'c': return reply_put_u64(PUT_LITERAL(at, " c"), number->cas);
    case 'T': *expiry = session_expiry(session, request->expiry); return at;
    case 'N':
        *expiry = number->vivified ? session_expiry(session, request->vivify_expiry) : *expiry;
        return at;
    case 't': return meta_put_ttl(at, session, *expiry);
    default: return at;
    }
}

static void put_arith(const struct session *session, const struct meta_request *request,
                      const struct store_number *number, struct reply *reply) {
    // memcached answers the one who made the number, quiet or not.
    if (meta_has(request, 'q') && !number->vivified) {
        return;
    }
    char digits[24];
    uint32_t digit_count = (uint32_t)(reply_put_u64(digits, number->value) - digits);
    char *at = reply->at;
    bool wants_value = meta_has(request, 'v');
    at = wants_value ? reply_put_u64(PUT_LITERAL(at, "VA "), digit_count) : PUT_LITERAL(at, "HD");
    uint32_t expiry =
        number->vivified ? session_expiry(session, request->vivify_expiry) : number->expiry_seconds;
    for (uint32_t i = 0; i < request->return_count; i++) {
        at = put_arith_flag(at, session, request, &request->returns[i], number, &expiry);
    }
    at = PUT_LITERAL(at, "\r\n");
    if (wants_value) {
        at = reply_put_bytes(at, digits, digit_count);
        at = PUT_LITERAL(at, "\r\n");
    }
    reply->at = at;
}

static void arith_other(const struct meta_request *request, const char *code, struct reply *reply) {
    char *at = reply_put_bytes(reply->at, code, 2);
    at = put_returns(at, request, 0, 0, "Ok");
    reply->at = PUT_LITERAL(at, "\r\n");
}

static void put_arith_outcome(const struct session *session, const struct meta_request *request,
                              int outcome, const struct store_number *number, struct reply *reply) {
    switch (outcome) {
    case STORE_STORED: put_arith(session, request, number, reply); break;
    case STORE_NOT_FOUND: arith_other(request, "NF", reply); break;
    case STORE_EXISTS: arith_other(request, "EX", reply); break;
    case STORE_NOT_STORED: arith_other(request, "NS", reply); break;
    default: reply_failure(reply, outcome); break;
    }
}

void meta_arith(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply) {
    struct meta_request request;
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
    wanted.expiry_seconds = wanted.has_expiry ? session_expiry(session, request.expiry) : 0;
    wanted.vivify_expiry_seconds = wanted.vivify ? meta_expiry_of_new(session, &request) : 0;
    struct store_number number;
    int outcome = execute_arith(session, &wanted, &number);
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        put_arith_outcome(session, &request, outcome, &number, reply);
    }
}
