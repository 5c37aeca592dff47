// What commands do, once for all protocols: a request in, an outcome out. A parser fills the
// request and writes its own answer for the outcome. Here stands what every command has to bear:
// values that are on flash, buckets that other processes hold, values that change while they are
// copied.
//
// Owns: the session owns the reads from flash until session_settle(). Locks: none is held when a
// function returns. Crash: as the store's operation, done or not.
#pragma once

#include "proto/session_internal.h"
#include "space/space_take_inline.h"
#include "store/store_mark_inline.h"
#include "tier/tier_read.h"

// What comes of a request besides the outcomes that the store's operation names.
enum execute_outcome {
    // The session is parked: nothing was changed, counted or answered. Leave no trace and return;
    // the command is done over again from its first byte.
    EXECUTE_WAITS = -1,
    // A bucket was busy for too long: answer REPLY_BUSY.
    EXECUTE_BUSY = -2
};

// `forgets_refused`: a value that is too large, or finds no memory, takes the key's old value with
// it whatever the mode is, as meta commands have it.
int execute_put(struct session *session, const struct store_write *write, const char *value,
                bool forgets_refused, struct store_result *result);
// The same for an empty item that no client called a set: nothing is counted.
int execute_make(struct session *session, const struct store_write *write,
                 struct store_result *result);
// The same as execute_put() for a value that comes in pieces, see store_begin() and what follows
// it. EXECUTE_WAITS leaves the value as it is.
int execute_begin(struct session *session, const struct store_write *write, bool forgets_refused,
                  struct store_making *making);
int execute_commit(struct session *session, const struct store_write *write,
                   struct store_making *making, struct store_result *result);
int execute_give_up(struct session *session, const struct store_write *write, bool forgets_refused,
                    struct store_making *making);

int execute_delete(struct session *session, const struct store_delete *request);
int execute_arith(struct session *session, const struct store_arith *request,
                  struct store_number *number_out);
int execute_touch(struct session *session, const char *key, uint32_t key_bytes,
                  uint32_t expiry_seconds);
// Counts a flush, whatever comes of it. Returns false when clients may not do it.
bool execute_may_flush(struct session *session);

struct execute_get;
// Writes what stands before the value, or the whole answer when no value is wanted, and returns its
// end; says what the read changes. It is called anew whenever the item was found to have changed.
typedef char *(*execute_put_head)(struct execute_get *get, char *at);

// A read of one key. Zero-initialise, then set what is wanted; the view needs nothing. It goes by
// value to what is out of line, so that it costs nothing while the first look is enough.
struct execute_get {
    struct session *session;
    const char *key;
    uint64_t hash;
    uint32_t key_bytes;
    bool wants_value;
    bool wants_cas;      // Of put_head() alone.
    bool is_counted;     // As a read, by the item's class and by the flash tier.
    bool is_read;        // The item was used: it gets younger, and nearer to memory.
    bool is_touch;       // May change the expiry, and is counted as a touch.
    bool is_created;     // This client made the item, perhaps before it had to wait.
    bool vivifies;       // A missing item is made, empty.
    bool has_cas_new;    // With this CAS number ...
    uint64_t cas_new;
    uint32_t vivify_expiry_seconds;    // ... and this expiry.
    const void *line;                  // The parser's own, for put_head().
    execute_put_head put_head;
    // What put_head() sees and says: the item, and how the read changes it.
    struct link_view *view;
    const struct flash_read *read;    // The view is of this record; NULL: it is of memory.
    bool is_changed;
    uint32_t set_state;
    bool has_expiry;
    uint32_t expiry_seconds;
};

// Goes on with a read of which the first look came to `found`, or to STORE_LOOK_AGAIN.
int execute_get_on(struct execute_get get, int found, struct reply *reply);
// Makes the change that the read makes to the viewed item, and lets its bucket go. Returns
// STORE_HIT, or why it cannot be: STORE_LOOK_AGAIN, EXECUTE_WAITS, EXECUTE_BUSY.
int execute_change(struct execute_get get);
// The viewed value did not get into the reply; lets its bucket go.
int execute_unanswered(struct execute_get get, enum put_result put);
// Counts a read of the record that was answered from, and brings the item back to memory when it is
// read often. The view may be gone then.
void execute_note_record(struct execute_get get);

// What watchers are told. Each of these is for when somebody watches; what was put off says
// nothing.

// What the key had before a command, as far as memory knows.
struct execute_seen {
    int found;    // As link_find() has it.
    uint32_t class_id;
    uint32_t value_bytes;
    uint32_t expiry_seconds;
};
// The classes for which a command that changes looks at the key before.
#define EXECUTE_WATCHED (WATCH_FETCHERS | WATCH_MUTATIONS | WATCH_DELETIONS)
static inline bool execute_is_watched(const struct session *session) {
    return watch_wants(&session_store(session)->watch, EXECUTE_WATCHED);
}
void execute_see(struct session *session, const char *key, uint32_t key_bytes,
                 struct execute_seen *seen_out);
void execute_watch_get(const struct execute_get *get, int found);
void execute_watch_store(struct session *session, const struct store_write *write, int outcome,
                         bool forgets_refused, const struct execute_seen *before);
void execute_watch_use(struct session *session, const char *key, uint32_t key_bytes, int outcome,
                       const struct execute_seen *before);
void execute_watch_arith(struct session *session, const struct store_arith *request, int outcome,
                         const struct store_number *number, const struct execute_seen *before);
void execute_watch_delete(struct session *session, const struct store_delete *request, int outcome,
                          const struct execute_seen *before);

// Answers with the viewed item. Returns STORE_HIT, STORE_LOOK_AGAIN, or why there is no answer.
static inline __attribute__((always_inline)) int execute_answer(struct execute_get *get,
                                                                execute_put_head put_head,
                                                                struct reply *reply) {
    struct store *store = session_store(get->session);
    struct link_view *view = get->view;
    char *start = reply->at;
    uint32_t values = reply->value_count;
    char *at = put_head(get, start);
    enum put_result put = PUT_DONE;
    if (!get->wants_value) {
        put = get->read || link_holds(view) ? PUT_DONE : PUT_CHANGED;
        reply->at = LIKELY(put == PUT_DONE) ? at : start;
    } else {
        put = UNLIKELY(get->read) ? reply_put_record(store, view, at, reply)
                                  : reply_put_value(store, view, at, reply);
    }
    if (UNLIKELY(put != PUT_DONE)) {
        return execute_unanswered(*get, put);
    }
    if (UNLIKELY(get->is_changed)) {
        int changed = execute_change(*get);
        if (UNLIKELY(changed != STORE_HIT)) {
            reply_take_back(store, reply, start, values);
            return changed;
        }
    } else if (LIKELY(!get->read)) {
        if (get->is_read && UNLIKELY(link_wants_bump(store, view))) {
            link_bump(store, view);
        }
        link_let_go(store, view);
    }
    if (get->is_counted) {
        if (UNLIKELY(get->is_touch)) {
            class_count(store, view->class_id, CLASS_touch_hits, 1);
        } else {
            link_count_hit(store, view);
        }
    }
    if (UNLIKELY(get->read)) {
        execute_note_record(*get);
    }
    return STORE_HIT;
}

// Answers a read if the key is there. Returns STORE_HIT, STORE_MISS, STORE_MISS_EXPIRED or
// STORE_MISS_FLUSHED; STORE_NO_MEMORY when there was none for what is on flash, or for the value in
// the reply; STORE_NOT_STORED when there was none for the item to be made; or one of enum
// execute_outcome. Only STORE_HIT has answered.
static inline __attribute__((always_inline)) int execute_get(struct execute_get *get,
                                                             execute_put_head put_head,
                                                             struct reply *reply) {
    const struct session *session = get->session;
    int found =
        link_look(session_store(session), get->key, get->key_bytes, get->hash, 0, get->view);
    if (LIKELY(found == STORE_HIT)) {
        found = execute_answer(get, put_head, reply);
        if (LIKELY(found != STORE_LOOK_AGAIN)) {
            if (watch_wants(&session_store(session)->watch, WATCH_FETCHERS)) {
                execute_watch_get(get, found);
            }
            return found;
        }
    } else if (LIKELY(found == STORE_MISS && !session->proto->reader && !get->vivifies)) {
        if (watch_wants(&session_store(session)->watch, WATCH_FETCHERS)) {
            execute_watch_get(get, found);
        }
        return found;
    }
    return execute_get_on(*get, found, reply);
}

// For execute*.c, and what stands inline above.

// A key that is looked for where its value may be on flash.
struct execute_look {
    struct session *session;
    const char *key;
    uint32_t key_bytes;
    uint64_t hash;
    bool is_get;     // Its reads are counted as a get's.
    bool changes;    // For who will change the value: an entry whose device does not answer goes
                     // then, since whoever is told that the key is missing must not find it
                     // unchanged later.
    struct link_view *view;
    const struct flash_read *read;    // Found: the view is of this record; NULL: of memory.
};
// Looks on flash for a key that link_find() has just found missing in memory (the view is of that
// look-up). Returns
//   STORE_HIT        without look->read: it is in memory now; else the view is the record's, until
//                    session_settle();
//   STORE_MISS, STORE_MISS_EXPIRED, STORE_MISS_FLUSHED    it is nowhere;
//   STORE_NO_MEMORY;
//   what puts it off (store_is_put_off()): see execute_put_off().
// Where the device does not answer, the key counts as missing.
int execute_look_on_flash(struct execute_look *look);
// Puts what is on flash of a key into memory; nothing is known of it before. STORE_HIT: look there
// (again). Else as execute_look_on_flash().
int execute_bring_back(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
                       bool is_get);
// Goes on with a delete that flash has a say in. Returns true when the store is to be asked again,
// else *outcome is what comes of it.
bool execute_delete_on_flash(struct session *session, const struct store_delete *request,
                             int *outcome);
// A command is put off: parks the session if it is not parked yet. Returns EXECUTE_WAITS or
// EXECUTE_BUSY.
int execute_put_off(struct session *session);
