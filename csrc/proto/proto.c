// What all conversations of a process share.
#include <stdio.h>
#include <stdlib.h>

#include "proto/commands_internal.h"

int proto_open(struct store *store, const char *version, struct proto **proto_out) {
    struct proto *proto = calloc(1, sizeof *proto);
    struct command *rows = calloc(COMMANDS, sizeof *rows);
    struct command_slot *commands = calloc(COMMAND_SLOTS, sizeof *commands);
    if (!proto || !rows || !commands) {
        free(proto);
        free(rows);
        free(commands);
        return PYMC_NO_MEMORY;
    }
    commands_open(rows, commands);
    proto->command_rows = rows;
    proto->commands = commands;
    proto->store = store;
    snprintf(proto->version, sizeof proto->version, "%s", version ? version : "1.6.38");
    *proto_out = proto;
    return PYMC_OK;
}

void proto_disable_commands(struct proto *proto, const char *words) {
    const char *end = words ? words + strlen(words) : NULL;
    for (const char *at = words; at < end; at = token_end(at, end) + 1) {
        const struct command *command = commands_find(proto->commands, at, end);
        if (command) {
            proto->command_rows[command - proto->command_rows].rights |= COMMAND_DISABLED;
        }
    }
}

void proto_set_reader(struct proto *proto, struct flash_reader *reader) {
    proto->reader = reader;
}

void proto_set_log(struct proto *proto, struct log *log) {
    proto->log = log;
}

void proto_close(struct proto *proto) {
    if (proto) {
        while (proto->flash_free) {
            struct session_flash *room = proto->flash_free;
            proto->flash_free = room->next_free;
            free(room);
        }
        free(proto->text_users.lines);
        free(proto->sasl_users.lines);
        free(proto->commands);
        free(proto->command_rows);
        free(proto);
    }
}
