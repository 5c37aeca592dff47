// The feed loop: finds command lines, dispatches them, goes on with values that come in pieces.
#include "proto/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/session_internal.h"

// What a request of the binary protocol begins with.
#define BINARY_REQUEST 0x80

int session_create(struct proto *proto, struct session **session_out) {
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        return PYMC_NO_MEMORY;
    }
    session->proto = proto;
    *session_out = session;
    return PYMC_OK;
}

void session_destroy(struct session *session) {
    if (session) {
        session_abort_reads(session);
        value_drop(session);
        free(session);
    }
}

const char *session_admin_line(const struct session *session, uint32_t *bytes_out) {
    *bytes_out = session->admin_bytes;
    return session->admin_line;
}

void session_resume(struct session *session) {
    session->mode = MODE_COMMAND;
    session->admin_line = NULL;
}

bool session_is_reading_value(const struct session *session) {
    return session->mode == MODE_VALUE;
}
bool session_is_filling_value(const struct session *session) {
    return session->mode == MODE_VALUE
           && session->value->making.filled_bytes < session->value->making.value_bytes;
}
bool session_is_awaiting_value(const struct session *session) {
    return session->awaits_value || session->mode == MODE_VALUE;
}
bool session_is_unfinished(const struct session *session) {
    return session->is_waiting;
}
bool session_is_in_get(const struct session *session) {
    return session->get_kind != GET_NONE;
}
bool session_is_swallowing(const struct session *session) {
    return session->mode == MODE_SWALLOW;
}

// Commands that Python answers.
static bool is_admin(const struct token *word) {
    static const char *const words[] = {
        "stats", "verbosity",     "cache_memlimit", "slabs",    "lru",      "lru_crawler",
        "watch", "refresh_certs", "extstore",       "shutdown", "debugtime"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (token_is(word, words[i])) {
            return true;
        }
    }
    return false;
}

static void meta_command(struct session *session, struct token *tokens, uint32_t words,
                         struct reply *reply) {
    switch (tokens[0].bytes == 2 ? tokens[0].text[1] : 0) {
    case 'g': meta_get(session, tokens, words, reply); break;
    case 'd': meta_delete(session, tokens, words, reply); break;
    case 'a': meta_arith(session, tokens, words, reply); break;
    case 'e':
        meta_debug(session, tokens, words, reply);
        count(session_store(session)->proc, COUNTER_cmd_meta, LIKELY(!session->is_waiting));
        break;
    case 'n': REPLY_LITERAL(reply, "MN\r\n"); break;
    default: REPLY_LITERAL(reply, "ERROR\r\n"); break;
    }
}

static void unknown_command(struct session *session, const struct token *tokens, uint32_t count,
                            struct reply *reply) {
    const struct token *last = &tokens[count - 1];
    if (last->bytes >= 5 && memcmp(last->text, "HTTP/", 5) == 0) {
        session->mode = MODE_CLOSE;    // A web browser or a health check: there is nothing to say
                                       // to it.
    } else {
        REPLY_LITERAL(reply, "ERROR\r\n");
    }
}

// Commands that are a line and nothing else.
static void line_command(struct session *session, const char *line, const char *end,
                         struct reply *reply) {
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line, end, tokens);
    if (words == 0 || tokens[0].bytes < 2) {
        REPLY_LITERAL(reply, "ERROR\r\n");
    } else if (tokens[0].text[0] == 'm' && tokens[0].bytes == 2) {
        meta_command(session, tokens, words, reply);
    } else if (token_is(&tokens[0], "delete")) {
        text_delete(session, tokens, words, reply);
    } else if (token_is(&tokens[0], "incr") || token_is(&tokens[0], "decr")) {
        text_arith(session, tokens, words, reply);
    } else if (token_is(&tokens[0], "touch")) {
        text_touch(session, tokens, words, reply);
    } else if (token_is(&tokens[0], "version")) {
        reply->at = PUT_LITERAL(reply->at, "VERSION ");
        reply_line(reply, session->proto->version);
    } else if (token_is(&tokens[0], "flush_all")) {
        text_flush_all(session, tokens, words, reply);
    } else if (token_is(&tokens[0], "quit")) {
        session->mode = MODE_CLOSE;
    } else if (is_admin(&tokens[0])) {
        session->admin_line = line;
        session->admin_bytes = (uint32_t)(end - line);
        session->mode = MODE_PARKED;
    } else {
        unknown_command(session, tokens, words, reply);
    }
    count(session_store(session)->proc, COUNTER_requests, LIKELY(!session->is_waiting));
}

static bool starts(const char *line, const char *end, const char *word, size_t word_bytes) {
    return (size_t)(end - line) >= word_bytes && memcmp(line, word, word_bytes) == 0
           && ((size_t)(end - line) == word_bytes || line[word_bytes] == ' ');
}
#define STARTS(line, end, word) starts((line), (end), "" word "", sizeof(word) - 1)

static enum get_kind get_kind_of(const char *line, const char *end) {
    if (STARTS(line, end, "get") || STARTS(line, end, "bget")) {
        return GET_PLAIN;
    }
    if (STARTS(line, end, "gets")) {
        return GET_CAS;
    }
    if (STARTS(line, end, "gat")) {
        return GET_TOUCH;
    }
    return STARTS(line, end, "gats") ? GET_TOUCH_CAS : GET_NONE;
}

static bool has_words(const char *line, const char *end, uint32_t wanted) {
    struct token tokens[TOKENS_MAX];
    return tokens_split(line, end, tokens) >= wanted;
}

static bool is_update(const char *line, const char *end) {
    switch (line[0]) {
    case 's': return STARTS(line, end, "set");
    case 'a': return STARTS(line, end, "add") || STARTS(line, end, "append");
    case 'r': return STARTS(line, end, "replace");
    case 'p': return STARTS(line, end, "prepend");
    case 'c': return STARTS(line, end, "cas");
    default: return false;
    }
}

// Before authentication only a `set` with the credentials as its value means anything.
static enum update_wants auth_command(struct session *session, const char *line,
                                      const char *line_end, const char *body, size_t bytes,
                                      struct reply *reply, size_t *consumed) {
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line, line_end, tokens);
    uint32_t value_bytes;
    *consumed = 0;
    if (words > 0 && token_is(&tokens[0], "quit")) {
        session->mode = MODE_CLOSE;
        return UPDATE_DONE;
    }
    if (words < 5 || !token_is(&tokens[0], "set")
        || !token_u32(tokens[4].text, tokens[4].bytes, &value_bytes) || value_bytes > 1024
        || body - line > LINE_BYTES_MAX) {
        reply_line(reply, "CLIENT_ERROR unauthenticated");
        return UPDATE_DONE;
    }
    if (bytes < value_bytes + 2) {
        return UPDATE_MORE;
    }
    *consumed = value_bytes + 2;
    const char *space = memchr(body, ' ', value_bytes);
    const char *error = NULL;
    if (memcmp(body + value_bytes, "\r\n", 2) != 0) {
        error = "CLIENT_ERROR bad command line termination";
    } else if (!space) {
        error = "CLIENT_ERROR bad authentication token format";
    } else if (!auth_check(session->proto, body, (uint32_t)(space - body), space + 1,
                           (uint32_t)(body + value_bytes - space - 1))) {
        error = "CLIENT_ERROR authentication failure";
    }
    struct proc *proc = session_store(session)->proc;
    // What is no token at all is no attempt either.
    count(proc, COUNTER_auth_cmds, space != NULL);
    if (error) {
        count(proc, COUNTER_auth_errors, space != NULL);
        reply_line(reply, error);
        return UPDATE_DONE;
    }
    session->is_authenticated = true;
    REPLY_LITERAL(reply, "STORED\r\n");
    return UPDATE_DONE;
}

// Handles the command whose line is [line, newline). Returns bytes consumed, 0 when more input is
// needed.
static size_t command(struct session *session, const char *line, const char *newline,
                      const char *in_end, struct reply *reply) {
    const char *start = line;
    // One feed is far below 4 GiB; without that said, gcc's link-time view warns of lengths below
    // zero.
    uint32_t line_bytes = (uint32_t)(newline - line);
    // A lone \r\n keeps its \r, as memcached has it; both are errors all the same.
    if (line_bytes > 0 && line[line_bytes - 1] == '\r') {
        line_bytes--;
    }
    const char *nul = memchr(line, '\0', line_bytes);
    const char *end = nul ? nul : line + line_bytes;
    while (line < end && *line == ' ') {
        line++;
    }
    size_t body_consumed = 0;
    size_t body_bytes = (size_t)(in_end - newline - 1);
    enum update_wants wants = UPDATE_DONE;
    struct store *store = session_store(session);
    if (UNLIKELY(live_get(store->arena, LIVE_auth_required) && !session->is_authenticated)) {
        wants = auth_command(session, line, end, newline + 1, body_bytes, reply, &body_consumed);
    } else if (line < end && is_update(line, end)) {
        if (start >= session->fetched_until) {
            text_update_prefetch(session, start, in_end);
        }
        struct token tokens[TOKENS_MAX];
        uint32_t words = tokens_split(line, end, tokens);
        wants = text_update(session, tokens, words, newline + 1, body_bytes, reply, &body_consumed);
    } else if (STARTS(line, end, "ms")) {
        wants = meta_set(session, line, end, newline + 1, body_bytes, reply, &body_consumed);
    } else {
        enum get_kind kind = get_kind_of(line, end);
        if (kind != GET_NONE && has_words(line, end, 2)) {
            return (size_t)(line - start) + text_get_begin(session, line, newline, kind, reply);
        }
        line_command(session, line, end, reply);
    }
    if (wants == UPDATE_MORE) {
        session->awaits_value = !session->is_waiting;
        return (size_t)(line - start);    // Blanks need not be kept.
    }
    return (size_t)(newline + 1 - start) + body_consumed;
}

static size_t swallow(struct session *session, size_t bytes) {
    size_t eaten = bytes < session->swallow_bytes ? bytes : (size_t)session->swallow_bytes;
    session->swallow_bytes -= eaten;
    if (session->swallow_bytes == 0) {
        session->mode = MODE_COMMAND;
    }
    return eaten;
}

// A line that does not end: only a get may be this long.
static bool is_endless(const char *in, size_t bytes) {
    size_t blanks = 0;
    if (bytes <= LINE_BYTES_MAX) {
        return false;
    }
    while (blanks < 100 && in[blanks] == ' ') {
        blanks++;
    }
    return memcmp(in + blanks, "get ", 4) != 0 && memcmp(in + blanks, "gets ", 5) != 0;
}

// A get line longer than the input: its keys are answered as they come.
static size_t begin_long_get(struct session *session, const char *in) {
    size_t at = 0;
    while (in[at] == ' ') {
        at++;
    }
    session->get_kind = in[at + 3] == 's' ? GET_CAS : GET_PLAIN;
    return at + (in[at + 3] == 's' ? 5 : 4);
}

// One step in command mode. Returns the bytes consumed; 0 with *stop_out set when nothing more can
// be done now.
static size_t step(struct session *session, const char *in, size_t bytes, struct reply *reply,
                   int *stop_out) {
    if (session->get_kind != GET_NONE) {
        bool is_full;
        size_t eaten = text_gets(session, in, bytes, reply, &is_full);
        *stop_out = is_full ? SESSION_REPLY_FULL : eaten == 0 ? SESSION_NEEDS_INPUT : -1;
        return eaten;
    }
    const char *newline = memchr(in, '\n', bytes);
    if (!newline) {
        if (is_endless(in, bytes)) {
            session->mode = MODE_CLOSE;
            return bytes;
        }
        if (bytes > LINE_BYTES_MAX) {
            return begin_long_get(session, in);
        }
        *stop_out = SESSION_NEEDS_INPUT;
        return 0;
    }
    size_t eaten = command(session, in, newline, in + bytes, reply);
    if (UNLIKELY(session->is_waiting)) {
        if (!session->is_busy) {
            flash_look_ahead_meta(session, in, in + bytes);
        }
        return 0;
    }
    if (eaten == 0) {
        *stop_out = SESSION_NEEDS_INPUT;
    }
    return eaten;
}

static void show(const struct session *session, char sign, const char *text, int bytes) {
    char line[LOG_LINE_BYTES_MAX];
    int shown = snprintf(line, sizeof line, "%c%d %.*s", sign, session->log_id, bytes, text);
    log_line(session->proto->log, line,
             shown < (int)sizeof line ? (uint32_t)shown : (uint32_t)sizeof line - 1);
}

// As memcached's -vv has it: the line that came, and the answer when it is one line.
static size_t logged_step(struct session *session, const char *in, size_t bytes,
                          struct reply *reply, int *stop_out) {
    bool begins = session->get_kind == GET_NONE;
    const char *answer = reply->at;
    size_t eaten = step(session, in, bytes, reply, stop_out);
    const char *newline = memchr(in, '\n', bytes);
    if (begins && eaten > 0 && newline) {
        int shown = (int)(newline - in) - (newline > in && newline[-1] == '\r');
        show(session, '<', in, shown);
    }
    const char *end = reply->at;
    bool ends_get = !begins && session->get_kind == GET_NONE;
    if (ends_get && end - answer > 5 && memcmp(end - 5, "END\r\n", 5) == 0) {
        answer = end - 5;    // Values are not shown.
    }
    if (end - answer > 2 && memchr(answer, '\n', (size_t)(end - answer)) == end - 1) {
        show(session, '>', answer, (int)(end - answer) - 2);
    }
    return eaten;
}

// A command that waits for a bucket longer than this is given up. Whoever holds one is dead or at
// work again before.
#define BUSY_SECONDS_MAX 10

bool session_put_off(struct session *session) {
    struct store *store = session_store(session);
    uint32_t now = store->proc->now_seconds;
    if (session->busy_rounds++ == 0) {
        session->busy_since_seconds = now;
        count(store->proc, COUNTER_busy_waits, 1);
    } else if (now - session->busy_since_seconds >= BUSY_SECONDS_MAX) {
        count(store->proc, COUNTER_busy_refused, 1);
        return false;
    }
    session->is_waiting = session->is_busy = true;
    if (session->flash) {
        // Other sessions' commands come in between.
        link_rule_out_none(store);
        store->needed_ref = 0;
    }
    return true;
}

// After a step of a session that has to do with flash or a busy bucket. Returns why the feed stops,
// -1 when it goes on.
static int after_step(struct session *session, int stop) {
    if (session->is_waiting) {
        return session->is_busy ? SESSION_BUSY : SESSION_ON_FLASH;
    }
    if (session->get_kind == GET_NONE) {
        session->busy_rounds = 0;    // A command is done, not only the beginning of a get.
    }
    session->has_vivified = false;
    flash_settle(session);
    return stop;
}

// A connection's first byte chooses its protocol, as in memcached; the binary one is not there. Its
// clients would wait for ever for an answer to what never ends as a line.
static void begin(struct session *session, const char *in) {
    const struct store *store = session_store(session);
    session->has_begun = true;
    if ((unsigned char)in[0] == BINARY_REQUEST
        && live_get(store->arena, LIVE_protocol_negotiated)) {
        count(store->proc, COUNTER_binary_refused, 1);
        session->mode = MODE_CLOSE;
    }
}

int session_feed(struct session *session, const char *in, size_t bytes, struct reply *reply,
                 size_t *consumed_out) {
    size_t at = 0;
    int stop = -1;
    bool is_resumed = session->is_waiting;
    session->is_waiting = session->is_busy = session->awaits_value = false;
    session->fetched_until = NULL;
    session->is_verbose = live_get(session_store(session)->arena, LIVE_verbosity) > 1;
    if (UNLIKELY(!session->has_begun) && bytes > 0) {
        begin(session, in);
    }
    while (stop < 0) {
        if (session->mode == MODE_CLOSE) {
            stop = SESSION_CLOSE;
        } else if (session->mode == MODE_PARKED) {
            stop = SESSION_PARKED;
        } else if (at == bytes && LIKELY(!is_resumed)) {
            stop = SESSION_NEEDS_INPUT;
        } else if (UNLIKELY(reply_is_full(reply))) {
            stop = SESSION_REPLY_FULL;
        } else if (session->mode == MODE_COMMAND && session->get_kind == GET_NONE
                   && session_has_had_its_turn(session, 0)) {
            stop = SESSION_YIELD;
        } else if (LIKELY(session->mode == MODE_COMMAND)) {
            at += UNLIKELY(session->is_verbose)
                      ? logged_step(session, in + at, bytes - at, reply, &stop)
                      : step(session, in + at, bytes - at, reply, &stop);
        } else if (session->mode == MODE_VALUE) {
            at += value_feed(session, in + at, bytes - at, reply);
        } else {
            at += swallow(session, bytes - at);
        }
        is_resumed = false;
        if (UNLIKELY(session->flash || session->busy_rounds)) {
            stop = after_step(session, stop);
        }
    }
    if (UNLIKELY(session->flash) && !session->is_waiting && stop != SESSION_REPLY_FULL) {
        session_drop_reads(session);
    }
    *consumed_out = at;
    return stop;
}
