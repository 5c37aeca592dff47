// How a session waits: the reads from flash that it holds, and buckets that other processes hold.
#include <stdlib.h>

#include "flash/flash_index_inline.h"
#include "proto/session_internal.h"

// A command that is sent to look again more often than this is given up.
#define ROUNDS_MAX 64
// A command that waits for a bucket longer than this is given up. Whoever holds one is dead or at
// work again before.
#define BUSY_SECONDS_MAX 10

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

// What the command under way noted in the store's handle is not for those that come next.
static void leave_no_trace(struct session *session) {
    link_rule_out_none(session_store(session));
    session_store(session)->needed_ref = 0;
}

void session_settle(struct session *session) {
    struct session_flash *flash = session->flash;
    if (flash) {
        release(session, flash->looked_at);
        flash->rounds = 0;
        leave_no_trace(session);
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

struct flash_read *session_need_read(struct session *session, uint64_t entry, bool is_get) {
    struct session_flash *flash = session->flash;
    uint32_t place;
    struct flash_read *read = hold(session, entry, is_get, &place);
    if (!read && flash->held) {
        // What was read ahead must not keep others, or itself, from what is needed now.
        release(session, flash->held);
        read = hold(session, entry, is_get, &place);
    }
    if (!read || read->state != FLASH_READ_DONE) {
        flash->waits_for = read;
        session->is_waiting = true;
        leave_no_trace(session);
        return NULL;
    }
    // Counted when it is of use: one that was given back before, and is begun again, is one read to
    // the client.
    bool is_first_look = is_get && !(flash->looked_at & 1u << place);
    count(session_store(session)->proc, COUNTER_get_extstore, is_first_look);
    flash->looked_at |= 1u << place;
    return read;
}

void session_release_looked(struct session *session) {
    release(session, session->flash->looked_at);
}

bool session_can_read(struct session *session) {
    return session->proto->reader && flash_of(session);
}

bool session_may_look_again(struct session *session) {
    return flash_of(session) && session->flash->rounds++ < ROUNDS_MAX;
}

void session_look_ahead(struct session *session, const char *key, uint32_t key_bytes,
                        uint64_t hash) {
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

bool session_put_off(struct session *session) {
    struct store *store = session_store(session);
    uint32_t now = store->proc->now_seconds;
    if (session->busy_rounds++ == 0) {
        session->busy_since_seconds = now;
        count(store->proc, COUNTER_busy_waits, 1);
    } else if (now - session->busy_since_seconds >= BUSY_SECONDS_MAX) {
        count(store->proc, COUNTER_busy_refused, 1);
        return false;
    }
    session->is_waiting = session->is_busy = true;
    if (session->flash) {
        leave_no_trace(session);
    }
    return true;
}
