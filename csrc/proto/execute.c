// Commands that change: the store's operation, done again until nothing is in its way.
#include "proto/execute_internal.h"

// An operation that meets flash more often than this in one go waits for its turn.
#define ROUNDS_MAX 64

// One try of an operation on a key; returns the store's outcome.
typedef int (*execute_try)(struct store *store, const void *request);
// Deals with what is on flash of the key. Returns true when the operation is to be tried again,
// else *outcome is what comes of it.
typedef bool (*execute_clear)(struct session *session, const char *key, uint32_t key_bytes,
                              const void *request, int *outcome);

int execute_put_off(struct session *session) {
    return session->is_waiting || session_put_off(session) ? EXECUTE_WAITS : EXECUTE_BUSY;
}

// Brings what is on flash into memory. With nothing there after all the operation will see that
// too.
static bool bring(struct session *session, const char *key, uint32_t key_bytes, const void *request,
                  int *outcome) {
    uint64_t hash = link_hash(session_store(session), key, key_bytes);
    int brought = execute_bring_back(session, key, key_bytes, hash, false);
    if (store_is_put_off(brought) || brought == STORE_NO_MEMORY) {
        *outcome = brought;
        return false;
    }
    if (!session_may_look_again(session)) {
        *outcome = space_refused(session_store(session), COUNTER_oom_gave_up);
        return false;
    }
    return true;
}

static __attribute__((noinline)) int go_on(struct session *session, const char *key,
                                           uint32_t key_bytes, execute_try try_once,
                                           execute_clear clear_way, const void *request,
                                           int outcome) {
    for (uint32_t round = 0; outcome == STORE_ON_FLASH && round < ROUNDS_MAX; round++) {
        if (!clear_way(session, key, key_bytes, request, &outcome)) {
            break;
        }
        outcome = try_once(session_store(session), request);
    }
    return store_is_put_off(outcome) ? execute_put_off(session) : outcome;
}

// Does the operation, and does it again when flash was in its way.
static inline __attribute__((always_inline)) int until_done(struct session *session,
                                                            const char *key, uint32_t key_bytes,
                                                            execute_try try_once,
                                                            execute_clear clear_way,
                                                            const void *request) {
    int outcome = try_once(session_store(session), request);
    if (store_is_put_off(outcome)) {
        return go_on(session, key, key_bytes, try_once, clear_way, request, outcome);
    }
    return outcome;
}

struct put {
    const struct store_write *write;
    const char *value;              // NULL: it came in pieces ...
    struct store_making *making;    // ... into this.
    struct store_result *result;
};

static int try_put(struct store *store, const void *request) {
    const struct put *put = request;
    return store_put(store, put->write, put->value, put->result);
}

static int try_commit(struct store *store, const void *request) {
    const struct put *put = request;
    return store_commit(store, put->write, put->making, put->result);
}

// A value was refused: takes the key's old value with it.
static __attribute__((noinline)) int forget(struct session *session,
                                            const struct store_write *write, int outcome) {
    int forgotten = store_forget(session_store(session), write->key, write->key_bytes);
    return store_is_put_off(forgotten) ? execute_put_off(session) : outcome;
}

static bool is_refusal(int outcome) {
    return outcome == STORE_TOO_LARGE || outcome == STORE_NO_MEMORY;
}

int execute_put(struct session *session, const struct store_write *write, const char *value,
                bool forgets_refused, struct store_result *result) {
    struct put put = {.write = write, .value = value, .result = result};
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, write->key, write->key_bytes, &before);
    }
    int outcome = until_done(session, write->key, write->key_bytes, try_put, bring, &put);
    if (UNLIKELY(forgets_refused && is_refusal(outcome))) {
        outcome = forget(session, write, outcome);
    }
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        prefix_count(session_store(session), write->key, write->key_bytes, PREFIX_SET, false);
    }
    if (execute_is_watched(session)) {
        execute_watch_store(session, write, outcome, forgets_refused, &before);
    }
    return outcome;
}

int execute_make(struct session *session, const struct store_write *write,
                 struct store_result *result) {
    struct put put = {.write = write, .value = "", .result = result};
    return until_done(session, write->key, write->key_bytes, try_put, bring, &put);
}

int execute_begin(struct session *session, const struct store_write *write, bool forgets_refused,
                  struct store_making *making) {
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, write->key, write->key_bytes, &before);
    }
    int outcome = store_begin(session_store(session), write, making);
    if (outcome == STORE_ROOM_MADE) {
        prefix_count(session_store(session), write->key, write->key_bytes, PREFIX_SET, false);
        return outcome;
    }
    if (store_is_put_off(outcome)) {
        return execute_put_off(session);
    }
    outcome = forgets_refused ? forget(session, write, outcome) : outcome;
    if (execute_is_watched(session)) {
        execute_watch_store(session, write, outcome, forgets_refused, &before);
    }
    return outcome;
}

int execute_commit(struct session *session, const struct store_write *write,
                   struct store_making *making, struct store_result *result) {
    struct put put = {.write = write, .making = making, .result = result};
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, write->key, write->key_bytes, &before);
    }
    int outcome = until_done(session, write->key, write->key_bytes, try_commit, bring, &put);
    if (execute_is_watched(session)) {
        execute_watch_store(session, write, outcome, false, &before);
    }
    return outcome;
}

int execute_give_up(struct session *session, const struct store_write *write, bool forgets_refused,
                    struct store_making *making) {
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, write->key, write->key_bytes, &before);
    }
    int outcome = forgets_refused ? forget(session, write, STORE_NO_MEMORY) : STORE_NO_MEMORY;
    if (outcome == STORE_NO_MEMORY) {
        outcome = store_give_up(session_store(session), write, making);
    }
    outcome = store_is_put_off(outcome) ? execute_put_off(session) : outcome;
    if (execute_is_watched(session)) {
        execute_watch_store(session, write, outcome, forgets_refused, &before);
    }
    return outcome;
}

static int try_delete(struct store *store, const void *request) {
    return store_delete(store, request);
}

static bool delete_on_flash(struct session *session, const char *key, uint32_t key_bytes,
                            const void *request, int *outcome) {
    const struct store_delete *wanted = request;
    bool is_plain = !wanted->has_cas_compare && !wanted->mark_stale && !wanted->clear_value;
    return is_plain ? execute_delete_on_flash(session, wanted, outcome)
                    : bring(session, key, key_bytes, request, outcome);
}

int execute_delete(struct session *session, const struct store_delete *request) {
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, request->key, request->key_bytes, &before);
    }
    int outcome =
        until_done(session, request->key, request->key_bytes, try_delete, delete_on_flash, request);
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        prefix_count(session_store(session), request->key, request->key_bytes, PREFIX_DELETE,
                     false);
    }
    if (execute_is_watched(session)) {
        execute_watch_delete(session, request, outcome, &before);
    }
    return outcome;
}

struct arith {
    const struct store_arith *request;
    struct store_number *number;
};

static int try_arith(struct store *store, const void *request) {
    const struct arith *arith = request;
    return store_arith(store, arith->request, arith->number);
}

int execute_arith(struct session *session, const struct store_arith *request,
                  struct store_number *number_out) {
    struct arith arith = {request, number_out};
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, request->key, request->key_bytes, &before);
    }
    int outcome = until_done(session, request->key, request->key_bytes, try_arith, bring, &arith);
    if (execute_is_watched(session)) {
        execute_watch_arith(session, request, outcome, number_out, &before);
    }
    return outcome;
}

struct touch {
    const char *key;
    uint32_t key_bytes;
    uint32_t expiry_seconds;
};

static int try_touch(struct store *store, const void *request) {
    const struct touch *touch = request;
    return store_touch(store, touch->key, touch->key_bytes, touch->expiry_seconds);
}

int execute_touch(struct session *session, const char *key, uint32_t key_bytes,
                  uint32_t expiry_seconds) {
    struct touch touch = {key, key_bytes, expiry_seconds};
    struct execute_seen before;
    if (execute_is_watched(session)) {
        execute_see(session, key, key_bytes, &before);
    }
    int outcome = until_done(session, key, key_bytes, try_touch, bring, &touch);
    if (LIKELY(outcome != EXECUTE_WAITS)) {
        count(session_store(session)->proc, COUNTER_cmd_touch, 1);
    }
    if (execute_is_watched(session)) {
        execute_watch_use(session, key, key_bytes, outcome, &before);
    }
    return outcome;
}

bool execute_may_flush(struct session *session) {
    struct store *store = session_store(session);
    count(store->proc, COUNTER_cmd_flush, 1);
    return live_get(store->arena, LIVE_flush_enabled);
}
