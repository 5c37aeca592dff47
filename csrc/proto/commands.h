// The commands of the server, as commands.def lists them: their words and what each takes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The commands are numbered from 0 in the order of their rows; a number must be below the count.
uint32_t commands_count(void);
// The word that clients write.
const char *commands_word(uint32_t number);
// What a client needs to be allowed for it: bits of enum session_right, 0 for what anybody may.
uint32_t commands_rights(uint32_t number);
// Whether the session leaves it to Python: it parks with the line, and pymc/control answers.
bool commands_is_administrative(uint32_t number);
