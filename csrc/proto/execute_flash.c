// Keys that are not in memory: looking for them on flash, and bringing them back.
#include "flash/flash_reader.h"
#include "proto/execute_internal.h"

// The device does not answer for the entry's record.
static void pass_by(const struct execute_look *look, uint64_t entry) {
    struct store *store = session_store(look->session);
    count(store->proc, COUNTER_ext_late_looks, 1);
    count(store->proc, COUNTER_miss_from_extstore, look->is_get);
    if (look->changes) {
        link_forget_entry(store, entry, look->hash);
    } else {
        link_pass_by(store, entry);
    }
}

// Flash has nothing of the key. Returns STORE_MISS when memory had nothing either all the time,
// STORE_HIT when it may have now, STORE_BUSY, or STORE_LOOK_AGAIN.
static int missing_on_flash(const struct execute_look *look, uint32_t round) {
    struct store *store = session_store(look->session);
    if (link_holds(look->view)) {
        return STORE_MISS;
    }
    if (round < LINK_LOOKS_OPTIMISTIC) {
        return STORE_LOOK_AGAIN;
    }
    // Its bucket is changing all the time: what is under its lock is true.
    int found = link_find_locked(store, look->key, look->key_bytes, look->hash, look->view);
    link_let_go(store, look->view);
    if (found == STORE_ON_FLASH) {
        return STORE_LOOK_AGAIN;
    }
    return found == STORE_MISS || store_is_put_off(found) ? found : STORE_HIT;
}

// Looks at what was read of the entry's record. Returns STORE_LOOK_AGAIN when it is not the key's,
// or not what the entry names any more.
static int look_at_record(struct execute_look *look, uint64_t entry,
                          const struct flash_read *read) {
    struct store *store = session_store(look->session);
    if (UNLIKELY(read->result == FLASH_READ_LATE)) {
        pass_by(look, entry);
        return STORE_LOOK_AGAIN;
    }
    int found = tier_view(store, read, look->key, look->key_bytes, look->hash, look->view);
    switch (found) {
    case STORE_HIT:
    case STORE_MISS_EXPIRED:
    case STORE_MISS_FLUSHED: look->read = read; return found;
    case STORE_NO_MEMORY: return found;
    // The read stays held: the command may be done over again.
    case STORE_OTHER_KEY: link_rule_out(store, entry); return STORE_LOOK_AGAIN;
    default: session_release_looked(look->session); return STORE_LOOK_AGAIN;
    }
}

static int look_at_entry(struct execute_look *look, uint64_t entry) {
    struct session *session = look->session;
    if (!session_can_read(session)) {
        return STORE_NO_MEMORY;
    }
    const struct flash_read *read = session_need_read(session, entry, look->is_get);
    if (!read) {
        return STORE_ON_FLASH;
    }
    int found = look_at_record(look, entry, read);
    return found == STORE_LOOK_AGAIN && !session_may_look_again(session) ? STORE_MISS : found;
}

int execute_look_on_flash(struct execute_look *look) {
    struct store *store = session_store(look->session);
    look->read = NULL;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        uint64_t entry = link_flash_entry(store, look->hash);
        int found = entry ? look_at_entry(look, entry) : missing_on_flash(look, round);
        if (found != STORE_LOOK_AGAIN) {
            return found;
        }
        found = link_find(store, look->key, look->key_bytes, look->hash, look->view);
        if (found != STORE_MISS) {
            return store_is_put_off(found) ? found : STORE_HIT;
        }
    }
    return STORE_BUSY;
}

// The same for a key of which nothing is known: memory comes first.
static int look_anywhere(struct execute_look *look) {
    struct store *store = session_store(look->session);
    look->read = NULL;
    int found = link_find(store, look->key, look->key_bytes, look->hash, look->view);
    if (found != STORE_MISS) {
        return store_is_put_off(found) ? found : STORE_HIT;
    }
    found = execute_look_on_flash(look);
    return found == STORE_NO_MEMORY ? space_refused(store, COUNTER_oom_process_memory) : found;
}

int execute_bring_back(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
                       bool is_get) {
    struct store *store = session_store(session);
    struct link_view view;
    struct execute_look look = {.session = session,
                                .key = key,
                                .key_bytes = key_bytes,
                                .hash = hash,
                                .is_get = is_get,
                                .changes = true,
                                .view = &view};
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        int found = look_anywhere(&look);
        if (found != STORE_HIT || !look.read) {
            return found;
        }
        int brought = tier_bring_back(store, look.read, &view, key, hash);
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
    struct link_view view;
    struct execute_look look = {.session = session,
                                .key = request->key,
                                .key_bytes = request->key_bytes,
                                .hash = link_hash(store, request->key, request->key_bytes),
                                .changes = true,
                                .view = &view};
    int found = look_anywhere(&look);
    if (found == STORE_NO_MEMORY || store_is_put_off(found)) {
        *outcome = found;
        return false;
    }
    if (found == STORE_HIT && look.read) {
        int deleted = tier_delete(store, look.read, &view, request->key, look.hash);
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
