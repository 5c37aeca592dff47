// What watchers are told of commands. Here stands what costs nothing while nobody watches: looks
// that only they need.
#include "proto/execute_internal.h"

static void note(struct session *session, uint32_t class, const struct watch_event *event) {
    struct watch *watch = &session_store(session)->watch;
    if (watch_wants(watch, class)) {
        watch_note(watch, class, event);
    }
}

static enum watch_found found_as(int found) {
    switch (found) {
    case STORE_HIT: return WATCH_FOUND;
    case STORE_MISS_FLUSHED: return WATCH_FLUSHED;
    case STORE_MISS_EXPIRED: return WATCH_EXPIRED;
    default: return WATCH_NOT_FOUND;
    }
}

static void note_get(struct session *session, const char *key, uint32_t key_bytes,
                     const struct execute_seen *seen) {
    note(session, WATCH_FETCHERS,
         &(struct watch_event){.kind = WATCH_ITEM_GET,
                               .status = (uint8_t)found_as(seen->found),
                               .key = key,
                               .key_bytes = key_bytes,
                               .class_id = (uint8_t)seen->class_id,
                               .size_bytes = seen->value_bytes,
                               .connection = session->connection});
}

void execute_watch_get(const struct execute_get *get, int found) {
    if (found == EXECUTE_WAITS || found == EXECUTE_BUSY) {
        return;
    }
    bool is_hit = found == STORE_HIT && !get->is_created;
    struct execute_seen seen = {.found = get->is_created ? STORE_MISS : found,
                                .class_id = is_hit ? get->view->class_id : 0,
                                .value_bytes = is_hit ? get->view->value_bytes : 0};
    note_get(get->session, get->key, get->key_bytes, &seen);
}

void execute_see(struct session *session, const char *key, uint32_t key_bytes,
                 struct execute_seen *seen_out) {
    struct store *store = session_store(session);
    struct link_view view = {0};
    int found = link_find(store, key, key_bytes, link_hash(store, key, key_bytes), &view);
    *seen_out = (struct execute_seen){.found = found};
    if (found == STORE_HIT) {
        seen_out->class_id = view.class_id;
        seen_out->value_bytes = view.value_bytes;
        seen_out->expiry_seconds = view.expiry_seconds;
    }
}

static enum watch_command command_of(const struct store_write *write) {
    switch (write->mode) {
    case STORE_ADD: return WATCH_BY_ADD;
    case STORE_REPLACE: return WATCH_BY_REPLACE;
    case STORE_APPEND: return WATCH_BY_APPEND;
    case STORE_PREPEND: return WATCH_BY_PREPEND;
    default: return write->has_cas_compare ? WATCH_BY_CAS : WATCH_BY_SET;
    }
}

// As memcached shows it: 0 for never; what is over already wraps round.
static uint32_t ttl_of(const struct store *store, uint32_t expiry_seconds) {
    return expiry_seconds ? expiry_seconds - store->proc->now_seconds : 0;
}

static uint32_t class_of(const struct store *store, const struct store_write *write) {
    uint64_t bytes = ITEM_HEADER_BYTES + write->key_bytes + (uint64_t)write->value_bytes
                     + (write->expiry_seconds ? 4u : 0) + (write->client_flags ? 4u : 0);
    uint32_t most = slab_chunk_bytes(&store->slab, store->largest_class);
    return bytes <= most ? link_class_for(store, (uint32_t)bytes) : store->largest_class;
}

static bool status_of(int outcome, enum watch_stored *status_out) {
    switch (outcome) {
    case STORE_STORED: *status_out = WATCH_STORED; return true;
    case STORE_NOT_STORED: *status_out = WATCH_NOT_STORED; return true;
    case STORE_EXISTS: *status_out = WATCH_EXISTS; return true;
    case STORE_NOT_FOUND: *status_out = WATCH_STORE_NOT_FOUND; return true;
    case STORE_TOO_LARGE: *status_out = WATCH_TOO_LARGE; return true;
    case STORE_NO_MEMORY: *status_out = WATCH_NO_MEMORY; return true;
    default: return false;
    }
}

void execute_watch_store(struct session *session, const struct store_write *write, int outcome,
                         bool forgets_refused, const struct execute_seen *before) {
    struct store *store = session_store(session);
    enum watch_stored status;
    if (!status_of(outcome, &status)) {
        return;
    }
    struct watch_event event = {.kind = WATCH_ITEM_STORE,
                                .status = (uint8_t)status,
                                .command = (uint8_t)command_of(write),
                                .key = write->key,
                                .key_bytes = write->key_bytes,
                                .connection = session->connection};
    if (outcome == STORE_TOO_LARGE || outcome == STORE_NO_MEMORY) {
        // There is no item, so there is nothing to say of it; the old one is looked up to be
        // dropped.
        note(session, WATCH_MUTATIONS, &event);
        if (forgets_refused || (write->mode == STORE_SET && !write->has_cas_compare)) {
            note_get(session, write->key, write->key_bytes, before);
        }
        return;
    }
    note_get(session, write->key, write->key_bytes, before);
    struct execute_seen now = {.class_id = class_of(store, write),
                               .value_bytes = write->value_bytes,
                               .expiry_seconds = write->expiry_seconds};
    if (outcome == STORE_STORED && watch_wants(&store->watch, WATCH_MUTATIONS)) {
        struct execute_seen after;
        execute_see(session, write->key, write->key_bytes, &after);
        now = after.found == STORE_HIT ? after : now;
    }
    event.class_id = (uint8_t)now.class_id;
    event.size_bytes = now.value_bytes;
    event.ttl_seconds = ttl_of(store, now.expiry_seconds);
    note(session, WATCH_MUTATIONS, &event);
}

// What memory did not have was on flash, if the command found it.
static void note_used(struct session *session, const char *key, uint32_t key_bytes, bool was_there,
                      const struct execute_seen *before) {
    struct execute_seen seen = *before;
    seen.found = was_there ? STORE_HIT : seen.found;
    note_get(session, key, key_bytes, &seen);
}

void execute_watch_use(struct session *session, const char *key, uint32_t key_bytes, int outcome,
                       const struct execute_seen *before) {
    bool was_there =
        outcome == STORE_STORED || outcome == STORE_TOUCHED || outcome == STORE_NON_NUMERIC;
    if (outcome != EXECUTE_WAITS && outcome != EXECUTE_BUSY) {
        note_used(session, key, key_bytes, was_there, before);
    }
}

void execute_watch_arith(struct session *session, const struct store_arith *request, int outcome,
                         const struct store_number *number, const struct execute_seen *before) {
    if (outcome != STORE_STORED || !number->vivified) {
        execute_watch_use(session, request->key, request->key_bytes, outcome, before);
        return;
    }
    // It was looked up, and then added as any other item is.
    struct store_write write = {.key = request->key,
                                .key_bytes = request->key_bytes,
                                .mode = STORE_ADD,
                                .expiry_seconds = request->vivify_expiry_seconds,
                                .value_bytes = number->text_bytes};
    note_get(session, request->key, request->key_bytes, before);
    execute_watch_store(session, &write, STORE_STORED, false, before);
}

void execute_watch_delete(struct session *session, const struct store_delete *request, int outcome,
                          const struct execute_seen *before) {
    if (outcome == EXECUTE_WAITS || outcome == EXECUTE_BUSY) {
        return;
    }
    bool is_deleted = outcome == STORE_DELETED;
    note_used(session, request->key, request->key_bytes, is_deleted || outcome == STORE_EXISTS,
              before);
    if (is_deleted && request->clear_value) {
        // The value is replaced by an empty one.
        struct store_write write = {.key = request->key, .key_bytes = request->key_bytes};
        execute_watch_store(session, &write, STORE_STORED, false, before);
    }
    if (is_deleted && !request->mark_stale) {
        note(session, WATCH_DELETIONS,
             &(struct watch_event){.kind = WATCH_DELETED,
                                   .command = request->is_meta ? WATCH_BY_MD : WATCH_BY_DELETE,
                                   .key = request->key,
                                   .key_bytes = request->key_bytes,
                                   .class_id = (uint8_t)before->class_id,
                                   .size_bytes = request->clear_value ? 0 : before->value_bytes});
    }
}
