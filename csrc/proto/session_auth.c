// Users and passwords, and the one command that a client has before it named itself.
#include <stdlib.h>

#include "proto/session_internal.h"

static int set_users(struct session_users *users, const char *lines, uint32_t byte_count) {
    char *copy = NULL;
    if (lines) {
        copy = malloc(byte_count + 1u);
        if (!copy) {
            return PYMC_NO_MEMORY;
        }
        memcpy(copy, lines, byte_count);
    }
    free(users->lines);
    *users = (struct session_users){copy, lines ? byte_count : 0};
    return PYMC_OK;
}

int proto_set_auth(struct proto *proto, const char *lines, uint32_t byte_count) {
    return set_users(&proto->text_users, lines, byte_count);
}

int proto_set_sasl(struct proto *proto, const char *lines, uint32_t byte_count) {
    return set_users(&proto->sasl_users, lines, byte_count);
}

// Takes the same time whatever differs, for passwords.
static bool is_same(const char *a, uint32_t a_bytes, const char *b, uint32_t b_bytes) {
    uint32_t difference = a_bytes ^ b_bytes;
    for (uint32_t i = 0; i < b_bytes; i++) {
        difference |=
            (uint32_t)((unsigned char)b[i] ^ (unsigned char)(a_bytes ? a[i % a_bytes] : 0));
    }
    return difference == 0;
}

bool session_is_known_user(const struct session_users *users, const char *user, uint32_t user_bytes,
                           const char *password, uint32_t password_bytes) {
    const char *at = users->lines;
    const char *end = at + users->bytes;
    bool is_known = false;
    while (at && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        const char *colon = memchr(at, ':', (size_t)(line_end - at));
        if (colon) {
            bool user_fits = is_same(at, (uint32_t)(colon - at), user, user_bytes);
            bool password_fits =
                is_same(colon + 1, (uint32_t)(line_end - colon - 1), password, password_bytes);
            is_known |= user_fits & password_fits;
        }
        at = line_end + 1;
    }
    return is_known;
}

static struct client_address address_of(const struct session *session) {
    struct client_address address = {.family = 1};
    if (session->peer_address) {
        address.family = session->peer_family;
        memcpy(address.bytes, session->peer_address, sizeof address.bytes);
    }
    return address;
}

static void hold_back(struct session *session, uint32_t seconds) {
    session->delay_seconds = (uint8_t)seconds;
    session->mode = seconds ? MODE_DELAYED : session->mode;
}

void session_note_failed_login(struct session *session) {
    struct store *store = session_store(session);
    struct client_address address = address_of(session);
    count(store->proc, COUNTER_auth_errors, 1);
    hold_back(session, addresses_note_failed_login(store, &address));
}

void session_note_good_login(struct session *session) {
    struct client_address address = address_of(session);
    session->is_authenticated = true;
    hold_back(session, addresses_good_login_delay(session_store(session), &address));
}

// Before authentication only a `set` with the credentials as its value means anything.
bool session_authenticate(struct session *session, const char *line, const char *line_end,
                          const char *body, size_t body_bytes, struct reply *reply,
                          size_t *consumed) {
    struct token tokens[TOKENS_MAX];
    uint32_t words = tokens_split(line, line_end, tokens);
    uint32_t value_bytes;
    *consumed = 0;
    if (words > 0 && token_is(&tokens[0], "quit")) {
        session->mode = MODE_CLOSE;
        session->has_quit = true;
        return true;
    }
    if (words < 5 || !token_is(&tokens[0], "set")
        || !token_u32(tokens[4].text, tokens[4].bytes, &value_bytes) || value_bytes > 1024
        || body - line > LINE_BYTES_MAX) {
        reply_line(reply, "CLIENT_ERROR unauthenticated");
        return true;
    }
    if (body_bytes < value_bytes + 2) {
        return false;
    }
    *consumed = value_bytes + 2;
    const char *space = memchr(body, ' ', value_bytes);
    const char *error = NULL;
    if (memcmp(body + value_bytes, "\r\n", 2) != 0) {
        error = "CLIENT_ERROR bad command line termination";
    } else if (!space) {
        error = "CLIENT_ERROR bad authentication token format";
    } else if (!session_is_known_user(&session->proto->text_users, body, (uint32_t)(space - body),
                                      space + 1, (uint32_t)(body + value_bytes - space - 1))) {
        error = "CLIENT_ERROR authentication failure";
    }
    // What is no token at all is no attempt either.
    count(session_store(session)->proc, COUNTER_auth_cmds, space != NULL);
    if (error) {
        reply_line(reply, error);
        if (space) {
            session_note_failed_login(session);
        }
        return true;
    }
    session_note_good_login(session);
    REPLY_LITERAL(reply, "STORED\r\n");
    return true;
}
