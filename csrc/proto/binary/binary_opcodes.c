// The table of opcodes, made from opcodes.def.
#include "proto/binary/binary_internal.h"

#define QUIET true
#define LOUD false
#define ANYBODY true
#define USERS false
#define VALUE true
#define NO_VALUE false
#define NO_KEY BINARY_NO_KEY
#define KEY BINARY_KEY
#define ANY_KEY BINARY_ANY_KEY
#define ROW(code, word, text, row_form, loudness, who, extras, key_rule, value, act, row_variant)  \
    [code] = {.name = #word,                                                                       \
              .action = act,                                                                       \
              .form = BINARY_FORM_##row_form,                                                      \
              .command = COMMAND_##text,                                                           \
              .extras_bytes = extras,                                                              \
              .key = key_rule,                                                                     \
              .has_value = value,                                                                  \
              .is_quiet = loudness,                                                                \
              .is_for_anybody = who,                                                               \
              .variant = row_variant},
#define READS(code, word, command, loudness, extras, variant)                                      \
    ROW(code, word, command, READS, loudness, USERS, extras, KEY, NO_VALUE, NULL, variant)
#define STORES(code, word, command, loudness, extras, mode)                                        \
    ROW(code, word, command, STORES, loudness, USERS, extras, KEY, VALUE, NULL, mode)
#define WHOLE(code, word, command, loudness, who, extras, key, value, act, variant)                \
    ROW(code, word, command, WHOLE, loudness, who, extras, key, value, act, variant)
const struct binary_opcode binary_opcodes[BINARY_OPCODES] = {
#include "proto/binary/opcodes.def"
};
