// What a session reads from flash: which reads it holds, when it waits, when a command is done over
// again.
#include <stdlib.h>

#include "flash/flash_index_inline.h"
#include "proto/session_internal.h"

// A command that is sent to look again more often than this is given up.
#define ROUNDS_MAX 64

static struct session_flash *flash_of(struct session *session) {
    struct proto *proto = session->proto;
    if (!session->flash) {
        struct session_flash *room = proto->flash_free;
        if (room) {
            proto->flash_free = room->next_free;
        } else {
            room = malloc(sizeof *room);
        }
        if (room) {
            room->held = room->looked_at = room->for_get = room->rounds = 0;
            room->waits_for = NULL;
        }
        session->flash = room;
    }
    return session->flash;
}

static void release(struct session *session, uint32_t places) {
    struct session_flash *flash = session->flash;
    for (uint32_t bits = places; bits; bits &= bits - 1) {
        flash_reader_release(session->proto->reader, flash->reads[__builtin_ctz(bits)]);
    }
    flash->held &= ~places;
    flash->looked_at &= ~places;
    flash->for_get &= ~places;
}

void flash_settle(struct session *session) {
    struct session_flash *flash = session->flash;
    if (flash) {
        release(session, flash->looked_at);
        flash->rounds = 0;
        link_rule_out_none(session_store(session));
        session_store(session)->needed_ref = 0;
    }
}

void session_drop_reads(struct session *session) {
    struct session_flash *flash = session->flash;
    if (flash) {
        release(session, flash->held);
        flash->next_free = session->proto->flash_free;
        session->proto->flash_free = flash;
        session->flash = NULL;
    }
}

void session_abort_reads(struct session *session) {
    if (session->flash) {
        struct proc *proc = session_store(session)->proc;
        uint32_t aborted = session->flash->for_get;
        count(proc, COUNTER_get_extstore,
              (uint64_t)__builtin_popcount(aborted & ~session->flash->looked_at));
        count(proc, COUNTER_get_aborted_extstore, (uint64_t)__builtin_popcount(aborted));
        session_drop_reads(session);
    }
}

void session_wait(struct session *session, struct flash_waiter *waiter) {
    flash_reader_wait(session->proto->reader, session->flash->waits_for, waiter);
}

// The read of the entry's record, one that is held already or a new one. NULL: there is no room for
// it now.
static struct flash_read *hold(struct session *session, uint64_t entry, bool is_get,
                               uint32_t *place_out) {
    struct session_flash *flash = session->flash;
    uint64_t address = flash_entry_address(session->proto->store->flash, entry);
    for (uint32_t bits = flash->held; bits; bits &= bits - 1) {
        uint32_t place = (uint32_t)__builtin_ctz(bits);
        if (flash->reads[place]->address == address) {
            *place_out = place;
            return flash->reads[place];
        }
    }
    if (flash->held == UINT32_MAX) {
        return NULL;
    }
    struct flash_read *read = flash_reader_begin(session->proto->reader, entry);
    if (read) {
        uint32_t place = (uint32_t)__builtin_ctz(~flash->held);
        flash->reads[place] = read;
        flash->held |= 1u << place;
        if (is_get) {
            flash->for_get |= 1u << place;
        }
        *place_out = place;
    }
    return read;
}

static int park(struct session *session, struct flash_read *read) {
    session->flash->waits_for = read;
    session->is_waiting = true;
    // Other sessions' commands come in between.
    link_rule_out_none(session_store(session));
    session_store(session)->needed_ref = 0;
    return STORE_ON_FLASH;
}

// The read of the entry that the command under way needs, done; NULL when the session is parked
// until it may be.
static struct flash_read *need(struct session *session, uint64_t entry, bool is_get) {
    struct session_flash *flash = session->flash;
    uint32_t place;
    struct flash_read *read = hold(session, entry, is_get, &place);
    if (!read && flash->held) {
        // What was read ahead must not keep others, or itself, from what is needed now.
        release(session, flash->held);
        read = hold(session, entry, is_get, &place);
    }
    if (!read || read->state != FLASH_READ_DONE) {
        park(session, read);
        return NULL;
    }
    // Counted when it is of use: one that was given back before, and is begun again, is one read to
    // the client.
    bool is_first_look = is_get && !(flash->looked_at & 1u << place);
    count(session_store(session)->proc, COUNTER_get_extstore, is_first_look);
    flash->looked_at |= 1u << place;
    return read;
}

// Whether the command may go on looking.
static bool may_look_again(struct session *session) {
    return flash_of(session) && session->flash->rounds++ < ROUNDS_MAX;
}

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

int flash_look(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
               bool is_get, bool changes, struct link_view *view, struct flash_read **read_out) {
    struct store *store = session_store(session);
    *read_out = NULL;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        uint64_t entry = link_flash_entry(store, hash);
        if (!entry) {
            if (link_holds(view)) {
                return STORE_MISS;
            }
            // Its bucket is changing all the time: what is under its lock is true.
            int found = round >= LINK_LOOKS_OPTIMISTIC
                            ? link_find_locked(store, key, key_bytes, hash, view)
                            : STORE_ON_FLASH;
            link_let_go(store, view);
            if (found != STORE_ON_FLASH) {
                return found == STORE_MISS || found == STORE_BUSY ? found : STORE_HIT;
            }
        } else {
            if (!session->proto->reader || !flash_of(session)) {
                return STORE_NO_MEMORY;
            }
            struct flash_read *read = need(session, entry, is_get);
            if (!read) {
                return STORE_ON_FLASH;
            }
            int found = STORE_LOOK_AGAIN;
            if (UNLIKELY(read->result == FLASH_READ_LATE)) {
                pass_by(session, entry, hash, is_get, changes);
            } else {
                found = tier_view(store, read, key, key_bytes, hash, view);
            }
            if (found == STORE_HIT || found == STORE_MISS_EXPIRED || found == STORE_MISS_FLUSHED) {
                *read_out = read;
                return found;
            }
            if (UNLIKELY(found == STORE_NO_MEMORY)) {
                return found;
            }
            if (found == STORE_OTHER_KEY) {
                link_rule_out(store, entry);    // The read stays held: the command may be done
                                                // over again.
            } else if (LIKELY(read->result != FLASH_READ_LATE)) {
                release(session, session->flash->looked_at);
            }
            if (!may_look_again(session)) {
                return STORE_MISS;
            }
        }
        int found = link_find(store, key, key_bytes, hash, view);
        if (found != STORE_MISS) {
            return found == STORE_BUSY ? STORE_BUSY : STORE_HIT;
        }
    }
    return STORE_BUSY;
}

int flash_bring(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
                bool is_get) {
    struct store *store = session_store(session);
    struct link_view view;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        struct flash_read *read;
        int in_memory = link_find(store, key, key_bytes, hash, &view);
        if (in_memory != STORE_MISS) {
            return in_memory == STORE_BUSY ? STORE_BUSY : STORE_HIT;
        }
        int found = flash_look(session, key, key_bytes, hash, is_get, true, &view, &read);
        if (found == STORE_NO_MEMORY) {
            return space_refused(store, COUNTER_oom_process_memory);
        }
        if (found != STORE_HIT || !read) {
            return found;
        }
        int brought = tier_bring_back(store, read, &view, key, hash);
        if (brought == STORE_NO_MEMORY || brought == STORE_BUSY) {
            return brought;
        }
        if (!may_look_again(session)) {
            return space_refused(store, COUNTER_oom_gave_up);
        }
        if (brought == STORE_STORED) {
            return STORE_HIT;
        }
    }
    return STORE_BUSY;
}

// flash_retry() that leaves STORE_BUSY to its caller.
static bool bring_for(struct session *session, const char *key, uint32_t key_bytes, int *outcome) {
    int brought = flash_bring(session, key, key_bytes,
                              link_hash(session_store(session), key, key_bytes), false);
    if (store_is_put_off(brought) || brought == STORE_NO_MEMORY) {
        *outcome = brought;
        return false;
    }
    // With nothing there after all the operation will see that too.
    if (!may_look_again(session)) {
        *outcome = space_refused(session_store(session), COUNTER_oom_gave_up);
        return false;
    }
    return true;
}

bool flash_retry(struct session *session, const char *key, uint32_t key_bytes, int *outcome) {
    bool is_again = *outcome == STORE_ON_FLASH && bring_for(session, key, key_bytes, outcome);
    if (*outcome == STORE_BUSY) {
        session_put_off(session);
    }
    return is_again;
}

// flash_delete() that leaves STORE_BUSY to its caller.
static int delete_anywhere(struct session *session, const struct store_delete *request) {
    struct store *store = session_store(session);
    uint64_t hash = link_hash(store, request->key, request->key_bytes);
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        int outcome = store_delete(store, request);
        if (LIKELY(outcome != STORE_ON_FLASH)) {
            return outcome;
        }
        bool is_plain = !request->has_cas_compare && !request->mark_stale && !request->clear_value;
        if (!is_plain) {
            if (!bring_for(session, request->key, request->key_bytes, &outcome)) {
                return outcome;
            }
            continue;
        }
        struct link_view view;
        struct flash_read *read;
        int in_memory = link_find(store, request->key, request->key_bytes, hash, &view);
        if (in_memory == STORE_BUSY) {
            return in_memory;
        }
        if (in_memory != STORE_MISS) {
            continue;
        }
        int found =
            flash_look(session, request->key, request->key_bytes, hash, false, true, &view, &read);
        if (found == STORE_NO_MEMORY) {
            return space_refused(store, COUNTER_oom_process_memory);
        }
        if (store_is_put_off(found)) {
            return found;
        }
        if (found == STORE_HIT && read) {
            outcome = tier_delete(store, read, &view, request->key, hash);
            if (outcome == STORE_DELETED || outcome == STORE_BUSY) {
                return outcome;
            }
        }
        if (!may_look_again(session)) {
            return space_refused(store, COUNTER_oom_gave_up);
        }
    }
    return STORE_BUSY;
}

int flash_delete(struct session *session, const struct store_delete *request) {
    int outcome = delete_anywhere(session, request);
    if (UNLIKELY(outcome == STORE_BUSY)) {
        session_put_off(session);
    }
    return outcome;
}

void flash_note_read(struct session *session, const struct flash_read *read,
                     const struct link_view *view, const char *key, uint64_t hash) {
    struct store *store = session_store(session);
    if (tier_note_read(store, read, view, hash)) {
        int brought = tier_bring_back(store, read, view, key, hash);
        count(store->proc, COUNTER_recache_from_extstore, brought == STORE_STORED);
    }
}

void flash_look_ahead(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash) {
    struct store *store = session_store(session);
    struct session_flash *flash = session->flash;
    struct link_view view;
    if (!flash->waits_for || flash->held == UINT32_MAX
        || link_find(store, key, key_bytes, hash, &view) != STORE_MISS) {
        return;
    }
    uint64_t entry = link_flash_entry(store, hash);
    uint32_t place;
    struct flash_read *read = entry ? hold(session, entry, true, &place) : NULL;
    if (read && read->state != FLASH_READ_DONE) {
        // Most will be done when the last is: the session wakes up once, not once for each.
        flash->waits_for = read;
    }
}

void flash_look_ahead_meta(struct session *session, const char *in, const char *end) {
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
            flash_look_ahead(session, key, key_bytes,
                             link_hash(session_store(session), key, key_bytes));
        }
        in = newline + 1;
    }
}

enum put_result reply_put_record(struct store *store, const struct link_view *view, char *at,
                                 struct reply *reply) {
    if (view->value_bytes <= LINK_COPY_BYTES_MAX) {
        at = put_bytes(at, view->value, view->value_bytes);
        reply->at = PUT_LITERAL(at, "\r\n");
        return PUT_DONE;
    }
    char *copy = reply_own(store, view->value_bytes);
    if (!copy) {
        return PUT_NO_MEMORY;
    }
    memcpy(copy, view->value, view->value_bytes);
    reply_put_owned(view, copy, at, reply);
    return PUT_DONE;
}
