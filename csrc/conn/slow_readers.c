// Clients that do not take their answers: what these hold is copied out, or they are closed, once
// others lack it.
#include <stdio.h>

#include "conn/conn_internal.h"

// Who has taken nothing for so long has its values copied out, or is closed.
#define COPIED_AFTER_SECONDS 2
#define CLOSED_AFTER_SECONDS 10
// What one call may do: others wait for it.
#define LOOKS_MAX 256
#define CLOSES_MAX 8
#define COPIED_BYTES_MAX (4u << 20)
// Copies for slow readers take this part of what may wait, so that there is room for those of
// others.
#define WAITING_BYTES_COPIED_OUT (REPLY_WAITING_BYTES_MAX / 2)
#define WAITING_BYTES_TIGHT (REPLY_WAITING_BYTES_MAX / 4 * 3)
// Unlinked items that readers hold may take this part of the limit.
#define LIMBO_PART 4

// What is short, as bits.
enum { SHORT_OF_PINS = 1, SHORT_OF_ITEM_MEMORY = 2, SHORT_OF_COPIES = 4 };

static uint32_t find_shortage(const struct conns *conns) {
    const struct store *store = conns->store;
    uint64_t limit = (uint64_t)live_get(conns->arena, LIVE_memory_limit_bytes);
    uint64_t waiting = conns->proc->counters[COUNTER_response_buf_bytes];
    return (link_pins_are_scarce(store) ? SHORT_OF_PINS : 0)
           | (link_limbo_bytes(store) > limit / LIMBO_PART ? SHORT_OF_ITEM_MEMORY : 0)
           | (waiting > WAITING_BYTES_TIGHT ? SHORT_OF_COPIES : 0);
}

// Whether the connection holds any of what is short.
static bool holds(const struct conns *conns, const struct connection *connection,
                  uint32_t shortage) {
    const struct backlog *backlog = connection->backlog;
    for (uint32_t i = backlog->value_first; i < backlog->value_count; i++) {
        const struct reply_value *value = &backlog->values[i];
        uint32_t held = value->owned ? SHORT_OF_COPIES : SHORT_OF_PINS;
        if (!value->owned && link_is_unlinked(conns->store, value->ref)) {
            held |= SHORT_OF_ITEM_MEMORY;
        }
        if (held & shortage) {
            return true;
        }
    }
    return false;
}

// Copies all pinned values out, or none. Returns the bytes copied, 0 when that is more than there
// is room for.
static uint32_t copy_out(struct conns *conns, struct backlog *backlog, uint32_t bytes_max) {
    uint64_t bytes = 0;
    for (uint32_t i = backlog->value_first; i < backlog->value_count; i++) {
        bytes += backlog->values[i].owned ? 0 : backlog->values[i].value_bytes;
    }
    if (bytes > bytes_max
        || conns->proc->counters[COUNTER_response_buf_bytes] + bytes > WAITING_BYTES_COPIED_OUT) {
        return 0;
    }
    for (uint32_t i = backlog->value_first; i < backlog->value_count; i++) {
        if (!backlog->values[i].owned && !reply_value_copy_out(conns->store, &backlog->values[i])) {
            return 0;
        }
    }
    return (uint32_t)bytes;
}

static void tell(struct conns *conns) {
    struct reader_list *readers = &conns->readers;
    uint32_t now = conns->proc->now_seconds;
    if (readers->closed == 0 || !conn_notice_is_due(conns, readers->logged_seconds)) {
        return;
    }
    char text[160];
    int bytes = snprintf(text, sizeof text,
                         "worker %u: closed %u clients that took nothing of their answers for %u s "
                         "and held memory that others lacked",
                         conns->worker, readers->closed, CLOSED_AFTER_SECONDS);
    log_line(conns->log, text, (uint32_t)bytes);
    readers->closed = 0;
    readers->logged_seconds = now;
}

// Goes through the slow readers, from where the last call ended, while anything is short.
static void free_what_they_hold(struct conns *conns) {
    struct reader_list *readers = &conns->readers;
    uint32_t now = conns->proc->now_seconds;
    uint32_t room = COPIED_BYTES_MAX;
    uint32_t closes = CLOSES_MAX;
    uint32_t shortage = find_shortage(conns);
    struct connection *connection = readers->cursor ? readers->cursor : readers->first;
    readers->cursor = NULL;
    for (uint32_t looks = LOOKS_MAX; connection && shortage && closes > 0; looks--) {
        struct connection *next = connection->backlog->reader_next;
        uint32_t seconds = now - connection->backlog->progress_seconds;
        if (seconds < COPIED_AFTER_SECONDS || looks == 0) {
            readers->cursor = looks == 0 ? connection : NULL;
            break;
        }
        if (holds(conns, connection, shortage)) {
            bool is_of_use = (shortage & ~(uint32_t)SHORT_OF_COPIES) && room > 0;
            uint32_t copied = is_of_use ? copy_out(conns, connection->backlog, room) : 0;
            room -= copied;
            count(conns->proc, COUNTER_readers_copied, copied > 0);
            if (copied == 0 && seconds >= CLOSED_AFTER_SECONDS) {
                count(conns->proc, COUNTER_readers_closed, 1);
                readers->closed++;
                closes--;
                conn_close_as(conns, connection, WATCH_IN_ERROR);
            }
            shortage = find_shortage(conns);
        }
        connection = next;
    }
}

void conn_readers_free_memory(struct conns *conns) {
    free_what_they_hold(conns);
    tell(conns);
}
