// Composing replies: a contiguous buffer, and values that are sent from the arena at marked places
// in it.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/check_inline.h"
#include "link/link_claims_inline.h"
#include "link/link_value_inline.h"
#include "proto/session.h"

// Room a command may count on: one copied value, its header, and a generous line.
#define REPLY_ROOM_BYTES (LINK_COPY_BYTES_MAX + 2048)

// More bytes of copied values than this do not wait in one reply, but for the last one's.
#define REPLY_OWNED_BYTES_MAX (1u << 20)

// Copies of large values wait outside of the cache's memory until their clients have taken them.
// With this much waiting for slow clients in one worker, values are refused rather than copied:
// what many idle readers can pile up has an end, far above what clients that read make it (each
// reply holds REPLY_OWNED_BYTES_MAX at most).
#define REPLY_WAITING_BYTES_MAX (64u << 20)

// While pins are tight one reply has so many of them: enough are left for the replies of all
// others.
#define REPLY_VALUES_TIGHT 2

// A value that follows the first `buffer_offset` bytes of the buffer: pinned in the arena, or a
// copy of its own.
struct reply_value {
    char *owned;    // NULL: pinned.
    uint32_t buffer_offset;
    uint32_t pin;
    uint32_t ref;
    uint32_t state;
    uint32_t class_id;
    uint32_t value_bytes;
    uint32_t sent_bytes;
};

struct reply {
    char *start;
    char *at;
    char *end;
    struct reply_value *values;
    uint32_t value_count;
    uint32_t value_max;    // Fewer than values_room when copies take much memory.
    uint32_t values_room;
    uint32_t owned_bytes;
};

// Forgets what was sent or handed on.
static inline void reply_clear(struct reply *reply) {
    reply->at = reply->start;
    reply->value_count = 0;
    reply->value_max = reply->values_room;
    reply->owned_bytes = 0;
}
// The value was sent, or nobody wants it any more.
static inline void reply_value_release(struct store *store, struct reply_value *value) {
    if (value->owned) {
        count(store->proc, COUNTER_response_buf_bytes, (uint64_t)-(int64_t)value->value_bytes);
        free(value->owned);
    } else {
        link_unpin(store, value->pin);
    }
}
// A pinned value that waits for a slow client becomes a copy of its own, and its pin goes. Returns
// false without memory.
bool reply_value_copy_out(struct store *store, struct reply_value *value);
// One piece of the value, see link_value_span().
static inline uint32_t reply_value_span(const struct store *store, const struct reply_value *value,
                                        uint32_t offset, const char **place_out) {
    if (value->owned) {
        *place_out = value->owned + offset;
        return value->value_bytes - offset;
    }
    return link_value_span(store, link_item(store, value->ref), value->state, value->class_id,
                           offset, place_out);
}

static inline bool reply_is_full(const struct reply *reply) {
    return (size_t)(reply->end - reply->at) < REPLY_ROOM_BYTES
           || reply->value_count == reply->value_max;
}
static inline char *reply_put_bytes(char *at, const char *bytes, size_t count) {
    memcpy(at, bytes, count);
    return at + count;
}
#define PUT_LITERAL(at, literal) reply_put_bytes((at), "" literal "", sizeof(literal) - 1)
#define REPLY_LITERAL(reply, literal) ((reply)->at = PUT_LITERAL((reply)->at, literal))

static inline void reply_line(struct reply *reply, const char *line) {
    reply->at = reply_put_bytes(reply->at, line, strlen(line));
    reply->at = PUT_LITERAL(reply->at, "\r\n");
}

static inline char *reply_put_u64(char *at, uint64_t value) {
    if (value < 10) {
        *at = (char)('0' + value);
        return at + 1;
    }
    char digits[20];
    uint32_t used = 0;
    do {
        digits[used++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (used) {
        *at++ = digits[--used];
    }
    return at;
}
static inline char *reply_put_i64(char *at, int64_t value) {
    if (value < 0) {
        *at++ = '-';
        return reply_put_u64(at, (uint64_t)-value);
    }
    return reply_put_u64(at, (uint64_t)value);
}

// What a command is answered with that waited for a bucket for too long.
#define REPLY_BUSY "SERVER_ERROR busy\r\n"
// Answers a command that stores, with an outcome that all protocols of lines call an error:
// STORE_TOO_LARGE, STORE_NO_MEMORY or EXECUTE_BUSY.
void reply_refusal(struct reply *reply, int outcome);
// Answers a command that was to change an item and could not, in the words of all protocols.
void reply_failure(struct reply *reply, int outcome);
// Takes back what a command has put into the reply since it stood at `start` and had so many
// values.
void reply_take_back(struct store *store, struct reply *reply, char *start, uint32_t values);

enum put_result { PUT_DONE, PUT_CHANGED, PUT_NO_MEMORY };

// Memory for a copy of a large value that waits behind a reply, counted in response_buf_bytes.
// NULL: there is none, or too much is waiting for slow clients.
char *reply_own(struct store *store, uint32_t value_bytes);
// Puts such a copy, filled, behind what ends at `at`. Owns: the reply.
void reply_put_owned(const struct link_view *view, char *copy, char *at, struct reply *reply);
// A large value for which no pin is free goes out as a copy.
enum put_result reply_put_copy(struct store *store, const struct link_view *view, char *at,
                               struct reply *reply);

// Whether the value goes through the reply's buffer.
static inline bool reply_copies(const struct store *store, const struct link_view *view,
                                const struct reply *reply) {
    if (LIKELY(view->value_bytes <= LINK_COPY_LATER_BYTES_MAX)) {
        return view->value != NULL;
    }
    bool is_first_in_reply = reply->at == reply->start;
    return view->value && view->value_bytes <= LINK_COPY_BYTES_MAX
           && ((is_first_in_reply && view->value_bytes <= LINK_COPY_FIRST_BYTES_MAX)
               || UNLIKELY(!link_may_pin_small(store)));
}

// Puts the value into the reply, copied or pinned. PUT_CHANGED: the item changed meanwhile.
// PUT_NO_MEMORY: no pin is free, nor memory for a copy. The value and its line end go to `at`; only
// PUT_DONE moves the reply on.
static inline enum put_result reply_put_value(struct store *store, const struct link_view *view,
                                              char *at, struct reply *reply) {
    if (LIKELY(reply_copies(store, view, reply))) {
        racy_copy(at, view->value, view->value_bytes);
        if (!link_holds(view)) {
            return PUT_CHANGED;
        }
        reply->at = PUT_LITERAL(at + view->value_bytes, "\r\n");
        return PUT_DONE;
    }
    uint32_t pin = link_pin(store, view);
    if (UNLIKELY(pin == LINK_NO_PIN)) {
        return reply_put_copy(store, view, at, reply);
    }
    if (pin == LINK_NO_CLAIM) {
        return PUT_CHANGED;
    }
    reply->values[reply->value_count++] =
        (struct reply_value){.buffer_offset = (uint32_t)(at - reply->start),
                             .pin = pin,
                             .ref = view->ref,
                             .state = view->state,
                             .class_id = view->class_id,
                             .value_bytes = view->value_bytes};
    if (UNLIKELY(link_pins_are_tight(store)) && reply->value_count >= REPLY_VALUES_TIGHT) {
        reply->value_max = reply->value_count;    // This reply is full.
    }
    reply->at = PUT_LITERAL(at, "\r\n");
    return PUT_DONE;
}

// The same for the view of a record from flash: a large value is copied behind the reply, and
// counted in response_buf_bytes. PUT_NO_MEMORY: there is none for it, or too much is waiting for
// slow clients.
enum put_result reply_put_record(struct store *store, const struct link_view *view, char *at,
                                 struct reply *reply);
