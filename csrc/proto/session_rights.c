// What a session may do: the rights of its client, commands that are disabled, and how a line is
// refused.
#include "proto/meta/meta_internal.h"
#include "proto/text/text_internal.h"

void session_set_rights(struct session *session, uint32_t rights) {
    session->rights = rights & SESSION_MAY_ALL;
}

bool session_permits(const struct session *session, uint32_t number) {
    return commands_lacking(session, &session->proto->command_rows[number]) == 0;
}

enum session_refusal session_refuse(const struct session *session, uint32_t number) {
    bool is_disabled = session->proto->command_rows[number].rights & COMMAND_DISABLED;
    count(session_store(session)->proc,
          is_disabled ? COUNTER_commands_disabled : COUNTER_commands_not_permitted, 1);
    return is_disabled ? SESSION_DISABLED : SESSION_LACKS_RIGHT;
}

uint32_t commands_extra_rights(const struct token *tokens, uint32_t words) {
    if (words < 2 || !token_is(&tokens[0], "stats")) {
        return 0;
    }
    bool only_shows = token_is(&tokens[1], "detail") && words > 2 && token_is(&tokens[2], "dump");
    bool changes = token_is(&tokens[1], "reset") || token_is(&tokens[1], "detail")
                   || token_is(&tokens[1], "sizes_enable") || token_is(&tokens[1], "sizes_disable");
    return changes && !only_shows ? SESSION_MAY_ADMIN : 0;
}

// How many bytes belong to a line that has a value behind it, as far as the line says so.
static uint64_t value_bytes(const struct command *command, const struct token *tokens,
                            uint32_t words) {
    uint32_t place = command->action.value == meta_set ? 2 : 4;
    int32_t bytes;
    bool is_said = words > place && token_i32(tokens[place].text, tokens[place].bytes, &bytes)
                   && bytes >= 0 && bytes <= INT32_MAX - 2;
    return is_said ? (uint64_t)bytes + 2 : 0;
}

// Whoever wrote noreply expects no answer to an error either. Meta commands do not know the word,
// key lists have it as a key, and so has a delete of two words.
static bool is_silenced(const struct command *command, const struct token *tokens, uint32_t words) {
    bool knows_noreply = command->form != COMMAND_FORM_KEYS && command->word[0] != 'm';
    return knows_noreply && words > command->words_min && token_is(&tokens[words - 1], "noreply");
}

void commands_put_refusal(const struct session *session, uint32_t number, struct reply *reply) {
    if (session_refuse(session, number) == SESSION_DISABLED) {
        const struct command *command = &session->proto->command_rows[number];
        REPLY_LITERAL(reply, "CLIENT_ERROR ");
        reply->at = reply_put_bytes(reply->at, command->word, command->word_bytes);
        REPLY_LITERAL(reply, " not allowed\r\n");
    } else {
        REPLY_LITERAL(reply, "CLIENT_ERROR not permitted\r\n");
    }
}

size_t commands_refuse(struct session *session, const struct command *command,
                       const struct command_line *line, struct reply *reply) {
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line->start, line->end, tokens);
    char *start = reply->at;
    commands_put_refusal(session, (uint32_t)(command - session->proto->command_rows), reply);
    reply->at = is_silenced(command, tokens, words) ? start : reply->at;
    if (command->form == COMMAND_FORM_VALUE) {
        session_swallow(session, value_bytes(command, tokens, words));
    }
    session_count_request(session);
    return (size_t)(line->body - line->start);
}
