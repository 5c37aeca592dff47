// get, gets, gat, gats: keys are looked up in batches so that memory latencies overlap.
#include "proto/session_internal.h"

#define BATCH 24

struct wanted {
    const char *key;
    uint32_t key_bytes;
    bool ends_line;    // The last key of its command: END follows.
    bool is_key;       // False for a command whose key list was empty behind its last key.
    uint64_t hash;
};

static char *put_header(char *at, const char *key, uint32_t key_bytes, const struct link_view *view,
                        bool with_cas) {
    at = PUT_LITERAL(at, "VALUE ");
    at = put_bytes(at, key, key_bytes);
    *at++ = ' ';
    at = put_u64(at, view->client_flags);
    *at++ = ' ';
    at = put_u64(at, view->value_bytes);
    if (with_cas) {
        *at++ = ' ';
        at = put_u64(at, view->cas);
    }
    return PUT_LITERAL(at, "\r\n");
}

static void count_miss(struct store *store, int found) {
    count(store->proc, COUNTER_get_misses, 1);
    link_count_dead(store, found);
}

enum answered { ANSWERED, ANSWERED_NO_MEMORY, ANSWERED_BUSY, ANSWERED_LATER, ANSWERED_NOT };

// The key's bucket is busy: what becomes of the get.
static __attribute__((noinline)) enum answered get_put_off(struct session *session) {
    return session_put_off(session) ? ANSWERED_LATER : ANSWERED_BUSY;
}

// A key that is not in memory, of which `view` is the look-up: answers from flash, or parks the
// session. ANSWERED_NOT: it is in memory now.
static __attribute__((noinline)) enum answered get_from_flash(struct session *session,
                                                              const struct wanted *wanted,
                                                              bool with_cas, struct link_view *view,
                                                              struct reply *reply) {
    struct store *store = session_store(session);
    struct flash_read *read;
    enum answered answered = ANSWERED;
    int found =
        flash_look(session, wanted->key, wanted->key_bytes, wanted->hash, true, false, view, &read);
    if (found == STORE_ON_FLASH) {
        return ANSWERED_LATER;
    }
    if (found == STORE_BUSY) {
        return get_put_off(session);
    }
    if (found == STORE_HIT && !read) {
        link_rule_out_none(store);    // The next key may be the one whose record was ruled out for
                                      // this one.
        return ANSWERED_NOT;
    }
    if (found == STORE_NO_MEMORY
        || (found == STORE_HIT
            && reply_put_record(
                   store, view,
                   put_header(reply->at, wanted->key, wanted->key_bytes, view, with_cas), reply)
                   == PUT_NO_MEMORY)) {
        count(store->proc, COUNTER_get_oom_extstore, 1);
        answered = ANSWERED_NO_MEMORY;
    } else if (found == STORE_HIT) {
        link_count_hit(store, view);
        count_prefix(store, wanted->key, wanted->key_bytes, PREFIX_GET, true);
        flash_note_read(session, read, view, wanted->key, wanted->hash);
    } else {
        count_miss(store, found);
        count_prefix(store, wanted->key, wanted->key_bytes, PREFIX_GET, false);
    }
    flash_settle(session);
    return answered;
}

static enum answered count_missing(struct store *store, const struct wanted *wanted, int found,
                                   const struct link_view *view) {
    count_miss(store, found);
    count_prefix(store, wanted->key, wanted->key_bytes, PREFIX_GET, false);
    if (found != STORE_MISS) {
        link_reap(store, view);
    }
    return ANSWERED;
}

// Puts the viewed value into the reply. The bucket of a view that has it locked is let go.
static inline enum put_result put_hit(struct store *store, const struct wanted *wanted,
                                      bool with_cas, struct link_view *view, struct reply *reply) {
    char *at = put_header(reply->at, wanted->key, wanted->key_bytes, view, with_cas);
    enum put_result put = reply_put_value(store, view, at, reply);
    if (LIKELY(put == PUT_DONE)) {
        link_count_hit(store, view);
        count_prefix(store, wanted->key, wanted->key_bytes, PREFIX_GET, true);
        if (UNLIKELY(link_wants_bump(store, view))) {
            link_bump(store, view);
        }
    }
    return put;
}

// get_one() where the first look, which came to `found`, was not enough. `has_changed`: the value
// changed under it.
static __attribute__((noinline)) enum answered get_again(struct session *session,
                                                         const struct wanted *wanted, bool with_cas,
                                                         int found, bool has_changed,
                                                         struct link_view *view,
                                                         struct reply *reply) {
    struct store *store = session_store(session);
    for (uint32_t round = 1; round < LINK_LOOKS_MAX; round++) {
        if (!has_changed && found == STORE_BUSY) {
            break;
        }
        if (!has_changed && found != STORE_HIT) {
            bool may_be_on_flash =
                (found == STORE_MISS || found == STORE_ON_FLASH) && session->proto->reader;
            enum answered answered = may_be_on_flash
                                         ? get_from_flash(session, wanted, with_cas, view, reply)
                                         : count_missing(store, wanted, found, view);
            if (answered != ANSWERED_NOT) {
                return answered;
            }
        }
        found = link_look(store, wanted->key, wanted->key_bytes, wanted->hash, round, view);
        has_changed = false;
        if (found == STORE_HIT) {
            enum put_result put = put_hit(store, wanted, with_cas, view, reply);
            link_let_go(store, view);
            if (put != PUT_CHANGED) {
                return put == PUT_DONE ? ANSWERED : ANSWERED_NO_MEMORY;
            }
            has_changed = true;
        }
    }
    return get_put_off(session);
}

static enum answered get_one(struct session *session, const struct wanted *wanted, bool with_cas,
                             struct reply *reply) {
    struct store *store = session_store(session);
    struct link_view view;
    int found = link_look(store, wanted->key, wanted->key_bytes, wanted->hash, 0, &view);
    if (LIKELY(found == STORE_HIT)) {
        enum put_result put = put_hit(store, wanted, with_cas, &view, reply);
        if (LIKELY(put != PUT_CHANGED)) {
            return LIKELY(put == PUT_DONE) ? ANSWERED : ANSWERED_NO_MEMORY;
        }
        return get_again(session, wanted, with_cas, found, true, &view, reply);
    }
    if (LIKELY(found != STORE_BUSY && (found != STORE_MISS || !session->proto->reader))) {
        return count_missing(store, wanted, found, &view);
    }
    return get_again(session, wanted, with_cas, found, false, &view, reply);
}

// A gat of what is not alive in memory. ANSWERED_NOT: it is in memory now.
static enum answered touch_missing(struct session *session, const struct wanted *wanted, int found,
                                   const struct link_view *view) {
    struct store *store = session_store(session);
    if (found == STORE_BUSY) {
        return get_put_off(session);
    }
    if ((found == STORE_MISS || found == STORE_ON_FLASH) && session->proto->reader) {
        int brought = flash_bring(session, wanted->key, wanted->key_bytes, wanted->hash, true);
        if (brought == STORE_HIT) {
            return ANSWERED_NOT;
        }
        if (brought == STORE_ON_FLASH) {
            return ANSWERED_LATER;
        }
        if (brought == STORE_BUSY) {
            return get_put_off(session);
        }
        flash_settle(session);
        if (brought == STORE_NO_MEMORY) {
            count(store->proc, COUNTER_get_oom_extstore, 1);
            return ANSWERED_NO_MEMORY;
        }
    }
    count(store->proc, COUNTER_touch_misses, 1);
    link_count_dead(store, found);
    if (found != STORE_MISS) {
        link_reap(store, view);
    }
    return ANSWERED;
}

// gat: the expiry changes first, then the value is read; both count as touch only. Done over again
// after a wait it may set the same expiry twice.
static enum answered touch_one(struct session *session, const struct wanted *wanted, bool with_cas,
                               struct reply *reply) {
    struct store *store = session_store(session);
    struct store_mark mark = {
        .has_expiry = true, .expiry_seconds = session->get_expiry, .is_read = true};
    struct link_view view;
    bool is_marked = false;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        int found = link_look(store, wanted->key, wanted->key_bytes, wanted->hash, round, &view);
        bool is_gone_by_touch = is_marked && found == STORE_MISS_EXPIRED;
        if (found != STORE_HIT && !is_gone_by_touch) {
            enum answered answered = touch_missing(session, wanted, found, &view);
            if (answered != ANSWERED_NOT) {
                return answered;
            }
            continue;
        }
        if (!is_marked) {
            int marked = store_mark(store, &view, wanted->key, wanted->hash, &mark);
            if (marked == STORE_BUSY) {
                break;
            }
            is_marked = marked != STORE_LOOK_AGAIN;
            continue;
        }
        char *at = put_header(reply->at, wanted->key, wanted->key_bytes, &view, with_cas);
        enum put_result put = reply_put_value(store, &view, at, reply);
        link_let_go(store, &view);
        if (put == PUT_DONE) {
            class_count(store, view.class_id, CLASS_touch_hits, 1);
            if (UNLIKELY(session->flash)) {
                flash_settle(session);
            }
            return ANSWERED;
        }
        if (put == PUT_NO_MEMORY) {
            return ANSWERED_NO_MEMORY;
        }
    }
    return get_put_off(session);
}

// The error is the whole rest of a get's answer. Returns the last key of its line; when that is
// still to come, what follows is thrown away.
static uint32_t fail_get(struct session *session, const struct wanted *batch, uint32_t at,
                         uint32_t count_wanted, const char *error, struct reply *reply) {
    reply_line(reply, error);
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
            flash_look_ahead(session, batch[i].key, batch[i].key_bytes, batch[i].hash);
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
    bool with_cas = session->get_kind == GET_CAS || session->get_kind == GET_TOUCH_CAS;
    bool touches = session->get_kind >= GET_TOUCH;
    for (uint32_t i = 0; i < count_wanted; i++) {
        if (UNLIKELY(reply_is_full(reply))) {
            return i;
        }
        if (LIKELY(batch[i].is_key)) {
            enum answered answered = LIKELY(!touches)
                                         ? get_one(session, &batch[i], with_cas, reply)
                                         : touch_one(session, &batch[i], with_cas, reply);
            if (UNLIKELY(answered == ANSWERED_LATER)) {
                if (!session->is_busy) {
                    look_ahead(session, batch + i, count_wanted - i);
                }
                return i;
            }
            count(store->proc, LIKELY(!touches) ? COUNTER_cmd_get : COUNTER_cmd_touch, 1);
            if (UNLIKELY(answered != ANSWERED)) {
                i = fail_get(session, batch, i, count_wanted,
                             answered == ANSWERED_BUSY
                                 ? REPLY_BUSY
                                 : "SERVER_ERROR out of memory writing get response",
                             reply);
                continue;
            }
        }
        if (batch[i].ends_line) {
            count(store->proc, COUNTER_requests, 1);
            REPLY_LITERAL(reply, "END\r\n");
        }
    }
    return count_wanted;
}

// A blank, the line's end, or a NUL, which ends the line for the server.
static inline bool ends_key(char c) {
    return (unsigned char)c <= ' ' && (c == ' ' || c == '\n' || c == '\0');
}

// Finds the next key of the list. Returns its end, or NULL when the input ends before the key does.
static const char *next_key(const char *at, const char *end, const char **key_out) {
    while (at < end && *at == ' ') {
        at++;
    }
    *key_out = at;
    while (at < end && !ends_key(*at)) {
        at++;
    }
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
    session->get_kind = ended ? GET_NONE : session->get_kind;
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
            if (session->get_kind != GET_PLAIN || session->is_verbose
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

size_t text_gets(struct session *session, const char *in, size_t bytes, struct reply *reply,
                 bool *full_out) {
    const char *at = in;
    const char *end = in + bytes;
    *full_out = false;
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
                session->get_kind = GET_NONE;
                *full_out = answered < filled;
                return (size_t)(at - in);
            }
        }
        if (answered < filled) {
            *full_out = true;
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

size_t text_get_begin(struct session *session, const char *line, const char *end,
                      enum get_kind kind, struct reply *reply) {
    const char *at = line;
    const char *word;
    // Behind the command word, and for gat behind the expiry.
    at = next_key(at, end + 1, &word);
    if (kind >= GET_TOUCH) {
        at = next_key(at, end + 1, &word);
        const char *word_end = at > word && at[-1] == '\r' ? at - 1 : at;
        int32_t expiry;
        if (!token_i32(word, (uint32_t)(word_end - word), &expiry)) {
            reply_line(reply, "CLIENT_ERROR invalid exptime argument");
            return (size_t)(end + 1 - line);
        }
        session->get_expiry = expiry_from_client(session_store(session), expiry);
    }
    // A key that is too long anywhere in the line spoils the whole command, before anything is
    // answered.
    for (const char *key = at; end - at > KEY_BYTES_MAX && key < end;) {
        const char *start;
        const char *key_end = next_key(key, end + 1, &start);
        if (key_end - start > KEY_BYTES_MAX + (key_end[-1] == '\r' ? 1 : 0)) {
            reply_line(reply, "CLIENT_ERROR bad command line format");
            return (size_t)(end + 1 - line);
        }
        if (*key_end != ' ') {
            break;    // A NUL ends the command; there is no way past it.
        }
        key = key_end;
    }
    session->get_kind = (uint8_t)kind;
    return (size_t)(at - line);
}
