// Values that come in pieces, whatever protocol brings them: into their item as they come, or
// thrown away.
#include <stdlib.h>

#include "proto/execute_internal.h"

enum session_value_way session_value_way(const struct session *session,
                                         const struct store_write *write, uint32_t line_end_bytes,
                                         const char *line_start, const char *body,
                                         size_t body_bytes) {
    if (UNLIKELY(body_bytes < (size_t)write->value_bytes + line_end_bytes)) {
        uint64_t come = body_bytes + session->arrived_bytes;
        bool may_wait = body - line_start <= LINE_BYTES_MAX
                        && (write->value_bytes <= VALUE_BUFFERED_MAX || come < VALUE_BUFFERED_MAX)
                        && store_fits(session_store(session), write);
        return may_wait ? VALUE_MAY_WAIT : VALUE_COMES_LATER;
    }
    // A length that the compiler knows costs no call.
    bool is_ended = line_end_bytes == 0 || memcmp(body + write->value_bytes, "\r\n", 2) == 0;
    return LIKELY(is_ended) ? VALUE_IS_WHOLE : VALUE_COMES_LATER;
}

void session_value_init(struct session_value *value, const struct store_write *write) {
    value->write = *write;
    memcpy(value->key, write->key, write->key_bytes);
    value->write.key = value->key;
    value->line_end_bytes = 2;
    value->trailer_seen = 0;
    value->trailer_bad = false;
    value->is_quiet = value->forgets_refused = false;
}

void session_swallow(struct session *session, uint64_t bytes) {
    session->swallow_bytes = bytes;
    session->mode = bytes ? MODE_SWALLOW : MODE_COMMAND;
}

static void answer(const struct session_value *value, int outcome,
                   const struct store_result *result, struct reply *reply) {
    if (!value->is_quiet) {
        value->answer(value, outcome, result, reply);
    }
}

void session_value_begin(struct session *session, struct session_value *value,
                         struct reply *reply) {
    static const struct store_result none;
    if (!value) {
        // Without a buffer there is no way to know how much to skip.
        space_refused(session_store(session), COUNTER_oom_process_memory);
        REPLY_LITERAL(reply, "SERVER_ERROR out of memory reading request\r\n");
        session->mode = MODE_CLOSE;
        return;
    }
    int outcome = execute_begin(session, &value->write, value->forgets_refused, &value->making);
    if (outcome == STORE_ROOM_MADE) {
        session->value = value;
        session->mode = MODE_VALUE;
        return;
    }
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        answer(value, outcome, &none, reply);
        session_swallow(session, (uint64_t)value->write.value_bytes + value->line_end_bytes);
    }
    free(value);
}

void session_value_drop(struct session *session) {
    if (session->value) {
        store_abandon(session_store(session), &session->value->making);
        free(session->value);
        session->value = NULL;
    }
}

// There was no room for the next part: the answer comes at once, and the rest of the value is
// thrown away.
static void give_up(struct session *session, struct reply *reply) {
    static const struct store_result none;
    struct session_value *value = session->value;
    uint64_t missing_bytes = value->making.value_bytes - value->making.filled_bytes;
    int outcome = execute_give_up(session, &value->write, value->forgets_refused, &value->making);
    if (UNLIKELY(outcome == EXECUTE_WAITS)) {
        return;    // What has come of it stays until this is done again.
    }
    answer(value, outcome, &none, reply);
    missing_bytes += value->line_end_bytes;
    session_value_drop(session);
    session_swallow(session, missing_bytes);
}

static void finish(struct session *session, struct reply *reply) {
    struct session_value *value = session->value;
    struct store_result result;
    if (value->trailer_bad) {
        if (!value->is_quiet) {
            REPLY_LITERAL(reply, "CLIENT_ERROR bad data chunk\r\n");
        }
    } else {
        int outcome = execute_commit(session, &value->write, &value->making, &result);
        if (UNLIKELY(outcome == EXECUTE_WAITS)) {
            return;    // The value stays as it is until this is done again.
        }
        answer(value, outcome, &result, reply);
    }
    // Unless it was stored: the old value may have found no room.
    session_value_drop(session);
    session->mode = MODE_COMMAND;
}

// The line end behind a value. Returns how much of it was there.
static size_t take_trailer(struct session_value *value, const char *in, size_t bytes) {
    size_t at = 0;
    while (at < bytes && value->trailer_seen < value->line_end_bytes) {
        value->trailer_bad |= in[at++] != "\r\n"[value->trailer_seen++];
    }
    return at;
}

size_t session_value_feed(struct session *session, const char *in, size_t bytes,
                          struct reply *reply) {
    struct session_value *value = session->value;
    struct store *store = session_store(session);
    size_t at = 0;
    char *place;
    uint32_t fits;
    while (at < bytes && (fits = store_making_span(store, &value->making, &place)) > 0) {
        size_t piece = bytes - at < fits ? bytes - at : fits;
        racy_write(place, in + at, piece);
        value->making.filled_bytes += (uint32_t)piece;
        at += piece;
    }
    bool is_filled = value->making.filled_bytes == value->making.value_bytes;
    if (UNLIKELY(at < bytes && !is_filled)) {
        give_up(session, reply);
        return at;
    }
    if (is_filled) {
        at += take_trailer(value, in + at, bytes - at);
    }
    if (is_filled && value->trailer_seen == value->line_end_bytes) {
        finish(session, reply);
    }
    return at;
}

size_t session_direct_place(struct session *session, size_t ahead_bytes, char **place_out,
                            bool *is_last_out) {
    *is_last_out = false;
    if (session->mode != MODE_VALUE) {
        return 0;
    }
    const struct store_making *making = &session->value->making;
    uint32_t ahead = (uint32_t)ahead_bytes;
    uint32_t fits = store_making_span_ahead(session_store(session), making, ahead, place_out);
    *is_last_out = making->filled_bytes + ahead + fits == making->value_bytes;
    // A value that nothing closes ends in session_feed() all the same: that gets its last byte.
    return fits - (*is_last_out && session->value->line_end_bytes == 0 && fits > 0);
}

void session_direct_filled(struct session *session, size_t bytes) {
    session->value->making.filled_bytes += (uint32_t)bytes;
}
