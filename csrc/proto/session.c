// The feed loop: finds command lines, dispatches them, goes on with values that come in pieces.
#include "proto/session.h"

#include <stdlib.h>

#include "proto/binary/binary_internal.h"
#include "proto/meta/meta_internal.h"
#include "proto/text/text_internal.h"

int session_create(struct proto *proto, struct session **session_out) {
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        return PYMC_NO_MEMORY;
    }
    session_init(session, proto, 0);
    *session_out = session;
    return PYMC_OK;
}

void session_destroy(struct session *session) {
    if (session) {
        session_end(session);
        free(session);
    }
}

void session_init(struct session *session, struct proto *proto, int log_id) {
    session->proto = proto;
    session->log_id = log_id;
    session->rights = SESSION_MAY_ALL;
}

void session_end(struct session *session) {
    session_abort_reads(session);
    session_value_drop(session);
}

uint64_t session_peek_key(const struct proto *proto, const char *in, size_t bytes) {
    if (bytes < 8 || bytes > LINE_BYTES_MAX || in[3] != ' '
        || (memcmp(in, "get", 3) != 0 && memcmp(in, "set", 3) != 0)) {
        return bytes > 0 && (unsigned char)in[0] == BINARY_REQUEST
                   ? binary_peek_key(proto->store, in, bytes)
                   : 0;
    }
    size_t end = 4;
    while (end < bytes && (unsigned char)in[end] > ' ') {
        end++;
    }
    uint64_t hash = link_hash(proto->store, in + 4, end - 4);
    link_prefetch_bucket(proto->store, hash);
    return hash;
}

void session_fetch_items(const struct proto *proto, uint64_t hash) {
    link_prefetch_items(proto->store, hash);
}

void session_set_protocol(struct session *session, int protocol) {
    session->protocol = (uint8_t)protocol;
}

void session_set_turn(struct session *session, uint64_t requests_until) {
    session->requests_until = requests_until;
}

void session_set_arrived(struct session *session, size_t bytes) {
    session->arrived_bytes = bytes;
}

size_t session_arrived(const struct session *session) {
    return session->arrived_bytes;
}

uint32_t session_delay_seconds(const struct session *session) {
    return session->delay_seconds;
}

const char *session_admin_line(const struct session *session, uint32_t *bytes_out) {
    *bytes_out = session->admin_bytes;
    return session->admin_line;
}

bool session_admin_is_binary(const struct session *session, uint32_t *opaque_out) {
    *opaque_out = session->admin_opaque;
    return session->protocol == SESSION_BINARY;
}

void session_resume(struct session *session) {
    session->mode = session->swallow_bytes ? MODE_SWALLOW : MODE_COMMAND;
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
    return session->get_kind != TEXT_GET_NONE;
}
bool session_is_swallowing(const struct session *session) {
    return session->mode == MODE_SWALLOW;
}

static void unknown_command(struct session *session, const struct token *tokens, uint32_t words,
                            struct reply *reply) {
    const struct token *last = &tokens[words - 1];
    bool is_short = tokens[0].bytes < 2 || (tokens[0].bytes == 2 && tokens[0].text[0] == 'm');
    if (!is_short && last->bytes >= 5 && memcmp(last->text, "HTTP/", 5) == 0) {
        session->mode = MODE_CLOSE;    // A web browser or a health check: there is nothing to say
                                       // to it.
    } else {
        REPLY_LITERAL(reply, "ERROR\r\n");
    }
}

// A command that is a line and nothing else; NULL for one that is unknown.
static void line_command(struct session *session, const struct command *command,
                         const struct command_line *line, struct reply *reply) {
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line->start, line->end, tokens);
    if (words == 0) {
        REPLY_LITERAL(reply, "ERROR\r\n");
    } else if (UNLIKELY(!command)) {
        unknown_command(session, tokens, words, reply);
    } else if (UNLIKELY(words < command->words_min || words > command->words_max)) {
        REPLY_LITERAL(reply, "ERROR\r\n");
    } else if (command->form == COMMAND_FORM_LINE) {
        command->action.line(session, tokens, words, command->variant, reply);
    } else if (UNLIKELY(commands_extra_rights(tokens, words) & ~session->rights)) {
        (void)commands_refuse(session, command, line, reply);
        return;    // It is counted there.
    } else {
        session->admin_line = line->start;
        session->admin_bytes = (uint32_t)(line->end - line->start);
        session->mode = MODE_PARKED;
    }
    if (LIKELY(!session->is_waiting)) {
        session_count_request(session);
    }
}

static enum command_took value_command(struct session *session, const struct command *command,
                                       const struct command_line *line, struct reply *reply,
                                       size_t *body_consumed) {
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line->start, line->end, tokens);
    if (UNLIKELY(words < command->words_min || words > command->words_max)) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return COMMAND_TOOK_ALL;
    }
    return command->action.value(session, line, tokens, words, command->variant, reply,
                                 body_consumed);
}

// Whether the line has more than the command's own word.
static bool has_second_word(const struct command *command, const struct command_line *line) {
    const char *at = line->start + command->word_bytes;
    while (at < line->end && *at == ' ') {
        at++;
    }
    return at < line->end;
}

// The line of the command that ends at `newline`, without blanks before it.
static struct command_line line_at(const char *start, const char *newline, const char *in_end) {
    // One feed is far below 4 GiB; without that said, gcc's link-time view warns of lengths below
    // zero.
    uint32_t line_bytes = (uint32_t)(newline - start);
    // A lone \r\n keeps its \r, as memcached has it; both are errors all the same.
    if (line_bytes > 0 && start[line_bytes - 1] == '\r') {
        line_bytes--;
    }
    const char *nul = memchr(start, '\0', line_bytes);
    const char *end = nul ? nul : start + line_bytes;
    while (start < end && *start == ' ') {
        start++;
    }
    return (struct command_line){start, end, newline + 1, (size_t)(in_end - newline - 1)};
}

static bool must_authenticate(const struct session *session) {
    return live_get(session_store(session)->arena, LIVE_auth_required)
           && !session->is_authenticated;
}

// Handles the command whose line is [start, newline). Returns bytes consumed, 0 when more input is
// needed.
static size_t command_at(struct session *session, const char *start, const char *newline,
                         const char *in_end, struct reply *reply) {
    struct command_line line = line_at(start, newline, in_end);
    size_t body_consumed = 0;
    enum command_took took = COMMAND_TOOK_ALL;
    if (UNLIKELY(must_authenticate(session))) {
        bool is_done = session_authenticate(session, line.start, line.end, line.body,
                                            line.body_bytes, reply, &body_consumed);
        took = is_done ? COMMAND_TOOK_ALL : COMMAND_TOOK_NONE;
    } else {
        const struct command *command =
            commands_find(session->proto->commands, line.start, line.end);
        if (LIKELY(command) && UNLIKELY(commands_lacking(session, command))) {
            return (size_t)(line.start - start) + commands_refuse(session, command, &line, reply);
        }
        int form = LIKELY(command) ? command->form : COMMAND_FORM_LINE;
        if (form == COMMAND_FORM_KEYS && LIKELY(has_second_word(command, &line))) {
            return (size_t)(line.start - start)
                   + command->action.keys(session, &line, command->variant, reply);
        }
        if (form == COMMAND_FORM_VALUE) {
            took = value_command(session, command, &line, reply, &body_consumed);
        } else {
            line_command(session, command, &line, reply);
        }
    }
    if (took == COMMAND_TOOK_NONE) {
        session->awaits_value = !session->is_waiting;
        return (size_t)(line.start - start);    // Blanks need not be kept.
    }
    return (size_t)(newline + 1 - start) + body_consumed;
}

static size_t swallow(struct session *session, size_t bytes) {
    size_t consumed_bytes = bytes < session->swallow_bytes ? bytes : (size_t)session->swallow_bytes;
    session->swallow_bytes -= consumed_bytes;
    if (session->swallow_bytes == 0) {
        session->mode = MODE_COMMAND;
    }
    return consumed_bytes;
}

// A line that does not end: only a get may be this long, of a client who said who it is.
static bool is_endless(const struct session *session, const char *in, size_t bytes) {
    size_t blanks = 0;
    if (bytes <= LINE_BYTES_MAX) {
        return false;
    }
    if (must_authenticate(session)) {
        return true;
    }
    while (blanks < 100 && in[blanks] == ' ') {
        blanks++;
    }
    return memcmp(in + blanks, "get ", 4) != 0 && memcmp(in + blanks, "gets ", 5) != 0;
}

// A get line longer than the input: its keys are answered as they come.
static size_t begin_long_get(struct session *session, const char *in, struct reply *reply) {
    size_t at = 0;
    while (in[at] == ' ') {
        at++;
    }
    bool is_gets = in[at + 3] == 's';
    session->get_kind = is_gets ? TEXT_GET_CAS : TEXT_GET_PLAIN;
    uint32_t number = is_gets ? COMMAND_gets : COMMAND_get;
    if (UNLIKELY(!session_permits(session, number))) {
        commands_put_refusal(session, number, reply);
        session->get_is_broken = true;
    }
    return at + (is_gets ? 5 : 4);
}

// One step in command mode. Returns the bytes consumed; 0 with *stop_out set when nothing more can
// be done now.
static size_t step(struct session *session, const char *in, size_t bytes, struct reply *reply,
                   int *stop_out) {
    if (session->get_kind != TEXT_GET_NONE) {
        bool is_full;
        size_t consumed_bytes = text_get_go_on(session, in, bytes, reply, &is_full);
        *stop_out = is_full ? SESSION_REPLY_FULL : consumed_bytes == 0 ? SESSION_NEEDS_INPUT : -1;
        return consumed_bytes;
    }
    const char *newline = memchr(in, '\n', bytes);
    if (!newline) {
        if (is_endless(session, in, bytes)) {
            session->mode = MODE_CLOSE;
            return bytes;
        }
        if (bytes > LINE_BYTES_MAX) {
            return begin_long_get(session, in, reply);
        }
        *stop_out = SESSION_NEEDS_INPUT;
        return 0;
    }
    size_t consumed_bytes = command_at(session, in, newline, in + bytes, reply);
    if (UNLIKELY(session->is_waiting)) {
        if (!session->is_busy) {
            meta_look_ahead(session, in, in + bytes);
        }
        return 0;
    }
    if (consumed_bytes == 0) {
        *stop_out = SESSION_NEEDS_INPUT;
    }
    return consumed_bytes;
}

// As memcached's -vv has it: the line that came, and the answer when it is one line.
static size_t logged_step(struct session *session, const char *in, size_t bytes,
                          struct reply *reply, int *stop_out) {
    bool begins = session->get_kind == TEXT_GET_NONE;
    const char *answer = reply->at;
    size_t consumed_bytes = step(session, in, bytes, reply, stop_out);
    const char *newline = memchr(in, '\n', bytes);
    if (begins && consumed_bytes > 0 && newline) {
        int shown = (int)(newline - in) - (newline > in && newline[-1] == '\r');
        session_show(session, '<', in, shown);
    }
    const char *end = reply->at;
    bool ends_get = !begins && session->get_kind == TEXT_GET_NONE;
    if (ends_get && end - answer > 5 && memcmp(end - 5, "END\r\n", 5) == 0) {
        answer = end - 5;    // Values are not shown.
    }
    if (end - answer > 2 && memchr(answer, '\n', (size_t)(end - answer)) == end - 1) {
        session_show(session, '>', answer, (int)(end - answer) - 2);
    }
    return consumed_bytes;
}

// What the answer to a step was, for watchers of errors. A get's error ends what it was answered.
static void watch_step(struct session *session, const char *in, size_t bytes, const char *answer,
                       const char *end, bool was_in_get) {
    if (was_in_get) {
        const char *last = end - 1;
        while (last > answer && last[-1] != '\n') {
            last--;
        }
        bool has_ended = session->get_kind == TEXT_GET_NONE || session->get_is_broken;
        answer = has_ended && end > answer ? last : end;
        in = "get";
        bytes = 3;
    }
    session_watch_answer(session, in, bytes, answer, (size_t)(end - answer));
}

// A step that is shown (-vv), or of which watchers are told.
static size_t observed_step(struct session *session, const char *in, size_t bytes,
                            struct reply *reply, int *stop_out) {
    const char *answer = reply->at;
    bool was_in_get = session->get_kind != TEXT_GET_NONE;
    size_t consumed_bytes = session->is_verbose ? logged_step(session, in, bytes, reply, stop_out)
                                                : step(session, in, bytes, reply, stop_out);
    if (watch_wants(&session_store(session)->watch, WATCH_ERRORS) && consumed_bytes > 0) {
        watch_step(session, in, bytes, answer, reply->at, was_in_get);
    }
    return consumed_bytes;
}

// The same for the bytes of a value.
static size_t observed_value(struct session *session, const char *in, size_t bytes,
                             struct reply *reply) {
    static const char *const commands[] = {"set", "add", "replace", "append", "prepend"};
    char line[KEY_BYTES_MAX + 16];
    const char *answer = reply->at;
    const struct store_write *write = &session->value->write;
    int line_bytes = snprintf(line, sizeof line, "%s %.*s", commands[write->mode],
                              (int)write->key_bytes, write->key);
    size_t consumed_bytes = session_value_feed(session, in, bytes, reply);
    size_t answer_bytes = (size_t)(reply->at - answer);
    if (!watch_wants(&session_store(session)->watch, WATCH_ERRORS)) {
        return consumed_bytes;
    }
    if (session->protocol == SESSION_BINARY) {
        const char *key = strchr(line, ' ') + 1;
        binary_watch_answer(session, (struct token){key, (uint32_t)(line + line_bytes - key)},
                            answer, answer_bytes);
    } else {
        session_watch_answer(session, line, (size_t)line_bytes, answer, answer_bytes);
    }
    return consumed_bytes;
}

// After a step of a session that has to do with flash or a busy bucket. Returns why the feed stops,
// -1 when it goes on.
static int after_step(struct session *session, int stop) {
    if (session->is_waiting) {
        return session->is_busy ? SESSION_BUSY : SESSION_ON_FLASH;
    }
    if (session->get_kind == TEXT_GET_NONE) {
        session->busy_rounds = 0;    // A command is done, not only the beginning of a get.
    }
    session->has_vivified = false;
    session_settle(session);
    return stop;
}

// Where clients have to log in, a protocol is open only with a login of its own: no door leads past
// it.
static bool is_open(const struct session *session) {
    const struct arena *arena = session_store(session)->arena;
    bool asks_text = live_get(arena, LIVE_auth_required);
    bool asks_binary = live_get(arena, LIVE_sasl_enabled);
    return session->protocol == SESSION_BINARY ? asks_binary || !asks_text
                                               : asks_text || !asks_binary;
}

// A connection's first byte chooses its protocol, as in memcached. A text client of a binary door
// would wait for ever for its answer.
static void begin(struct session *session, const char *in) {
    bool is_binary = (unsigned char)in[0] == BINARY_REQUEST;
    session->has_begun = true;
    if (session->protocol == SESSION_NEGOTIATES) {
        session->protocol = is_binary ? SESSION_BINARY : SESSION_ASCII;
    }
    if ((session->protocol == SESSION_BINARY && !is_binary) || !is_open(session)) {
        count(session_store(session)->proc, COUNTER_protocol_refused, 1);
        session->mode = MODE_CLOSE;
    }
}

// Why a session that takes no input stops.
static int stop_of_mode(int mode) {
    return mode == MODE_PARKED    ? SESSION_PARKED
           : mode == MODE_DELAYED ? SESSION_DELAYED
                                  : SESSION_CLOSE;
}

// A step of a session that is looked at by the log or a watcher, or speaks the binary protocol.
static __attribute__((noinline)) size_t other_step(struct session *session, const char *in,
                                                   size_t bytes, struct reply *reply,
                                                   int *stop_out) {
    if (session->protocol != SESSION_BINARY) {
        return observed_step(session, in, bytes, reply, stop_out);
    }
    return UNLIKELY(session->is_observed)
               ? binary_observed_step(session, in, bytes, reply, stop_out)
               : binary_step(session, in, bytes, reply, stop_out);
}

int session_feed(struct session *session, const char *in, size_t bytes, struct reply *reply,
                 size_t *consumed_out) {
    size_t at = 0;
    int stop = -1;
    bool is_resumed = session->is_waiting;
    session->is_waiting = session->is_busy = session->awaits_value = false;
    session->fetched_until = NULL;
    session->is_verbose = live_get(session_store(session)->arena, LIVE_verbosity) > 1;
    session->is_observed =
        session->is_verbose || watch_wants(&session_store(session)->watch, WATCH_ERRORS);
    if (UNLIKELY(!session->has_begun) && bytes > 0) {
        begin(session, in);
    }
    bool is_plain = !session->is_observed && session->protocol != SESSION_BINARY;
    while (stop < 0) {
        if (UNLIKELY(session->mode >= MODE_PARKED)) {
            stop = stop_of_mode(session->mode);
        } else if (at == bytes && LIKELY(!is_resumed)) {
            stop = SESSION_NEEDS_INPUT;
        } else if (UNLIKELY(reply_is_full(reply))) {
            stop = SESSION_REPLY_FULL;
        } else if (session->mode == MODE_COMMAND && session->get_kind == TEXT_GET_NONE
                   && session_has_had_its_turn(session, 0)) {
            stop = SESSION_YIELD;
        } else if (LIKELY(session->mode == MODE_COMMAND)) {
            at += LIKELY(is_plain) ? step(session, in + at, bytes - at, reply, &stop)
                                   : other_step(session, in + at, bytes - at, reply, &stop);
        } else if (session->mode == MODE_VALUE) {
            at += UNLIKELY(session->is_observed)
                      ? observed_value(session, in + at, bytes - at, reply)
                      : session_value_feed(session, in + at, bytes - at, reply);
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
