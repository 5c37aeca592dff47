// What watchers of errors are told: each answer that says that something went wrong.
#include "proto/session_internal.h"

#define COMMAND_BYTES_MAX 32

void session_set_peer(struct session *session, uint32_t connection, uint8_t family, uint16_t port,
                      const uint8_t *address, bool is_datagram) {
    session->peer_is_datagram = is_datagram;
    session->connection = connection;
    session->peer_family = family;
    session->peer_port = port;
    session->peer_address = address;
}

bool session_has_quit(const struct session *session) {
    return session->has_quit;
}

void session_watch_error(struct session *session, struct token command, struct token key,
                         struct token reason) {
    static const uint8_t nowhere[16];
    char text[256];
    uint32_t command_bytes = command.bytes < COMMAND_BYTES_MAX ? command.bytes : COMMAND_BYTES_MAX;
    uint32_t room = (uint32_t)sizeof text - command_bytes - 1;
    uint32_t reason_bytes = reason.bytes < room ? reason.bytes : room;
    memcpy(text, command.text, command_bytes);
    text[command_bytes] = ' ';
    memcpy(text + command_bytes + 1, reason.text, reason_bytes);
    struct watch_event event = {.kind = WATCH_ERROR,
                                .connection = session->connection,
                                .family = session->peer_address ? session->peer_family : 1,
                                .port = session->peer_port,
                                .is_datagram = session->peer_is_datagram,
                                .address = session->peer_address ? session->peer_address : nowhere,
                                .key = key.text,
                                .key_bytes = key.bytes,
                                .text = text,
                                .text_bytes = command_bytes + 1 + reason_bytes};
    watch_note(&session_store(session)->watch, WATCH_ERRORS, &event);
}

void session_watch_handshake(struct session *session, const char *reason) {
    session_watch_error(session, (struct token){"tls_handshake", 13}, (struct token){"", 0},
                        (struct token){reason, (uint32_t)strlen(reason)});
}

// The next word of a line; empty at its end.
static struct token next_word(const char **at, const char *end) {
    while (*at < end && **at == ' ') {
        ++*at;
    }
    const char *start = *at;
    while (*at < end && (unsigned char)**at > ' ') {
        ++*at;
    }
    return (struct token){start, (uint32_t)(*at - start)};
}

static bool starts_with(const char *text, size_t bytes, const char *start) {
    size_t start_bytes = strlen(start);
    return bytes >= start_bytes && memcmp(text, start, start_bytes) == 0;
}

bool session_is_error(const char *answer, size_t bytes) {
    return starts_with(answer, bytes, "ERROR") || starts_with(answer, bytes, "CLIENT_ERROR ")
           || starts_with(answer, bytes, "SERVER_ERROR ");
}

void session_watch_answer(struct session *session, const char *line, size_t line_bytes,
                          const char *answer, size_t bytes) {
    if (!session_is_error(answer, bytes)) {
        return;
    }
    const char *at = line;
    const char *newline = memchr(line, '\n', line_bytes);
    const char *end = newline ? newline : line + line_bytes;
    struct token command = next_word(&at, end);
    struct token key = next_word(&at, end);
    const char *answer_end = memchr(answer, '\r', bytes);
    size_t reason_bytes = answer_end ? (size_t)(answer_end - answer) : bytes;
    session_watch_error(session, command, key, (struct token){answer, (uint32_t)reason_bytes});
}
