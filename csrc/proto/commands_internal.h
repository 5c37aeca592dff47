// A row of commands.def as the protocol's files see it, and how a command's word is looked up.
#pragma once

#include "proto/commands.h"
#include "proto/session_internal.h"

#define COMMAND_WORDS_ANY 255

// The commands' numbers: COMMAND_get and so on.
enum command_number {
#define KEYS(name, ...) COMMAND_##name,
#define VALUE(name, ...) COMMAND_##name,
#define LINE(name, ...) COMMAND_##name,
#define PYTHON(name, ...) COMMAND_##name,
#include "proto/commands.def"
#undef KEYS
#undef VALUE
#undef LINE
#undef PYTHON
    COMMANDS
};

// What no session may, as one more bit beside enum session_right: the operator disabled the
// command.
#define COMMAND_DISABLED 0x80

// A command's line in the input.
struct command_line {
    const char *start;    // Its first word.
    const char *end;      // Behind its last word.
    const char *body;     // Behind its line end: where a value begins.
    size_t body_bytes;    // So many are there.
};

// How much input a command of the form VALUE was answered with.
enum command_took {
    COMMAND_TOOK_ALL,     // The line, and so many bytes of the body as it says.
    COMMAND_TOOK_NONE,    // It needs more input, or the session is parked.
};

// Begins a key list, and returns how many bytes of the line are done with; text_get_go_on() has the
// rest.
typedef size_t (*command_keys_action)(struct session *session, const struct command_line *line,
                                      int variant, struct reply *reply);
// Answers a command with a value, or turns to receiving it. The tokens are those of its line.
typedef enum command_took (*command_value_action)(struct session *session,
                                                  const struct command_line *line,
                                                  struct token *tokens, uint32_t words, int variant,
                                                  struct reply *reply, size_t *body_consumed);
// Answers a command that is a line. When the session is parked, nothing was answered.
typedef void (*command_line_action)(struct session *session, struct token *tokens, uint32_t words,
                                    int variant, struct reply *reply);

enum command_form { COMMAND_FORM_KEYS, COMMAND_FORM_VALUE, COMMAND_FORM_LINE, COMMAND_FORM_PYTHON };

struct command {
    const char *word;
    uint8_t word_bytes;
    uint8_t form;
    uint8_t rights;    // Bits of enum session_right, and COMMAND_DISABLED.
    uint8_t words_min;
    uint8_t words_max;
    uint8_t variant;
    union {
        command_keys_action keys;
        command_value_action value;
        command_line_action line;
    } action;
};

// Commands are found by the first eight bytes of their word, in a table of the process with few of
// its places taken.
#define COMMAND_SLOTS 128
#define COMMAND_HEAD_BYTES 8
struct command_slot {
    uint64_t head;
    const struct command *command;    // NULL: free.
};
static inline uint32_t command_slot_of(uint64_t head) {
    return (uint32_t)(head * 0x9e3779b97f4a7c15ull >> 57);
}

// Copies the rows, COMMANDS of them, and fills the table of a process, COMMAND_SLOTS places, with
// them.
void commands_open(struct command *rows, struct command_slot *slots);
// What a line of the command takes besides the rights of its row: `stats reset` is for
// administrators, `stats` is not.
uint32_t commands_extra_rights(const struct token *tokens, uint32_t words);

// The first bytes of a line as a number, those behind its end as zeroes. None behind it is read.
static inline uint64_t command_load(const char *line, uint32_t bytes) {
    uint64_t head = 0;
    if (LIKELY(bytes >= COMMAND_HEAD_BYTES)) {
        memcpy(&head, line, COMMAND_HEAD_BYTES);
    } else if (bytes >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, line, sizeof first);
        memcpy(&last, line + bytes - sizeof last, sizeof last);
        head = first | (uint64_t)last << 8 * (bytes - sizeof last);
    } else {
        for (uint32_t i = bytes; i > 0; i--) {
            head = head << 8 | (unsigned char)line[i - 1];
        }
    }
    return head;
}

// The word at the start of a line: its first bytes as a number, and how long it is.
static inline uint64_t command_head(const char *line, const char *end, uint32_t *word_bytes_out) {
    uint32_t bytes = (uint32_t)(end - line);
    uint64_t head = command_load(line, bytes);
    uint64_t blanks = token_blanks(head);
    if (LIKELY(blanks)) {
        *word_bytes_out = token_first(blanks);
        return head & ((1ull << 8 * *word_bytes_out) - 1);
    }
    const char *blank = bytes > COMMAND_HEAD_BYTES ? memchr(line, ' ', bytes) : NULL;
    *word_bytes_out = blank ? (uint32_t)(blank - line) : bytes;
    return head;
}

// The rights that the session lacks for the line of a command, 0 when it may.
static inline uint32_t commands_lacking(const struct session *session,
                                        const struct command *command) {
    return command->rights & ~(uint32_t)session->rights;
}
// Answers with why the session may not use a command, and counts that.
void commands_put_refusal(const struct session *session, uint32_t number, struct reply *reply);
// The same for a whole line, and counts the request. Returns how many bytes from its start on
// are done with; the value behind it will be swallowed.
size_t commands_refuse(struct session *session, const struct command *command,
                       const struct command_line *line, struct reply *reply);

// The command that the line begins with; NULL when there is none of that name.
static inline const struct command *commands_find(const struct command_slot *slots,
                                                  const char *line, const char *end) {
    uint32_t word_bytes;
    uint64_t head = command_head(line, end, &word_bytes);
    for (uint32_t at = command_slot_of(head);; at = (at + 1) % COMMAND_SLOTS) {
        const struct command *command = slots[at].command;
        if (!command) {
            return NULL;
        }
        if (slots[at].head == head && command->word_bytes == word_bytes
            && (LIKELY(word_bytes <= COMMAND_HEAD_BYTES)
                || memcmp(command->word, line, word_bytes) == 0)) {
            return command;
        }
    }
}
