// SASL: PLAIN, in one step or in two.
#include "proto/binary/binary_internal.h"

#define MECHANISM "PLAIN"
#define MECHANISM_BYTES_MAX 32

// What a client of PLAIN says: whom it acts for, who it is and its password, with a NUL between.
static bool is_right(const struct session *session, const char *said, uint32_t bytes) {
    const char *end = said + bytes;
    const char *user = memchr(said, '\0', bytes);
    if (!user) {
        return false;
    }
    const char *acts_for = said;
    uint32_t acts_for_bytes = (uint32_t)(user++ - said);
    const char *password = memchr(user, '\0', (size_t)(end - user));
    if (!password) {
        return false;
    }
    uint32_t user_bytes = (uint32_t)(password++ - user);
    uint32_t password_bytes = (uint32_t)(end - password);
    // A client acts for itself. An entry without a password lets nobody in.
    if (user_bytes == 0 || password_bytes == 0
        || (acts_for_bytes
            && (acts_for_bytes != user_bytes || memcmp(acts_for, user, user_bytes) != 0))) {
        return false;
    }
    return session_is_known_user(&session->proto->sasl_users, user, user_bytes, password,
                                 password_bytes);
}

static bool is_off(const struct session *session, const struct binary_request *request,
                   struct reply *reply) {
    bool is_on = live_get(session_store(session)->arena, LIVE_sasl_enabled);
    if (!is_on) {
        binary_refuse(request, BINARY_UNKNOWN, reply);
    }
    return !is_on;
}

void binary_sasl_list(struct session *session, const struct binary_request *request,
                      struct reply *reply) {
    if (is_off(session, request, reply)) {
        return;
    }
    session->is_authenticated = false;    // As in memcached, where each of the three begins anew.
    binary_put_body(request->number, request->opaque, 0, MECHANISM, sizeof MECHANISM - 1, reply);
}

void binary_sasl_auth(struct session *session, const struct binary_request *request,
                      struct reply *reply) {
    if (is_off(session, request, reply)) {
        return;
    }
    if (request->key_bytes > MECHANISM_BYTES_MAX) {
        binary_refuse(request, BINARY_INVALID, reply);
        return;
    }
    struct proc *proc = session_store(session)->proc;
    bool is_step = request->opcode->variant != 0;
    bool may_step = session->sasl_has_begun;
    bool is_plain = request->key_bytes == sizeof MECHANISM - 1
                    && memcmp(request->key, MECHANISM, sizeof MECHANISM - 1) == 0;
    session->is_authenticated = session->sasl_has_begun = false;
    if (!is_step && is_plain && request->value_bytes == 0) {
        session->sasl_has_begun = true;
        char *at = binary_put_head(reply->at, (struct binary_head){.number = request->number,
                                                                   .status = BINARY_AUTH_CONTINUE,
                                                                   .opaque = request->opaque});
        reply->at = at;
        return;
    }
    count(proc, COUNTER_auth_cmds, 1);
    // The mechanism of a step is the one that was begun, whatever it says.
    if ((is_step ? may_step : is_plain)
        && is_right(session, request->value, request->value_bytes)) {
        session_note_good_login(session);
        binary_put_body(request->number, request->opaque, 0, "Authenticated",
                        sizeof "Authenticated" - 1, reply);
        return;
    }
    binary_refuse(request, BINARY_AUTH_ERROR, reply);
    session_note_failed_login(session);
}
