// Reads where the first look was not enough: the key is missing, dead, on flash, to be made, or was
// changed by others meanwhile.
#include "proto/execute_internal.h"

int execute_unanswered(struct execute_get get, enum put_result put) {
    struct store *store = session_store(get.session);
    link_let_go(store, get.view);
    if (put == PUT_CHANGED) {
        return STORE_LOOK_AGAIN;
    }
    count(store->proc, COUNTER_get_oom_extstore, get.read && get.is_counted);
    return STORE_NO_MEMORY;
}

int execute_change(struct execute_get get) {
    struct store_mark mark = {.set_state = get.set_state,
                              .is_read = get.is_read,
                              .has_expiry = get.has_expiry,
                              .expiry_seconds = get.expiry_seconds};
    int marked = store_mark(session_store(get.session), get.view, get.key, get.hash, &mark);
    if (store_is_put_off(marked)) {
        return execute_put_off(get.session);
    }
    // Without memory for a field the item stays as it is.
    return marked == STORE_LOOK_AGAIN ? STORE_LOOK_AGAIN : STORE_HIT;
}

// What the read would change is brought back to memory first. Returns what execute_look_on_flash()
// does.
static int look_on_flash(struct execute_get *get, char *scratch) {
    struct execute_look look = {.session = get->session,
                                .key = get->key,
                                .key_bytes = get->key_bytes,
                                .hash = get->hash,
                                .is_get = get->is_counted,
                                .changes = get->is_touch,
                                .view = get->view};
    int found = execute_look_on_flash(&look);
    get->read = look.read;
    if (found != STORE_HIT || !get->read) {
        return found;
    }
    get->put_head(get, scratch);
    if (!get->is_changed) {
        return found;
    }
    found = execute_bring_back(get->session, get->key, get->key_bytes, get->hash, get->is_counted);
    get->read = found == STORE_HIT ? NULL : get->read;
    return found;
}

// Makes the empty item of a read that asks for one. Returns STORE_LOOK_AGAIN when there is an item
// now, this client's or another's who was faster.
static int vivify(struct execute_get *get, int found) {
    struct store_write write = {.key = get->key,
                                .key_bytes = get->key_bytes,
                                .mode = STORE_ADD,
                                .expiry_seconds = get->vivify_expiry_seconds,
                                .token_sent = true,
                                .is_uncounted = true,
                                .has_cas_new = get->has_cas_new,
                                .cas_new = get->cas_new};
    struct store_result result;
    int outcome = execute_make(get->session, &write, &result);
    if (outcome == STORE_STORED || outcome == STORE_NOT_STORED) {
        link_count_dead(session_store(get->session), found);
        get->is_created = outcome == STORE_STORED;
        return STORE_LOOK_AGAIN;
    }
    return outcome == EXECUTE_WAITS || outcome == EXECUTE_BUSY ? outcome : STORE_NOT_STORED;
}

static int missing(struct execute_get *get, int found) {
    struct store *store = session_store(get->session);
    if (found != STORE_MISS && !get->read) {
        link_remove_dead(store, get->view);
    }
    if (get->vivifies && !get->is_created) {
        return vivify(get, found);
    }
    link_count_dead(store, found);
    return found;
}

// One look came to `found`. Returns what execute_get() does, or STORE_LOOK_AGAIN.
static int after_look(struct execute_get *get, int found, struct reply *reply) {
    struct store *store = session_store(get->session);
    get->read = NULL;
    if ((found == STORE_MISS || found == STORE_ON_FLASH) && get->session->proto->reader) {
        found = look_on_flash(get, reply->at);
        if (found == STORE_HIT && !get->read) {
            return STORE_LOOK_AGAIN;
        }
    }
    if (store_is_put_off(found)) {
        return execute_put_off(get->session);
    }
    if (found == STORE_NO_MEMORY) {
        count(store->proc, COUNTER_get_oom_extstore, get->is_counted);
        return found;
    }
    // An item may be made with an expiry that is over at once: its maker still gets it.
    bool is_expired_at_birth = get->is_created && found == STORE_MISS_EXPIRED && !get->read;
    return found == STORE_HIT || is_expired_at_birth ? execute_answer(get, get->put_head, reply)
                                                     : missing(get, found);
}

int execute_get_on(struct execute_get get, int found, struct reply *reply) {
    struct session *session = get.session;
    int outcome = found == STORE_LOOK_AGAIN ? found : after_look(&get, found, reply);
    for (uint32_t round = 1; outcome == STORE_LOOK_AGAIN && round < LINK_LOOKS_MAX; round++) {
        found =
            link_look(session_store(session), get.key, get.key_bytes, get.hash, round, get.view);
        outcome = after_look(&get, found, reply);
    }
    outcome = outcome == STORE_LOOK_AGAIN ? execute_put_off(session) : outcome;
    if (watch_wants(&session_store(session)->watch, WATCH_FETCHERS)) {
        execute_watch_get(&get, outcome);
    }
    if (outcome == EXECUTE_WAITS) {
        session->has_vivified = get.is_created;
    } else {
        session_settle(session);
    }
    return outcome;
}
