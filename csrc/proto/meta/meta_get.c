// mg and me: reading an item with its metadata.
#include "base/base64.h"
#include "proto/meta/meta_internal.h"

// Before the first flag. An item that was just made counts from N, also for a `t` that stands
// before it.
static inline __attribute__((always_inline)) uint32_t
expiry_at_first(const struct execute_get *get, const struct meta_request *request) {
    return get->is_created ? session_expiry(get->session, request->vivify_expiry)
                           : get->view->expiry_seconds;
}

// Works out who wins and what expiry stands at the end. The flags work in their order: R looks at
// what a T before it has set. Returns whether this client wins.
static inline __attribute__((always_inline)) bool weigh(const struct execute_get *get,
                                                        const struct meta_request *request,
                                                        uint32_t *expiry_out) {
    const struct session *session = get->session;
    bool may_win = !get->is_created && !(get->view->state & ITEM_TOKEN_SENT);
    uint32_t expiry = expiry_at_first(get, request);
    bool won = get->is_created || (may_win && (get->view->state & ITEM_STALE));
    bool has_any = request->flags_seen & (META_BIT('T') | META_BIT('N') | META_BIT('R'));
    for (uint32_t i = 0; has_any && i < request->return_count; i++) {
        char letter = request->returns[i].text[0];
        if (letter == 'T') {
            expiry = session_expiry(session, request->expiry);
        } else if (letter == 'N' && get->is_created) {
            expiry = session_expiry(session, request->vivify_expiry);
        } else if (letter == 'R' && may_win && expiry) {
            won |= expiry < session_expiry(session, request->recache);
        }
    }
    *expiry_out = expiry;
    return won;
}

static uint32_t idle_seconds(const struct session *session, const struct link_view *view) {
    uint32_t idle = session_store(session)->proc->now_seconds - view->time_seconds;
    return (int32_t)idle > 0 ? idle : 0;
}

static inline __attribute__((always_inline)) char *put_flag(char *at, const struct execute_get *get,
                                                            const struct meta_request *request,
                                                            const struct token *flag,
                                                            uint32_t *expiry) {
    const struct session *session = get->session;
    const struct link_view *view = get->view;
    switch (flag->text[0]) {
    case 'T': *expiry = session_expiry(session, request->expiry); return at;
    case 'N':
        *expiry = get->is_created ? session_expiry(session, request->vivify_expiry) : *expiry;
        return at;
    case 'c': return reply_put_u64(PUT_LITERAL(at, " c"), view->cas);
    case 'f': return reply_put_u64(PUT_LITERAL(at, " f"), view->client_flags);
    case 'h': return reply_put_u64(PUT_LITERAL(at, " h"), view->state & ITEM_FETCHED ? 1 : 0);
    case 'l': return reply_put_u64(PUT_LITERAL(at, " l"), idle_seconds(session, view));
    case 's': return reply_put_u64(PUT_LITERAL(at, " s"), view->value_bytes);
    case 't': return meta_put_ttl(at, session, *expiry);
    case 'O': return meta_put_flag(at, flag);
    case 'k': return meta_put_item_key(at, request, view->state & ITEM_BINARY_KEY);
    default: return at;
    }
}

// The line of a hit. Says what the read changes: who wins the right to fill the item, and its
// expiry.
static inline __attribute__((always_inline)) char *put_head(struct execute_get *get, char *at) {
    const struct meta_request *request = get->line;
    bool won = weigh(get, request, &get->expiry_seconds);
    get->is_changed = !get->is_created && (get->is_touch || won);
    get->set_state = won ? ITEM_TOKEN_SENT : 0;
    uint32_t expiry = expiry_at_first(get, request);
    at = get->wants_value ? reply_put_u64(PUT_LITERAL(at, "VA "), get->view->value_bytes)
                          : PUT_LITERAL(at, "HD");
    for (uint32_t i = 0; i < request->return_count; i++) {
        at = put_flag(at, get, request, &request->returns[i], &expiry);
    }
    if ((get->view->state & ITEM_TOKEN_SENT) && !get->is_created) {
        at = PUT_LITERAL(at, " Z");
    }
    if (get->view->state & ITEM_STALE) {
        at = PUT_LITERAL(at, " X");
    }
    if (won) {
        at = PUT_LITERAL(at, " W");
    }
    return PUT_LITERAL(at, "\r\n");
}

// put_head() as a function of its own, for reads that have to look again.
static char *put_head_again(struct execute_get *get, char *at) {
    return put_head(get, at);
}

static void put_miss(const struct meta_request *request, struct reply *reply) {
    if (meta_has(request, 'q')) {
        return;
    }
    char *at = PUT_LITERAL(reply->at, "EN");
    for (uint32_t i = 0; i < request->return_count; i++) {
        const struct token *flag = &request->returns[i];
        if (flag->text[0] == 'O') {
            at = meta_put_flag(at, flag);
        } else if (flag->text[0] == 'k') {
            at = meta_put_key(at, request);
        }
    }
    reply->at = PUT_LITERAL(at, "\r\n");
}

// A miss is a get's, whatever the read would have changed. Without memory for what is on flash, or
// for a copy of the value, the key counts as missing; what the request wants back is not lost.
static void answer_missing(struct store *store, const struct meta_request *request,
                           struct reply *reply) {
    count(store->proc, COUNTER_cmd_get, 1);
    count(store->proc, COUNTER_get_misses, 1);
    put_miss(request, reply);
}

static void answer(const struct session *session, const struct meta_request *request, int found,
                   struct reply *reply) {
    struct store *store = session_store(session);
    switch (found) {
    case STORE_HIT:
        count(store->proc, meta_has(request, 'T') ? COUNTER_cmd_touch : COUNTER_cmd_get, 1);
        prefix_count(store, request->key, request->key_bytes, PREFIX_GET, true);
        break;
    case EXECUTE_WAITS: break;
    case EXECUTE_BUSY: REPLY_LITERAL(reply, REPLY_BUSY); break;
    case STORE_NOT_STORED:
        REPLY_LITERAL(reply, "SERVER_ERROR Out of memory allocating new item\r\n");
        break;
    default: answer_missing(store, request, reply); break;
    }
}

// The flags with which a read may change the item or make one, which takes the right to write.
#define GET_CHANGES (META_BIT('T') | META_BIT('N') | META_BIT('E') | META_BIT('R'))

void meta_get(struct session *session, struct token *tokens, uint32_t words, int variant,
              struct reply *reply) {
    struct meta_request request;
    const char *error = meta_parse(tokens, words, 2, 'g', &request);
    if (error) {
        reply_line(reply, error);
        return;
    }
    if (UNLIKELY(request.flags_seen & GET_CHANGES) && !(session->rights & SESSION_MAY_WRITE)) {
        commands_put_refusal(session, COMMAND_mg, reply);
        return;
    }
    struct link_view view;
    struct execute_get get = {.session = session,
                              .key = request.key,
                              .key_bytes = request.key_bytes,
                              .hash =
                                  link_hash(session_store(session), request.key, request.key_bytes),
                              .view = &view,
                              .line = &request,
                              .put_head = put_head_again,
                              .wants_value = meta_has(&request, 'v'),
                              .is_counted = true,
                              .is_read = !meta_has(&request, 'u'),
                              .is_touch = meta_has(&request, 'T'),
                              .has_expiry = meta_has(&request, 'T'),
                              .is_created = session->has_vivified};
    if (meta_has(&request, 'N')) {
        get.vivifies = true;
        get.vivify_expiry_seconds = meta_expiry_of_new(session, &request);
        get.has_cas_new = meta_has(&request, 'E');
        get.cas_new = request.cas_new;
    }
    session->has_vivified = false;
    int found = execute_get(&get, put_head, reply);
    answer(session, &request, found, reply);
}

// The line of an item that `me` shows.
static char *put_debug_line(struct execute_get *get, char *at) {
    const struct meta_request *request = get->line;
    const struct link_view *view = get->view;
    int64_t now = session_store(get->session)->proc->now_seconds;
    at = PUT_LITERAL(at, "ME ");
    at = reply_put_bytes(at, request->key_text, request->key_text_bytes);
    at = PUT_LITERAL(at, " exp=");
    at = reply_put_i64(at, view->expiry_seconds ? (int64_t)view->expiry_seconds - now : -1);
    at = reply_put_u64(PUT_LITERAL(at, " la="), idle_seconds(get->session, view));
    at = reply_put_u64(PUT_LITERAL(at, " cas="), view->cas);
    at = PUT_LITERAL(at, " fetch=");
    at = view->state & ITEM_FETCHED ? PUT_LITERAL(at, "yes") : PUT_LITERAL(at, "no");
    at = reply_put_u64(PUT_LITERAL(at, " cls="), view->class_id);
    uint64_t size = ITEM_HEADER_BYTES + item_optional_bytes(view->state) + view->key_bytes
                    + (uint64_t)view->value_bytes;
    at = reply_put_u64(PUT_LITERAL(at, " size="), size);
    return PUT_LITERAL(at, "\r\n");
}

// The key of `me`. Returns false for one that cannot be.
static bool parse_debug(const struct token *tokens, uint32_t words, struct meta_request *request) {
    if (words < 2 || tokens[1].bytes > KEY_BYTES_MAX) {
        return false;
    }
    request->key = request->key_text = tokens[1].text;
    request->key_bytes = request->key_text_bytes = tokens[1].bytes;
    if (words > 2 && token_is(&tokens[2], "b")) {
        request->key_bytes = base64_decode(request->binary_key, tokens[1].text, tokens[1].bytes);
        request->key = request->binary_key;
    }
    return request->key_bytes > 0;
}

// Says what is known of the item, and changes and counts nothing of it.
static int show_item(struct session *session, const struct meta_request *request,
                     struct reply *reply) {
    struct link_view view;
    uint64_t hash = link_hash(session_store(session), request->key, request->key_bytes);
    struct execute_get get = {.session = session,
                              .key = request->key,
                              .key_bytes = request->key_bytes,
                              .hash = hash,
                              .view = &view,
                              .line = request,
                              .put_head = put_debug_line};
    return execute_get(&get, put_debug_line, reply);
}

void meta_debug(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply) {
    struct meta_request request;
    int found = STORE_HIT;
    if (!parse_debug(tokens, words, &request)) {
        REPLY_LITERAL(reply, "CLIENT_ERROR bad command line format\r\n");
    } else {
        found = show_item(session, &request, reply);
    }
    if (UNLIKELY(found == EXECUTE_WAITS)) {
        return;
    }
    count(session_store(session)->proc, COUNTER_cmd_meta, 1);
    if (found == EXECUTE_BUSY) {
        REPLY_LITERAL(reply, REPLY_BUSY);
    } else if (found != STORE_HIT) {
        REPLY_LITERAL(reply, "EN\r\n");
    }
}

void meta_no_op(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply) {
    REPLY_LITERAL(reply, "MN\r\n");
}

void meta_look_ahead(struct session *session, const char *in, const char *end) {
    for (uint32_t lines = 0; lines <= FLASH_READS_MAX && end - in > 4 && memcmp(in, "mg ", 3) == 0;
         lines++) {
        const char *newline = memchr(in, '\n', (size_t)(end - in));
        if (!newline) {
            return;
        }
        const char *key = in + 3;
        const char *key_end = key;
        while ((unsigned char)*key_end > ' ') {
            key_end++;
        }
        uint32_t key_bytes = (uint32_t)(key_end - key);
        if (lines > 0 && key_bytes > 0 && key_bytes <= KEY_BYTES_MAX) {
            session_look_ahead(session, key, key_bytes,
                               link_hash(session_store(session), key, key_bytes));
        }
        in = newline + 1;
    }
}
