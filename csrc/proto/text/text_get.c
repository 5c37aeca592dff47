// get, gets, gat, gats: keys are looked up in batches so that memory latencies overlap.
#include "proto/text/text_internal.h"

#define BATCH 24

struct wanted {
    const char *key;
    uint32_t key_bytes;
    bool ends_line;    // The last key of its command: END follows.
    bool is_key;       // False for a command whose key list was empty behind its last key.
    uint64_t hash;
};

// The line before a value.
static inline __attribute__((always_inline)) char *put_head(struct execute_get *get, char *at) {
    const struct link_view *view = get->view;
    at = PUT_LITERAL(at, "VALUE ");
    at = reply_put_bytes(at, get->key, get->key_bytes);
    *at++ = ' ';
    at = reply_put_u64(at, view->client_flags);
    *at++ = ' ';
    at = reply_put_u64(at, view->value_bytes);
    if (get->wants_cas) {
        *at++ = ' ';
        at = reply_put_u64(at, view->cas);
    }
    return PUT_LITERAL(at, "\r\n");
}

// put_head() as a function of its own, for reads that have to look again.
static char *put_head_again(struct execute_get *get, char *at) {
    return put_head(get, at);
}

// What came of a key, as far as its command goes.
static void count_key(struct store *store, const struct wanted *wanted, bool touches, int found) {
    count(store->proc, LIKELY(!touches) ? COUNTER_cmd_get : COUNTER_cmd_touch, 1);
    bool is_miss =
        found == STORE_MISS || found == STORE_MISS_EXPIRED || found == STORE_MISS_FLUSHED;
    count(store->proc, LIKELY(!touches) ? COUNTER_get_misses : COUNTER_touch_misses, is_miss);
    if (LIKELY(!touches) && (is_miss || found == STORE_HIT)) {
        prefix_count(store, wanted->key, wanted->key_bytes, PREFIX_GET, !is_miss);
    }
}

// Answers one key. Returns what execute_get() does.
static int get_one(struct session *session, const struct wanted *wanted, bool with_cas,
                   struct reply *reply) {
    struct link_view view;
    struct execute_get get = {.session = session,
                              .key = wanted->key,
                              .key_bytes = wanted->key_bytes,
                              .hash = wanted->hash,
                              .view = &view,
                              .put_head = put_head_again,
                              .wants_value = true,
                              .wants_cas = with_cas,
                              .is_counted = true,
                              .is_read = true};
    return execute_get(&get, put_head, reply);
}

// gat: the expiry changes with the look; counted as a touch only.
static int touch_one(struct session *session, const struct wanted *wanted, bool with_cas,
                     struct reply *reply) {
    struct link_view view;
    struct execute_get get = {.session = session,
                              .key = wanted->key,
                              .key_bytes = wanted->key_bytes,
                              .hash = wanted->hash,
                              .view = &view,
                              .put_head = put_head_again,
                              .wants_value = true,
                              .wants_cas = with_cas,
                              .is_counted = true,
                              .is_read = true,
                              .is_touch = true,
                              .is_changed = true,
                              .has_expiry = true,
                              .expiry_seconds = session->get_expiry};
    return execute_get(&get, put_head, reply);
}

// The error is the whole rest of a get's answer. Returns the last key of its line; when that is
// still to come, what follows is thrown away.
static uint32_t fail_get(struct session *session, const struct wanted *batch, uint32_t at,
                         uint32_t count_wanted, const char *error, struct reply *reply) {
    reply->at = reply_put_bytes(reply->at, error, strlen(error));
    while (!batch[at].ends_line) {
        if (at + 1 == count_wanted) {
            session->get_is_broken = true;
            break;
        }
        at++;
    }
    return at;
}

// The session is parked at the first key: what the others will want is read meanwhile.
static __attribute__((noinline)) void look_ahead(struct session *session,
                                                 const struct wanted *batch,
                                                 uint32_t count_wanted) {
    for (uint32_t i = 1; i < count_wanted; i++) {
        if (batch[i].is_key) {
            session_look_ahead(session, batch[i].key, batch[i].key_bytes, batch[i].hash);
        }
    }
}

// Answers the first `count_wanted` batched keys in order; stops early when the reply is full or the
// session is parked. Returns how many.
static uint32_t answer(struct session *session, const struct wanted *batch, uint32_t count_wanted,
                       struct reply *reply) {
    struct store *store = session_store(session);
    for (uint32_t i = 0; i < count_wanted; i++) {
        if (batch[i].is_key) {
            link_prefetch_items(store, batch[i].hash);
        }
    }
    bool with_cas = session->get_kind == TEXT_GET_CAS || session->get_kind == TEXT_GET_TOUCH_CAS;
    bool touches = session->get_kind >= TEXT_GET_TOUCH;
    for (uint32_t i = 0; i < count_wanted; i++) {
        if (UNLIKELY(reply_is_full(reply))) {
            return i;
        }
        if (LIKELY(batch[i].is_key)) {
            int found = LIKELY(!touches) ? get_one(session, &batch[i], with_cas, reply)
                                         : touch_one(session, &batch[i], with_cas, reply);
            if (UNLIKELY(found == EXECUTE_WAITS)) {
                if (!session->is_busy) {
                    look_ahead(session, batch + i, count_wanted - i);
                }
                return i;
            }
            count_key(store, &batch[i], touches, found);
            if (UNLIKELY(found == EXECUTE_BUSY || found == STORE_NO_MEMORY)) {
                i = fail_get(session, batch, i, count_wanted,
                             found == EXECUTE_BUSY
                                 ? REPLY_BUSY
                                 : "SERVER_ERROR out of memory writing get response\r\n",
                             reply);
                continue;
            }
        }
        if (batch[i].ends_line) {
            session_count_request(session);
            REPLY_LITERAL(reply, "END\r\n");
        }
    }
    return count_wanted;
}

// A blank, the line's end, or a NUL, which ends the line for the server.
static inline bool ends_key(char c) {
    return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\0');
}

// Behind the key that begins here: at what ends it, or at the end of the input.
static inline const char *key_end(const char *at, const char *end) {
    while (end - at >= 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof eight);
        uint64_t low = token_bytes_below(eight, ' ' + 1);
        if (!low) {
            at += 8;
            continue;
        }
        at += token_first(low);
        if (LIKELY(ends_key(*at))) {
            return at;
        }
        at++;    // Another control character: it is of the key.
    }
    while (at < end && !ends_key(*at)) {
        at++;
    }
    return at;
}

// Finds the next key of the list. Returns its end, or NULL when the input ends before the key does.
static const char *next_key(const char *at, const char *end, const char **key_out) {
    while (at < end && *at == ' ') {
        at++;
    }
    *key_out = at;
    at = key_end(at, end);
    return at < end ? at : NULL;
}

static const char *skip_line(const char *at, const char *end, bool *ended_out) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    *ended_out = newline != NULL;
    return newline ? newline + 1 : end;
}

// One step of the scan: a key, or the line's end. Returns the new position, NULL when more input is
// needed.
static const char *scan_key(const char *at, const char *end, struct wanted *wanted,
                            bool *too_long_out) {
    const char *key;
    const char *key_end = next_key(at, end, &key);
    if (!key_end) {
        *too_long_out = end - key > KEY_BYTES_MAX + 1;
        return NULL;
    }
    const char *trimmed = key_end;
    bool at_newline = *key_end != ' ';
    if (*key_end == '\n' && trimmed > key && trimmed[-1] == '\r') {
        trimmed--;
    }
    wanted->key = key;
    wanted->key_bytes = (uint32_t)(trimmed - key);
    wanted->is_key = trimmed > key;
    wanted->ends_line = at_newline;
    *too_long_out = trimmed - key > KEY_BYTES_MAX;
    if (!at_newline) {
        // Blanks before the line's end belong to this key, so that END comes with the last one.
        const char *next = key_end;
        while (next < end && *next == ' ') {
            next++;
        }
        if (next < end && (*next == '\n' || (*next == '\r' && next + 1 < end && next[1] == '\n'))) {
            wanted->ends_line = true;
            return next + (*next == '\r' ? 2 : 1);
        }
        return key_end;
    }
    if (UNLIKELY(*key_end == '\0')) {
        const char *newline = memchr(key_end, '\n', (size_t)(end - key_end));
        return newline ? newline + 1 : NULL;
    }
    return key_end + 1;
}

// True when a plain get whose line is all there, and too short for a bad key, starts here: it may
// join a batch.
static bool begins_short_get(const char *at, const char *end) {
    if (end - at < 6 || memcmp(at, "get ", 4) != 0 || at[4] <= ' ') {
        return false;
    }
    size_t window = (size_t)(end - at) < KEY_BYTES_MAX ? (size_t)(end - at) : KEY_BYTES_MAX;
    return memchr(at, '\n', window) != NULL;
}

static size_t break_get(struct session *session, const char *in, const char *at, const char *end,
                        struct reply *reply) {
    if (!session->get_is_broken) {
        reply_line(reply, "CLIENT_ERROR bad command line format");
    }
    bool ended;
    at = skip_line(at, end, &ended);
    session->get_is_broken = !ended;
    session->get_kind = ended ? TEXT_GET_NONE : session->get_kind;
    return (size_t)(at - in);
}

// Collects keys, of this command and of plain gets that follow it. Returns how many; *too_long_out
// tells why it ended.
static uint32_t collect(struct session *session, const char *scan, const char *end,
                        struct wanted *batch, const char **after, bool *too_long_out) {
    struct store *store = session_store(session);
    uint32_t filled = 0;
    uint32_t lines = 0;
    bool in_line = true;
    *too_long_out = false;
    while (filled < BATCH) {
        if (!in_line) {
            if (session->get_kind != TEXT_GET_PLAIN || session->is_observed
                || session_has_had_its_turn(session, lines) || !begins_short_get(scan, end)) {
                break;
            }
            scan += 4;
        }
        struct wanted *wanted = &batch[filled];
        const char *next = scan_key(scan, end, wanted, too_long_out);
        if (!next || *too_long_out) {
            break;
        }
        if (LIKELY(wanted->is_key)) {
            wanted->hash = link_hash(store, wanted->key, wanted->key_bytes);
            link_prefetch_bucket(store, wanted->hash);
        }
        in_line = !wanted->ends_line;
        lines += wanted->ends_line;
        after[filled++] = scan = next;
    }
    return filled;
}

size_t text_get_go_on(struct session *session, const char *in, size_t bytes, struct reply *reply,
                      bool *stop_out) {
    const char *at = in;
    const char *end = in + bytes;
    *stop_out = false;
    if (UNLIKELY(session->get_is_broken)) {
        return break_get(session, in, at, end, reply);
    }
    for (;;) {
        struct wanted batch[BATCH];
        const char *after[BATCH];
        bool too_long;
        uint32_t filled = collect(session, at, end, batch, after, &too_long);
        uint32_t answered = answer(session, batch, filled, reply);
        if (answered > 0) {
            at = after[answered - 1];
            if (batch[answered - 1].ends_line) {
                session->get_kind = TEXT_GET_NONE;
                *stop_out = answered < filled;
                return (size_t)(at - in);
            }
        }
        if (answered < filled) {
            *stop_out = true;
            return (size_t)(at - in);
        }
        if (too_long || UNLIKELY(session->get_is_broken)) {
            return break_get(session, in, at, end, reply);
        }
        if (filled < BATCH) {
            return (size_t)(at - in);
        }
    }
}

// A key that is too long anywhere in the line makes the whole command an error, before anything is
// answered.
static bool has_long_key(const char *keys, const char *end) {
    for (const char *key = keys; end - keys > KEY_BYTES_MAX && key < end;) {
        const char *start;
        const char *key_end = next_key(key, end + 1, &start);
        if (key_end - start > KEY_BYTES_MAX + (key_end[-1] == '\r' ? 1 : 0)) {
            return true;
        }
        if (*key_end != ' ') {
            break;    // A NUL ends the command; there is no way past it.
        }
        key = key_end;
    }
    return false;
}

size_t text_get_begin(struct session *session, const struct command_line *line, int variant,
                      struct reply *reply) {
    const char *at = line->start;
    const char *end = line->body - 1;
    const char *word;
    // Behind the command word, and for gat behind the expiry.
    at = next_key(at, end + 1, &word);
    if (variant >= TEXT_GET_TOUCH) {
        at = next_key(at, end + 1, &word);
        const char *word_end = at > word && at[-1] == '\r' ? at - 1 : at;
        int32_t expiry;
        if (!token_i32(word, (uint32_t)(word_end - word), &expiry)) {
            reply_line(reply, "CLIENT_ERROR invalid exptime argument");
            return (size_t)(line->body - line->start);
        }
        session->get_expiry = session_expiry(session, expiry);
    }
    if (has_long_key(at, end)) {
        reply_line(reply, "CLIENT_ERROR bad command line format");
        return (size_t)(line->body - line->start);
    }
    session->get_kind = (uint8_t)variant;
    return (size_t)(at - line->start);
}
