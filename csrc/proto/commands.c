// The table of commands, made from commands.def.
#include "proto/commands_internal.h"

#include "proto/meta/meta_internal.h"
#include "proto/text/text_internal.h"

#define RIGHT_OPEN 0
#define RIGHT_READ SESSION_MAY_READ
#define RIGHT_WRITE SESSION_MAY_WRITE
#define RIGHT_READ_WRITE (SESSION_MAY_READ | SESSION_MAY_WRITE)
#define RIGHT_ADMIN SESSION_MAY_ADMIN
#define ROW(name, row_form, row_right, fewest, most, row_variant, ...)                             \
    {.word = #name,                                                                                \
     .word_bytes = sizeof(#name) - 1,                                                              \
     .form = COMMAND_FORM_##row_form,                                                              \
     .rights = RIGHT_##row_right,                                                                  \
     .words_min = fewest,                                                                          \
     .words_max = most,                                                                            \
     .variant = row_variant,                                                                       \
     .action = {__VA_ARGS__}},
#define KEYS(name, right, fewest, most, act, variant)                                              \
    ROW(name, KEYS, right, fewest, most, variant, .keys = act)
#define VALUE(name, right, fewest, most, act, variant)                                             \
    ROW(name, VALUE, right, fewest, most, variant, .value = act)
#define LINE(name, right, fewest, most, act, variant)                                              \
    ROW(name, LINE, right, fewest, most, variant, .line = act)
#define PYTHON(name, right) ROW(name, PYTHON, right, 1, COMMAND_WORDS_ANY, 0, .line = NULL)
static const struct command commands[] = {
#include "proto/commands.def"
};

// A search ends at a free place, and has to find one soon.
_Static_assert(COMMANDS <= COMMAND_SLOTS / 2, "too many commands for their table");

void commands_open(struct command *rows, struct command_slot *slots) {
    memcpy(rows, commands, sizeof commands);
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *command = &rows[i];
        uint32_t word_bytes;
        uint64_t head =
            command_head(command->word, command->word + command->word_bytes, &word_bytes);
        uint32_t at = command_slot_of(head);
        while (slots[at].command) {
            at = (at + 1) % COMMAND_SLOTS;
        }
        slots[at] = (struct command_slot){head, command};
    }
}

uint32_t commands_count(void) {
    return COMMANDS;
}

const char *commands_word(uint32_t number) {
    return commands[number].word;
}

uint32_t commands_rights(uint32_t number) {
    return commands[number].rights;
}

bool commands_is_administrative(uint32_t number) {
    return commands[number].form == COMMAND_FORM_PYTHON;
}
