// The text protocol's commands, for commands.def and the feed loop.
#pragma once

#include "proto/commands_internal.h"
#include "proto/execute_internal.h"

// Which of the commands with a key list.
enum text_get_kind {
    TEXT_GET_NONE,
    TEXT_GET_PLAIN,
    TEXT_GET_CAS,
    TEXT_GET_TOUCH,
    TEXT_GET_TOUCH_CAS
};
// The variants of text_store() are the modes of a write, and this one.
#define TEXT_STORE_CAS (STORE_PREPEND + 1)
enum text_arith_kind { TEXT_INCR, TEXT_DECR };

// Begins a get-like command, of which text_get_go_on() answers the keys.
size_t text_get_begin(struct session *session, const struct command_line *line, int variant,
                      struct reply *reply);
// Reads keys of get commands from the input; returns bytes consumed. Sets *stop_out when it cannot
// go on.
size_t text_get_go_on(struct session *session, const char *in, size_t bytes, struct reply *reply,
                      bool *stop_out);

enum command_took text_store(struct session *session, const struct command_line *line,
                             struct token *tokens, uint32_t words, int variant, struct reply *reply,
                             size_t *body_consumed);

void text_arith(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply);
void text_touch(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply);
void text_delete(struct session *session, struct token *tokens, uint32_t words, int variant,
                 struct reply *reply);
void text_flush_all(struct session *session, struct token *tokens, uint32_t words, int variant,
                    struct reply *reply);
void text_version(struct session *session, struct token *tokens, uint32_t words, int variant,
                  struct reply *reply);
void text_quit(struct session *session, struct token *tokens, uint32_t words, int variant,
               struct reply *reply);
