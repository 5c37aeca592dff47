// The writer's side: asking whether somebody watches, and noting an event.
#pragma once

#include "base/check_inline.h"
#include "base/shared_inline.h"
#include "meter/meter_inline.h"
#include "watch/watch.h"

struct watch_root;

// A process's handle, part of its store's.
struct watch {
    uint32_t mask;    // What is wanted, enum watch_class bits, as of this process's last turn.
    const uint32_t *wanted;     // The same in shared memory, as it is now.
    struct watch_root *root;    // NULL when the arena has no rings.
    struct proc *proc;
    uint64_t told;    // How far the ring was when readers were told of it last.
    bool is_ripe;     // A good part of the ring was written since: they should look before it goes
                      // round.
};

enum watch_kind {
    WATCH_NOTHING,    // Left by a process that died while it wrote.
    WATCH_ITEM_GET,
    WATCH_ITEM_STORE,
    WATCH_EVICTION,
    WATCH_DELETED,
    WATCH_CONN_NEW,
    WATCH_CONN_CLOSE,
    WATCH_EXTWRITE,
    WATCH_TEXT,
    WATCH_ERROR
};

// Of WATCH_ITEM_GET, as memcached numbers them.
enum watch_found { WATCH_NOT_FOUND, WATCH_FOUND, WATCH_FLUSHED, WATCH_EXPIRED };
// Of WATCH_ITEM_STORE.
enum watch_stored {
    WATCH_NOT_STORED,
    WATCH_STORED,
    WATCH_EXISTS,
    WATCH_STORE_NOT_FOUND,
    WATCH_TOO_LARGE,
    WATCH_NO_MEMORY
};
// Of WATCH_ITEM_STORE and WATCH_DELETED.
enum watch_command {
    WATCH_BY_NULL,
    WATCH_BY_ADD,
    WATCH_BY_SET,
    WATCH_BY_REPLACE,
    WATCH_BY_APPEND,
    WATCH_BY_PREPEND,
    WATCH_BY_CAS,
    WATCH_BY_DELETE,
    WATCH_BY_MD
};
// For `connection`, of one that was refused and has no number.
#define WATCH_NO_CONNECTION UINT32_MAX
// Of WATCH_CONN_CLOSE.
enum watch_reason { WATCH_IN_ERROR, WATCH_NORMAL, WATCH_IDLE_TIMEOUT, WATCH_SHUTDOWN };

// One event; zero-initialise, then set what its kind has.
struct watch_event {
    uint8_t kind;
    uint8_t status;     // enum watch_found, watch_stored or watch_reason.
    uint8_t command;    // enum watch_command; the write stream of WATCH_EXTWRITE.
    bool is_fetched;
    uint8_t class_id;
    uint8_t family;    // Of the client: 4, 6, or 1 for unix.
    uint16_t port;
    bool is_datagram;       // The client speaks UDP.
    uint32_t connection;    // As `stats conns` names it.
    uint32_t size_bytes;
    int64_t ttl_seconds;
    uint32_t idle_seconds;
    const uint8_t *address;    // 16 bytes; NULL where the kind has none.
    const char *key;           // Borrowed; encoded when it is shown. What is too long is cut.
    uint32_t key_bytes;
    const char *text;    // WATCH_TEXT: the whole line; WATCH_ERROR: command, a blank, the answer;
                         // WATCH_CONN_NEW and WATCH_CONN_CLOSE: the client's identity.
    uint32_t text_bytes;
};

// Takes the slot's ring over, from a predecessor that may have died while it wrote. The handle is
// good for a process whose arena has no rings: then nobody watches.
void watch_open(struct proc *proc, struct watch *watch);
// A slot's owner is dead: it watches no more. For who repairs the slot; may be done again.
void watch_repair(struct arena *arena, uint32_t dead_slot_index);
// Others watch from here on, or do not any more.
void watch_turned(struct watch *watch);
// To be called at each wake-up.
static inline void watch_turn(struct watch *watch) {
    if (UNLIKELY(SHARED_LOAD(*watch->wanted) != watch->mask)) {
        watch_turned(watch);
    }
}
// Whether to note events of these classes.
static inline bool watch_wants(const struct watch *watch, uint32_t classes) {
    return UNLIKELY(watch->mask & classes);
}
// Readers are told that this process's ring is to be looked at.
void watch_told(struct watch *watch);
// Notes an event of one class, which somebody wants. Waits for nobody and cannot fail; takes no
// lock, and may be called with any. Crash: the event is lost.
void watch_note(struct watch *watch, uint32_t class, const struct watch_event *event);
// The same for a line that is made already.
void watch_note_text(struct watch *watch, uint32_t class, const char *text, uint32_t text_bytes);
