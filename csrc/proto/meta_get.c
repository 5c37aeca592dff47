// mg and me: reading an item with its metadata.
#include "base/base64.h"
#include "proto/session_internal.h"

struct meta_hit {
    const struct meta_request *request;
    struct link_view *view;
    bool is_created;
    bool won;
    uint32_t expiry_seconds;    // After all flags; see weigh().
};

// Before the first flag. An item that was just made counts from N, also for a `t` that stands
// before it.
static uint32_t expiry_at_first(const struct store *store, const struct meta_hit *hit) {
    return hit->is_created ? expiry_from_client(store, hit->request->vivify_expiry)
                           : hit->view->expiry_seconds;
}

// Works out who wins and what expiry stands at the end. The flags work in their order: R looks at
// what a T before it has set.
static void weigh(const struct store *store, struct meta_hit *hit) {
    const struct meta_request *request = hit->request;
    bool may_win = !hit->is_created && !(hit->view->state & ITEM_TOKEN_SENT);
    uint32_t expiry = expiry_at_first(store, hit);
    hit->won = hit->is_created || (may_win && (hit->view->state & ITEM_STALE));
    bool has_any = request->flags_seen & (META_BIT('T') | META_BIT('N') | META_BIT('R'));
    for (uint32_t i = 0; has_any && i < request->return_count; i++) {
        char letter = request->returns[i].text[0];
        if (letter == 'T') {
            expiry = expiry_from_client(store, request->expiry);
        } else if (letter == 'N' && hit->is_created) {
            expiry = expiry_from_client(store, request->vivify_expiry);
        } else if (letter == 'R' && may_win && expiry) {
            hit->won |= expiry < expiry_from_client(store, request->recache);
        }
    }
    hit->expiry_seconds = expiry;
}

static char *put_ttl(char *at, const struct store *store, uint32_t expiry_seconds) {
    at = PUT_LITERAL(at, " t");
    return expiry_seconds ? put_i64(at, (int64_t)expiry_seconds - store->proc->now_seconds)
                          : PUT_LITERAL(at, "-1");
}

static char *put_flag(char *at, const struct store *store, const struct meta_hit *hit,
                      const struct token *flag, uint32_t *expiry) {
    const struct link_view *view = hit->view;
    uint32_t idle = store->proc->now_seconds - view->time_seconds;
    switch (flag->text[0]) {
    case 'T': *expiry = expiry_from_client(store, hit->request->expiry); return at;
    case 'N':
        *expiry =
            hit->is_created ? expiry_from_client(store, hit->request->vivify_expiry) : *expiry;
        return at;
    case 'c': return put_u64(PUT_LITERAL(at, " c"), view->cas);
    case 'f': return put_u64(PUT_LITERAL(at, " f"), view->client_flags);
    case 'h': return put_u64(PUT_LITERAL(at, " h"), view->state & ITEM_FETCHED ? 1 : 0);
    case 'l': return put_u64(PUT_LITERAL(at, " l"), (int32_t)idle > 0 ? idle : 0);
    case 's': return put_u64(PUT_LITERAL(at, " s"), view->value_bytes);
    case 't': return put_ttl(at, store, *expiry);
    case 'O': *at++ = ' '; return put_bytes(at, flag->text, flag->bytes);
    case 'k': return meta_put_item_key(at, hit->request, view->state & ITEM_BINARY_KEY);
    default: return at;
    }
}

static char *put_hit_line(char *at, const struct store *store, const struct meta_hit *hit) {
    const struct meta_request *request = hit->request;
    uint32_t expiry = expiry_at_first(store, hit);
    if (meta_has(request, 'v')) {
        at = put_u64(PUT_LITERAL(at, "VA "), hit->view->value_bytes);
    } else {
        at = PUT_LITERAL(at, "HD");
    }
    for (uint32_t i = 0; i < request->return_count; i++) {
        at = put_flag(at, store, hit, &request->returns[i], &expiry);
    }
    if ((hit->view->state & ITEM_TOKEN_SENT) && !hit->is_created) {
        at = PUT_LITERAL(at, " Z");
    }
    if (hit->view->state & ITEM_STALE) {
        at = PUT_LITERAL(at, " X");
    }
    if (hit->won) {
        at = PUT_LITERAL(at, " W");
    }
    return PUT_LITERAL(at, "\r\n");
}

// Applies what the read changes, and lets the view's bucket go. Returns STORE_TOUCHED, STORE_MISS
// when the item changed since it was viewed, or STORE_BUSY. Without memory for a field the item
// stays as it is.
static int apply(struct store *store, const struct meta_hit *hit, uint64_t hash) {
    const struct meta_request *request = hit->request;
    bool bumps = !meta_has(request, 'u');
    if (hit->is_created || (!meta_has(request, 'T') && !hit->won)) {
        if (bumps && link_wants_bump(store, hit->view)) {
            link_bump(store, hit->view);
        }
        link_let_go(store, hit->view);
        return STORE_TOUCHED;
    }
    struct store_mark mark = {.set_state = hit->won ? ITEM_TOKEN_SENT : 0,
                              .is_read = bumps,
                              .has_expiry = meta_has(request, 'T'),
                              .expiry_seconds = hit->expiry_seconds};
    int done = store_mark(store, hit->view, request->key, hash, &mark);
    return done == STORE_NO_MEMORY ? STORE_TOUCHED : done;
}

static void reply_miss(const struct meta_request *request, struct reply *reply) {
    if (meta_has(request, 'q')) {
        return;
    }
    char *at = PUT_LITERAL(reply->at, "EN");
    for (uint32_t i = 0; i < request->return_count; i++) {
        const struct token *flag = &request->returns[i];
        if (flag->text[0] == 'O') {
            *at++ = ' ';
            at = put_bytes(at, flag->text, flag->bytes);
        } else if (flag->text[0] == 'k') {
            at = meta_put_key(at, request);
        }
    }
    reply->at = PUT_LITERAL(at, "\r\n");
}

static void count_lookup(struct store *store, const struct meta_request *request,
                         const struct link_view *view, int found) {
    // A miss is a get's, whatever the read would have changed.
    bool is_touch = view && meta_has(request, 'T');
    count(store->proc, is_touch ? COUNTER_cmd_touch : COUNTER_cmd_get, 1);
    if (view) {
        if (is_touch) {
            class_count(store, view->class_id, CLASS_touch_hits, 1);
        } else {
            link_count_hit(store, view);
        }
        return;
    }
    count(store->proc, COUNTER_get_misses, 1);
    link_count_dead(store, found);
}

// Creates the empty item of a vivifying read. Returns the storing outcome.
static int vivify(struct store *store, const struct meta_request *request) {
    struct store_write write = {.key = request->key,
                                .key_bytes = request->key_bytes,
                                .mode = STORE_ADD,
                                .expiry_seconds = meta_expiry_of_new(store, request),
                                .token_sent = true,
                                .is_uncounted = true,
                                .has_cas_new = meta_has(request, 'E'),
                                .cas_new = request->cas_new};
    struct store_result result;
    return store_put(store, &write, "", &result);
}

// What one look at the item came to.
enum look { LOOK_ANSWERED, LOOK_AGAIN, LOOK_PARKED };

static __attribute__((noinline)) enum look put_off(struct session *session, struct reply *reply) {
    if (session_put_off(session)) {
        return LOOK_PARKED;
    }
    reply_line(reply, REPLY_BUSY);
    return LOOK_ANSWERED;
}

// The key is not in memory (the hit's view is of that look-up). What the read would change is
// brought back to memory first. Returns what flash_look() does.
static int find_on_flash(struct session *session, struct meta_hit *hit, struct link_view *view,
                         uint64_t hash, struct flash_read **read_out) {
    const struct meta_request *request = hit->request;
    bool touches = meta_has(request, 'T');
    int found =
        flash_look(session, request->key, request->key_bytes, hash, true, touches, view, read_out);
    if (found != STORE_HIT || !*read_out) {
        return found;
    }
    weigh(session_store(session), hit);
    if (!touches && !hit->won) {
        return found;
    }
    found = flash_bring(session, request->key, request->key_bytes, hash, true);
    *read_out = found == STORE_HIT ? NULL : *read_out;
    return found;
}

// Without memory for what is on flash the key counts as missing; what the request wants back is not
// lost.
static enum look answer_no_memory(struct store *store, const struct meta_request *request,
                                  struct reply *reply) {
    count(store->proc, COUNTER_get_oom_extstore, 1);
    count_lookup(store, request, NULL, STORE_MISS);
    reply_miss(request, reply);
    return LOOK_ANSWERED;
}

static enum look answer_missing(struct session *session, struct meta_hit *hit, int found,
                                struct reply *reply) {
    struct store *store = session_store(session);
    const struct meta_request *request = hit->request;
    if (meta_has(request, 'N') && !hit->is_created) {
        int outcome = vivify(store, request);
        if (met_flash(session, request->key, request->key_bytes, &outcome)) {
            return LOOK_AGAIN;    // Somebody else was faster, and it went to flash since.
        }
        if (UNLIKELY(session->is_waiting)) {
            return LOOK_PARKED;
        }
        if (outcome == STORE_BUSY) {
            reply_line(reply, REPLY_BUSY);
            return LOOK_ANSWERED;
        }
        if (outcome != STORE_STORED && outcome != STORE_NOT_STORED) {
            reply_line(reply, "SERVER_ERROR Out of memory allocating new item");
            return LOOK_ANSWERED;
        }
        link_count_dead(store, found);
        hit->is_created = outcome == STORE_STORED;
        return LOOK_AGAIN;
    }
    count_lookup(store, request, NULL, found);
    reply_miss(request, reply);
    return LOOK_ANSWERED;
}

// `read`: the view is of a record from flash.
static enum look answer_hit(struct session *session, struct meta_hit *hit,
                            const struct flash_read *read, uint64_t hash, struct reply *reply) {
    struct store *store = session_store(session);
    const struct meta_request *request = hit->request;
    struct link_view *view = hit->view;
    char *start = reply->at;
    weigh(store, hit);
    char *at = put_hit_line(start, store, hit);
    uint32_t values = reply->value_count;
    enum put_result put = PUT_DONE;
    if (!meta_has(request, 'v')) {
        reply->at = at;
    } else {
        put = UNLIKELY(read) ? reply_put_record(store, view, at, reply)
                             : reply_put_value(store, view, at, reply);
    }
    int applied = STORE_MISS;
    if (LIKELY(put == PUT_DONE)) {
        applied = UNLIKELY(read)             ? STORE_TOUCHED
                  : LIKELY(link_holds(view)) ? apply(store, hit, hash)
                                             : STORE_MISS;
    }
    if (LIKELY(applied == STORE_TOUCHED)) {
        count_lookup(store, request, view, STORE_HIT);
        count_prefix(store, request->key, request->key_bytes, PREFIX_GET, true);
        if (UNLIKELY(read) && !meta_has(request, 'u')) {
            flash_note_read(session, read, view, request->key, hash);
        }
        return LOOK_ANSWERED;
    }
    link_let_go(store, view);
    if (reply->value_count > values) {
        reply_value_release(store, &reply->values[--reply->value_count]);
    }
    reply->at = start;
    if (applied == STORE_BUSY) {
        return put_off(session, reply);
    }
    if (put == PUT_NO_MEMORY && read) {
        return answer_no_memory(store, request, reply);
    }
    if (put == PUT_NO_MEMORY) {
        reply_miss(request, reply);
        return LOOK_ANSWERED;
    }
    return LOOK_AGAIN;
}

static inline __attribute__((always_inline)) enum look look(struct session *session,
                                                            struct meta_hit *hit, uint64_t hash,
                                                            uint32_t round, struct reply *reply) {
    struct store *store = session_store(session);
    const struct meta_request *request = hit->request;
    struct flash_read *read = NULL;
    struct link_view *view = hit->view;
    int found = link_look(store, request->key, request->key_bytes, hash, round, view);
    if (UNLIKELY(found != STORE_HIT && session->proto->reader
                 && (found == STORE_MISS || found == STORE_ON_FLASH))) {
        found = find_on_flash(session, hit, view, hash, &read);
        if (found == STORE_ON_FLASH) {
            return LOOK_PARKED;
        }
        if (found == STORE_NO_MEMORY) {
            return answer_no_memory(store, request, reply);
        }
        if (found == STORE_HIT && !read) {
            return LOOK_AGAIN;
        }
    }
    if (UNLIKELY(found == STORE_BUSY)) {
        return put_off(session, reply);
    }
    // An item may be made with an expiry that is over at once: its maker still gets it.
    bool is_stillborn = hit->is_created && found == STORE_MISS_EXPIRED && !read;
    if (LIKELY(found == STORE_HIT || is_stillborn)) {
        return answer_hit(session, hit, read, hash, reply);
    }
    if (found != STORE_MISS && !read) {
        link_reap(store, view);
    }
    return answer_missing(session, hit, found, reply);
}

void meta_get(struct session *session, struct token *tokens, uint32_t words, struct reply *reply) {
    struct meta_request request;
    if (words < 2) {
        REPLY_LITERAL(reply, "ERROR\r\n");
        return;
    }
    const char *error = meta_parse(tokens, words, 2, 'g', &request);
    if (error) {
        reply_line(reply, error);
        return;
    }
    uint64_t hash = link_hash(session_store(session), request.key, request.key_bytes);
    struct link_view view;
    struct meta_hit hit = {.request = &request, .view = &view, .is_created = session->has_vivified};
    enum look seen = LOOK_AGAIN;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX && seen == LOOK_AGAIN; round++) {
        seen = look(session, &hit, hash, round, reply);
    }
    if (UNLIKELY(seen == LOOK_AGAIN)) {
        put_off(session, reply);
    }
    session->has_vivified = UNLIKELY(session->is_waiting) && hit.is_created;
}

void meta_debug(struct session *session, struct token *tokens, uint32_t words,
                struct reply *reply) {
    struct store *store = session_store(session);
    if (words < 2 || tokens[1].bytes > KEY_BYTES_MAX) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
        return;
    }
    struct meta_request request = {.key = tokens[1].text, .key_bytes = tokens[1].bytes};
    if (words > 2 && token_is(&tokens[2], "b")) {
        request.key_bytes = base64_decode(request.binary_key, tokens[1].text, tokens[1].bytes);
        request.key = request.binary_key;
        if (request.key_bytes == 0) {
            REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
            return;
        }
    }
    struct link_view view;
    struct flash_read *read = NULL;
    uint64_t hash = link_hash(store, request.key, request.key_bytes);
    int found = STORE_BUSY;
    bool is_elsewhere = true;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX && is_elsewhere; round++) {
        found = link_find(store, request.key, request.key_bytes, hash, &view);
        is_elsewhere = UNLIKELY(found == STORE_MISS && session->proto->reader);
        if (is_elsewhere) {
            found = flash_look(session, request.key, request.key_bytes, hash, false, false, &view,
                               &read);
            is_elsewhere = found == STORE_HIT && !read;
        }
    }
    if (UNLIKELY(found == STORE_BUSY || is_elsewhere) && !session_put_off(session)) {
        reply_line(reply, REPLY_BUSY);
        return;
    }
    if (UNLIKELY(found == STORE_ON_FLASH || session->is_waiting)) {
        return;
    }
    if (found != STORE_HIT) {
        link_count_dead(store, found);
        if (found != STORE_MISS && !read) {
            link_reap(store, &view);
        }
        REPLY_LITERAL(reply, "EN\r\n");
        return;
    }
    uint32_t idle = store->proc->now_seconds - view.time_seconds;
    char *at = PUT_LITERAL(reply->at, "ME ");
    at = put_bytes(at, tokens[1].text, tokens[1].bytes);
    at = PUT_LITERAL(at, " exp=");
    at = put_i64(at, view.expiry_seconds ? (int64_t)view.expiry_seconds - store->proc->now_seconds
                                         : -1);
    at = put_u64(PUT_LITERAL(at, " la="), (int32_t)idle > 0 ? idle : 0);
    at = put_u64(PUT_LITERAL(at, " cas="), view.cas);
    at = PUT_LITERAL(at, " fetch=");
    at = view.state & ITEM_FETCHED ? PUT_LITERAL(at, "yes") : PUT_LITERAL(at, "no");
    at = put_u64(PUT_LITERAL(at, " cls="), view.class_id);
    uint64_t size = ITEM_HEADER_BYTES + item_optional_bytes(view.state) + view.key_bytes
                    + (uint64_t)view.value_bytes;
    at = put_u64(PUT_LITERAL(at, " size="), size);
    reply->at = PUT_LITERAL(at, "\r\n");
}
