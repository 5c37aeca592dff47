// UDP: each datagram is a request and a connection of its own, over a transport that has all of its
// input from the start, collects what is answered, and sends that as datagrams when it is closed.
// So a datagram leaves nothing behind for the next one, and whatever a command waits for, it waits
// as those of other clients do.
//
// Anybody can write any return address on a datagram. An answer is therefore at most
// AMPLIFICATION_MAX times as long as its request unless its address has been there over TCP, and
// nobody administers the server by datagrams.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/server_internal.h"

#define HEADER_BYTES 8
#define PAYLOAD_BYTES 1392
#define AMPLIFICATION_MAX 10
#define ANSWER_BYTES_MAX (16u << 20)
// Of all answers that are being collected; above the lower one nothing more is received in a turn,
// above the upper one an answer is refused.
#define ANSWERS_BYTES_TURN (4u << 20)
#define ANSWERS_BYTES_MAX (32u << 20)
// Datagrams received in one system call; so often in one turn at most.
#define BATCH 16
#define BATCHES_MAX 4
#define REQUEST_BYTES_MAX 65536
// Requests that wait at once, for a bucket or for Python.
#define WAITING_MAX 256
#define SENT_AT_ONCE 64
#define TOO_LARGE "SERVER_ERROR reply too large for UDP"

// What stands before each part of a request and of an answer; all of it in network byte order.
struct datagram_header {
    uint16_t request_id;
    uint16_t sequence;
    uint16_t total;
    uint16_t reserved;
};
_Static_assert(sizeof(struct datagram_header) == HEADER_BYTES, "four numbers of two bytes");

// Room for what one system call receives.
struct datagram_room {
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    union peer_address peers[BATCH];
    char bytes[BATCH][REQUEST_BYTES_MAX];
};

struct datagram {
    struct client client;    // First: it is freed as one.
    struct connection_record record;
    struct engine *engine;
    union peer_address peer;
    socklen_t peer_bytes;
    int fd;    // The listener's.
    uint16_t request_id;
    bool is_too_large;
    char *answer;
    size_t answer_bytes;
    size_t answer_room;
    size_t answer_max;
    uint32_t request_bytes;
    uint32_t request_at;    // So much of it is received.
    char request[];
};

static struct datagram *datagram_of(struct transport *transport) {
    struct connection *connection =
        (struct connection *)((char *)transport - offsetof(struct connection, transport));
    return (struct datagram *)client_of(connection);
}

static ssize_t datagram_receive_pieces(struct transport *transport, const struct iovec *pieces,
                                       size_t piece_count) {
    struct datagram *datagram = datagram_of(transport);
    size_t taken = 0;
    for (size_t i = 0; i < piece_count; i++) {
        size_t left = datagram->request_bytes - datagram->request_at;
        size_t bytes = left < pieces[i].iov_len ? left : pieces[i].iov_len;
        memcpy(pieces[i].iov_base, datagram->request + datagram->request_at, bytes);
        datagram->request_at += (uint32_t)bytes;
        taken += bytes;
    }
    return taken ? (ssize_t)taken : TRANSPORT_END;
}

static ssize_t datagram_receive(struct transport *transport, void *place, size_t bytes) {
    struct iovec piece = {place, bytes};
    return datagram_receive_pieces(transport, &piece, 1);
}

static bool make_room(struct datagram *datagram, size_t bytes) {
    size_t needed = datagram->answer_bytes + bytes;
    if (needed <= datagram->answer_room) {
        return true;
    }
    size_t room = needed < PAYLOAD_BYTES ? PAYLOAD_BYTES : needed + needed / 2;
    struct engine *engine = datagram->engine;
    size_t others = engine->datagram_answer_bytes - datagram->answer_room;
    char *answer = room <= ANSWERS_BYTES_MAX - others ? realloc(datagram->answer, room) : NULL;
    if (answer) {
        datagram->answer = answer;
        datagram->answer_room = room;
        engine->datagram_answer_bytes = others + room;
    }
    return answer != NULL;
}

// An answer that gets too large ends the conversation: the rest need not be made.
static ssize_t datagram_send_pieces(struct transport *transport, const struct iovec *pieces,
                                    size_t piece_count) {
    struct datagram *datagram = datagram_of(transport);
    ssize_t taken = 0;
    for (size_t i = 0; i < piece_count; i++) {
        size_t bytes = pieces[i].iov_len;
        if (datagram->is_too_large || bytes > datagram->answer_max - datagram->answer_bytes
            || !make_room(datagram, bytes)) {
            datagram->is_too_large = true;
            return TRANSPORT_BROKEN;
        }
        memcpy(datagram->answer + datagram->answer_bytes, pieces[i].iov_base, bytes);
        datagram->answer_bytes += bytes;
        taken += (ssize_t)bytes;
    }
    return taken;
}

static ssize_t datagram_send(struct transport *transport, const void *bytes, size_t count) {
    struct iovec piece = {(void *)bytes, count};
    return datagram_send_pieces(transport, &piece, 1);
}

static uint32_t datagram_arrived(struct transport *transport) {
    const struct datagram *datagram = datagram_of(transport);
    return datagram->request_bytes - datagram->request_at;
}

static uint32_t datagram_wanted(const struct transport *transport, uint32_t wants) {
    (void)transport;
    return wants;
}

static void datagram_shut_down(struct transport *transport) {
    (void)transport;
}

// Sends the parts of the answer from `first` on, SENT_AT_ONCE at most; returns how many went out.
// What the socket does not take is lost, as datagrams are.
static uint32_t send_parts(struct datagram *datagram, uint32_t first, uint32_t total) {
    struct mmsghdr messages[SENT_AT_ONCE] = {0};
    struct iovec pieces[SENT_AT_ONCE][2];
    struct datagram_header headers[SENT_AT_ONCE];
    uint32_t parts = 0;
    for (; parts < SENT_AT_ONCE && first + parts < total; parts++) {
        size_t at = (size_t)(first + parts) * PAYLOAD_BYTES;
        size_t left = datagram->answer_bytes - at;
        headers[parts] = (struct datagram_header){.request_id = datagram->request_id,
                                                  .sequence = htons((uint16_t)(first + parts)),
                                                  .total = htons((uint16_t)total)};
        pieces[parts][0] = (struct iovec){&headers[parts], HEADER_BYTES};
        pieces[parts][1] =
            (struct iovec){datagram->answer + at, left < PAYLOAD_BYTES ? left : PAYLOAD_BYTES};
        messages[parts].msg_hdr = (struct msghdr){.msg_name = &datagram->peer,
                                                  .msg_namelen = datagram->peer_bytes,
                                                  .msg_iov = pieces[parts],
                                                  .msg_iovlen = 2};
    }
    int sent = sendmmsg(datagram->fd, messages, parts, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent > 0 ? (uint32_t)sent : 0;
}

static void datagram_close(struct transport *transport) {
    struct datagram *datagram = datagram_of(transport);
    struct proc *proc = datagram->engine->proc;
    if (datagram->is_too_large) {
        count(proc, COUNTER_udp_refused, 1);
        datagram->answer_bytes = 0;
        if (make_room(datagram, REPLY_TOO_LARGE_BYTES_MAX)) {
            datagram->answer_bytes = reply_put_too_large(datagram->answer, datagram->request,
                                                         datagram->request_bytes, TOO_LARGE);
        }
    }
    uint32_t total = (uint32_t)((datagram->answer_bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES);
    uint32_t first = 0;
    while (first < total) {
        uint32_t sent = send_parts(datagram, first, total);
        if (sent == 0) {
            break;
        }
        first += sent;
    }
    count(proc, COUNTER_udp_sent, first);
    count(proc, COUNTER_udp_send_failed, total - first);
    free(datagram->answer);
    datagram->answer = NULL;
    datagram->engine->datagram_answer_bytes -= datagram->answer_room;
    datagram->answer_room = 0;
    datagram->engine->datagrams_waiting--;
}

static const struct transport_ops datagram_ops = {.receive = datagram_receive,
                                                  .receive_pieces = datagram_receive_pieces,
                                                  .send = datagram_send,
                                                  .send_pieces = datagram_send_pieces,
                                                  .arrived = datagram_arrived,
                                                  .wanted = datagram_wanted,
                                                  .shut_down = datagram_shut_down,
                                                  .close = datagram_close};

// How long an answer may be, its headers not counted, so that with them it is within the bound.
static size_t answer_bytes_max(const struct engine *engine, const struct client_address *address,
                               size_t received_bytes) {
    bool is_unlimited =
        live_get(engine->arena, LIVE_udp_unlimited) || addresses_was_seen(engine->store, address);
    if (is_unlimited) {
        return ANSWER_BYTES_MAX;
    }
    size_t all = received_bytes * AMPLIFICATION_MAX;
    size_t parts = (all + HEADER_BYTES + PAYLOAD_BYTES - 1) / (HEADER_BYTES + PAYLOAD_BYTES);
    return all - parts * HEADER_BYTES;
}

static void begin(struct engine *engine, const struct listener *listener, const char *bytes,
                  size_t received_bytes, const union peer_address *peer, socklen_t peer_bytes) {
    struct datagram_header header;
    size_t body_bytes = received_bytes - HEADER_BYTES;
    memcpy(&header, bytes, sizeof header);
    struct datagram *datagram = malloc(sizeof *datagram + body_bytes);
    if (!datagram) {
        count(engine->proc, COUNTER_malloc_fails, 1);
        return;
    }
    memset(datagram, 0, sizeof *datagram);
    memcpy(datagram->request, bytes + HEADER_BYTES, body_bytes);
    datagram->request_bytes = (uint32_t)body_bytes;
    datagram->request_id = header.request_id;
    datagram->engine = engine;
    datagram->fd = listener->fd;
    datagram->peer = *peer;
    datagram->peer_bytes = peer_bytes;
    // Its number is the one of the listener in `stats conns`.
    uint32_t id = (uint32_t)live_get(engine->arena, LIVE_connections_max) + engine->workers
                  + (uint32_t)(listener - engine->listeners);
    record_fill(&datagram->record, id, listener, peer);
    struct connection *connection = &datagram->client.connection;
    connection->is_datagram = true;
    connection->transport = (struct transport){.ops = &datagram_ops, .fd = -1, .holds_input = true};
    client_begin(engine, &datagram->client);
    conn_open(&engine->conns, connection, &datagram->record, listener->fd);
    struct client_address address = session_address(&connection->session);
    datagram->answer_max = answer_bytes_max(engine, &address, received_bytes);
    session_set_protocol(&connection->session, listener->options.protocol);
    session_set_rights(&connection->session, SESSION_MAY_READ | SESSION_MAY_WRITE);
    engine->datagrams_waiting++;
    count(engine->proc, COUNTER_udp_requests, 1);
    conn_event(&engine->conns, connection, TRANSPORT_IN | TRANSPORT_ENDED);
}

// A request is one datagram; parts of larger ones are not put together.
static bool is_request(const char *bytes, size_t received_bytes) {
    struct datagram_header header;
    if (received_bytes <= HEADER_BYTES) {
        return false;
    }
    memcpy(&header, bytes, sizeof header);
    return header.total == htons(1);
}

static void prepare(struct datagram_room *room) {
    for (uint32_t i = 0; i < BATCH; i++) {
        room->pieces[i] = (struct iovec){room->bytes[i], REQUEST_BYTES_MAX};
        room->messages[i].msg_hdr = (struct msghdr){.msg_name = &room->peers[i],
                                                    .msg_namelen = sizeof room->peers[i],
                                                    .msg_iov = &room->pieces[i],
                                                    .msg_iovlen = 1};
    }
}

void datagrams_serve(struct engine *engine, struct listener *listener) {
    struct datagram_room *room = engine->datagram_room;
    int received = BATCH;
    for (int batch = 0; batch < BATCHES_MAX && received == BATCH
                        && engine->datagram_answer_bytes <= ANSWERS_BYTES_TURN;
         batch++) {
        prepare(room);
        received = recvmmsg(listener->fd, room->messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < received; i++) {
            size_t bytes = room->messages[i].msg_len;
            if (!is_request(room->bytes[i], bytes) || engine->datagrams_waiting >= WAITING_MAX) {
                count(engine->proc, COUNTER_udp_dropped, 1);
            } else {
                begin(engine, listener, room->bytes[i], bytes, &room->peers[i],
                      room->messages[i].msg_hdr.msg_namelen);
            }
        }
    }
}

bool datagrams_open(struct engine *engine) {
    if (!engine->datagram_room) {
        engine->datagram_room = malloc(sizeof *engine->datagram_room);
    }
    return engine->datagram_room != NULL;
}
