// Keys that are not in memory: looking for them on flash, and bringing them back.
#include "flash/flash_reader.h"
#include "proto/execute_internal.h"

// The device does not answer for the entry's record.
static void pass_by(struct session *session, uint64_t entry, uint64_t hash, bool is_get,
                    bool changes) {
    struct store *store = session_store(session);
    count(store->proc, COUNTER_ext_late_looks, 1);
    count(store->proc, COUNTER_miss_from_extstore, is_get);
    if (changes) {
        link_forget_entry(store, entry, hash);
    } else {
        link_pass_by(store, entry);
    }
}

// Flash has nothing of the key. Returns STORE_MISS when memory had nothing either all the time,
// STORE_HIT when it may have now; else STORE_LOOK_AGAIN.
static int missing_on_flash(struct store *store, const char *key, uint32_t key_bytes, uint64_t hash,
                            uint32_t round, struct link_view *view) {
    if (link_holds(view)) {
        return STORE_MISS;
    }
    if (round < LINK_LOOKS_OPTIMISTIC) {
        return STORE_LOOK_AGAIN;
    }
    // Its bucket is changing all the time: what is under its lock is true.
    int found = link_find_locked(store, key, key_bytes, hash, view);
    link_let_go(store, view);
    if (found == STORE_ON_FLASH) {
        return STORE_LOOK_AGAIN;
    }
    return found == STORE_MISS || store_is_put_off(found) ? found : STORE_HIT;
}

// Looks at the entry's record. Returns STORE_LOOK_AGAIN when it is not the key's, or is not what the
// entry names any more.
static int look_at(struct session *session, uint64_t entry, const char *key, uint32_t key_bytes,
                   uint64_t hash, bool is_get, bool changes, struct link_view *view,
                   const struct flash_read **read_out) {
    struct store *store = session_store(session);
    if (!session_can_read(session)) {
        return STORE_NO_MEMORY;
    }
    const struct flash_read *read = session_need_read(session, entry, is_get);
    if (!read) {
        return STORE_ON_FLASH;
    }
    if (UNLIKELY(read->result == FLASH_READ_LATE)) {
        pass_by(session, entry, hash, is_get, changes);
    } else {
        int found = tier_view(store, read, key, key_bytes, hash, view);
        if (found == STORE_HIT || found == STORE_MISS_EXPIRED || found == STORE_MISS_FLUSHED) {
            *read_out = read;
            return found;
        }
        if (UNLIKELY(found == STORE_NO_MEMORY)) {
            return found;
        }
        if (found == STORE_OTHER_KEY) {
            link_rule_out(store, entry);    // The read stays held: the command may be done over
                                            // again.
        } else {
            session_release_looked(session);
        }
    }
    return session_may_look_again(session) ? STORE_LOOK_AGAIN : STORE_MISS;
}

int execute_look_on_flash(struct session *session, const char *key, uint32_t key_bytes,
                          uint64_t hash, bool is_get, bool changes, struct link_view *view,
                          const struct flash_read **read_out) {
    struct store *store = session_store(session);
    *read_out = NULL;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        uint64_t entry = link_flash_entry(store, hash);
        int found =
            entry ? look_at(session, entry, key, key_bytes, hash, is_get, changes, view, read_out)
                  : missing_on_flash(store, key, key_bytes, hash, round, view);
        if (found != STORE_LOOK_AGAIN) {
            return found;
        }
        found = link_find(store, key, key_bytes, hash, view);
        if (found != STORE_MISS) {
            return store_is_put_off(found) ? found : STORE_HIT;
        }
    }
    return STORE_BUSY;
}

// The same for a key of which nothing is known: memory comes first.
static int look_anywhere(struct session *session, const char *key, uint32_t key_bytes,
                         uint64_t hash, bool is_get, struct link_view *view,
                         const struct flash_read **read_out) {
    *read_out = NULL;
    int found = link_find(session_store(session), key, key_bytes, hash, view);
    if (found != STORE_MISS) {
        return store_is_put_off(found) ? found : STORE_HIT;
    }
    found = execute_look_on_flash(session, key, key_bytes, hash, is_get, true, view, read_out);
    return found == STORE_NO_MEMORY
               ? space_refused(session_store(session), COUNTER_oom_process_memory)
               : found;
}

int execute_bring_back(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
                       bool is_get) {
    struct store *store = session_store(session);
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        struct link_view view;
        const struct flash_read *read;
        int found = look_anywhere(session, key, key_bytes, hash, is_get, &view, &read);
        if (found != STORE_HIT || !read) {
            return found;
        }
        int brought = tier_bring_back(store, read, &view, key, hash);
        if (brought == STORE_NO_MEMORY || store_is_put_off(brought)) {
            return brought;
        }
        if (!session_may_look_again(session)) {
            return space_refused(store, COUNTER_oom_gave_up);
        }
        if (brought == STORE_STORED) {
            return STORE_HIT;
        }
    }
    return STORE_BUSY;
}

bool execute_delete_on_flash(struct session *session, const struct store_delete *request,
                             int *outcome) {
    struct store *store = session_store(session);
    uint64_t hash = link_hash(store, request->key, request->key_bytes);
    struct link_view view;
    const struct flash_read *read;
    int found = look_anywhere(session, request->key, request->key_bytes, hash, false, &view, &read);
    if (found == STORE_NO_MEMORY || store_is_put_off(found)) {
        *outcome = found;
        return false;
    }
    if (found == STORE_HIT && read) {
        int deleted = tier_delete(store, read, &view, request->key, hash);
        if (deleted == STORE_DELETED || store_is_put_off(deleted)) {
            *outcome = deleted;
            return false;
        }
    }
    if (!session_may_look_again(session)) {
        *outcome = space_refused(store, COUNTER_oom_gave_up);
        return false;
    }
    return true;
}

void execute_note_record(struct execute_get get) {
    struct store *store = session_store(get.session);
    if (!get.is_counted || !get.is_read) {
        return;
    }
    if (tier_note_read(store, get.read, get.view, get.hash)) {
        int brought = tier_bring_back(store, get.read, get.view, get.key, get.hash);
        count(store->proc, COUNTER_recache_from_extstore, brought == STORE_STORED);
    }
}
