// Composing replies: values that wait behind a reply, answers that protocols share, and a reply
// buffer of its own for tests.
#include "proto/execute_internal.h"

void reply_refusal(struct reply *reply, int outcome) {
    switch (outcome) {
    case STORE_TOO_LARGE:
        REPLY_LITERAL(reply, "SERVER_ERROR object too large for cache\r\n");
        break;
    case EXECUTE_BUSY: REPLY_LITERAL(reply, REPLY_BUSY); break;
    default: REPLY_LITERAL(reply, "SERVER_ERROR out of memory storing object\r\n"); break;
    }
}

void reply_failure(struct reply *reply, int outcome) {
    switch (outcome) {
    case EXECUTE_BUSY: REPLY_LITERAL(reply, REPLY_BUSY); break;
    case STORE_NON_NUMERIC:
        REPLY_LITERAL(reply, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
        break;
    default: REPLY_LITERAL(reply, "SERVER_ERROR out of memory\r\n"); break;
    }
}

void reply_take_back(struct store *store, struct reply *reply, char *start, uint32_t values) {
    while (reply->value_count > values) {
        reply_value_release(store, &reply->values[--reply->value_count]);
    }
    reply->at = start;
}

char *reply_own(struct store *store, uint32_t value_bytes) {
    bool is_bounded = store->proc->counters[COUNTER_response_buf_bytes] < REPLY_WAITING_BYTES_MAX;
    char *copy = is_bounded ? malloc(value_bytes) : NULL;
    count(store->proc, COUNTER_response_buf_bytes, copy ? value_bytes : 0);
    return copy;
}

void reply_put_owned(const struct link_view *view, char *copy, char *at, struct reply *reply) {
    reply->values[reply->value_count++] =
        (struct reply_value){.owned = copy,
                             .buffer_offset = (uint32_t)(at - reply->start),
                             .value_bytes = view->value_bytes};
    reply->owned_bytes += view->value_bytes;
    if (reply->owned_bytes >= REPLY_OWNED_BYTES_MAX) {
        reply->value_max = reply->value_count;    // This reply is full.
    }
    reply->at = PUT_LITERAL(at, "\r\n");
}

enum put_result reply_put_copy(struct store *store, const struct link_view *view, char *at,
                               struct reply *reply) {
    char *copy = reply_own(store, view->value_bytes);
    if (!copy) {
        return PUT_NO_MEMORY;
    }
    uint32_t copied = 0;
    const char *piece;
    uint32_t bytes;
    // What changes meanwhile may look longer than the room that was taken for it.
    while (copied < view->value_bytes
           && (bytes = link_value_span(store, view->item, view->state, view->class_id, copied,
                                       &piece))) {
        bytes = bytes < view->value_bytes - copied ? bytes : view->value_bytes - copied;
        racy_copy(copy + copied, piece, bytes);
        copied += bytes;
    }
    if (copied < view->value_bytes || !link_holds(view)) {
        count(store->proc, COUNTER_response_buf_bytes, (uint64_t)-(int64_t)view->value_bytes);
        free(copy);
        return PUT_CHANGED;
    }
    reply_put_owned(view, copy, at, reply);
    count(store->proc, COUNTER_get_copied_for_claims, 1);
    return PUT_DONE;
}

enum put_result reply_put_record(struct store *store, const struct link_view *view, char *at,
                                 struct reply *reply) {
    if (view->value_bytes <= LINK_COPY_BYTES_MAX) {
        at = reply_put_bytes(at, view->value, view->value_bytes);
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

bool reply_value_copy_out(struct store *store, struct reply_value *value) {
    char *copy = reply_own(store, value->value_bytes);
    if (!copy) {
        return false;
    }
    uint32_t copied = 0;
    const char *piece;
    uint32_t bytes;
    while (copied < value->value_bytes
           && (bytes = reply_value_span(store, value, copied, &piece))) {
        memcpy(copy + copied, piece, bytes);
        copied += bytes;
    }
    PYMC_CHECK(copied == value->value_bytes);    // It is pinned: its bytes do not change.
    link_unpin(store, value->pin);
    value->owned = copy;
    return true;
}

int reply_create(uint32_t buffer_bytes, uint32_t values_max, struct reply **reply_out) {
    if (buffer_bytes < REPLY_ROOM_BYTES || values_max == 0) {
        return PYMC_INVALID;
    }
    struct reply *reply = calloc(1, sizeof *reply);
    char *buffer = malloc(buffer_bytes);
    struct reply_value *values = calloc(values_max, sizeof *values);
    if (!reply || !buffer || !values) {
        free(reply);
        free(buffer);
        free(values);
        return PYMC_NO_MEMORY;
    }
    *reply = (struct reply){
        .start = buffer, .end = buffer + buffer_bytes, .values = values, .values_room = values_max};
    reply_clear(reply);
    *reply_out = reply;
    return PYMC_OK;
}

void reply_destroy(struct proto *proto, struct reply *reply) {
    if (!reply) {
        return;
    }
    for (uint32_t i = 0; i < reply->value_count; i++) {
        reply_value_release(proto->store, &reply->values[i]);
    }
    free(reply->start);
    free(reply->values);
    free(reply);
}

int64_t reply_drain(struct proto *proto, struct reply *reply, char *place, uint64_t place_bytes) {
    uint64_t total = (uint64_t)(reply->at - reply->start);
    for (uint32_t i = 0; i < reply->value_count; i++) {
        total += reply->values[i].value_bytes;
    }
    if (total > place_bytes) {
        return -1;
    }
    const char *from = reply->start;
    for (uint32_t i = 0; i < reply->value_count; i++) {
        struct reply_value *value = &reply->values[i];
        const char *mark = reply->start + value->buffer_offset;
        place = reply_put_bytes(place, from, (size_t)(mark - from));
        from = mark;
        const char *piece;
        uint32_t bytes;
        uint32_t offset = 0;
        while ((bytes = reply_value_span(proto->store, value, offset, &piece))) {
            place = reply_put_bytes(place, piece, bytes);
            offset += bytes;
        }
        reply_value_release(proto->store, value);
    }
    reply_put_bytes(place, from, (size_t)(reply->at - from));
    reply_clear(reply);
    return (int64_t)total;
}

// A request of the binary protocol: its head, and where its number for the answer stands there.
#define BINARY_REQUEST 0x80
#define BINARY_RESPONSE 0x81
#define BINARY_HEAD_BYTES 24
#define BINARY_OPAQUE_AT 12
#define BINARY_TOO_LARGE 3

uint32_t reply_put_too_large(char *place, const char *request, uint32_t request_bytes,
                             const char *words) {
    uint32_t bytes = (uint32_t)strlen(words);
    PYMC_DEBUG_CHECK(BINARY_HEAD_BYTES + bytes <= REPLY_TOO_LARGE_BYTES_MAX);
    if (request_bytes < BINARY_HEAD_BYTES || (unsigned char)request[0] != BINARY_REQUEST) {
        char *at = reply_put_bytes(place, words, bytes);
        at = PUT_LITERAL(at, "\r\n");
        return (uint32_t)(at - place);
    }
    memset(place, 0, BINARY_HEAD_BYTES);
    place[0] = (char)BINARY_RESPONSE;
    place[1] = request[1];
    place[7] = BINARY_TOO_LARGE;
    place[11] = (char)bytes;
    memcpy(place + BINARY_OPAQUE_AT, request + BINARY_OPAQUE_AT, 4);
    memcpy(place + BINARY_HEAD_BYTES, words, bytes);
    return BINARY_HEAD_BYTES + bytes;
}
