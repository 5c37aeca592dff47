// The transport of clients in memory, and the loop that serves them.
#include "conn/memory.h"

#include <stdlib.h>

#include "conn/conn_internal.h"

// Bytes in the order in which they were put in.
struct bytes {
    char *base;
    size_t at;
    size_t count;
    size_t room;
};

struct memory_loop {
    struct conns conns;    // First: what is told of connections finds its loop by it.
    struct memory_client *clients;
    struct memory_client **last;
    uint64_t now_ns;
    uint64_t pace_ns;
};

struct memory_client {
    struct memory_loop *loop;
    struct memory_client *next;
    struct bytes said;
    struct bytes heard;
    uint64_t takes_bytes;
    uint64_t sends;
    uint32_t record_bytes;
    uint32_t edges;      // Events that its connection was not told of yet.
    bool sends_first;    // Receiving moves nothing until its transport was told that it can send.
    bool can_send;
    bool has_ended;
    bool is_broken;
    bool has_met_end;
    bool is_closed;
    struct tls_peer peer;
    struct connection_record record;
    struct connection connection;
};

static bool bytes_put(struct bytes *bytes, const void *from, size_t count) {
    if (bytes->at + bytes->count + count > bytes->room) {
        size_t room = 2 * (bytes->count + count);
        char *base = malloc(room);
        if (!base) {
            return false;
        }
        if (bytes->count) {
            memcpy(base, bytes->base + bytes->at, bytes->count);
        }
        free(bytes->base);
        *bytes = (struct bytes){.base = base, .count = bytes->count, .room = room};
    }
    if (count) {
        memcpy(bytes->base + bytes->at + bytes->count, from, count);
    }
    bytes->count += count;
    return true;
}

static size_t bytes_take(struct bytes *bytes, void *place, size_t most) {
    size_t count = bytes->count < most ? bytes->count : most;
    if (count) {
        memcpy(place, bytes->base + bytes->at, count);
    }
    bytes->at += count;
    bytes->count -= count;
    return count;
}

// What can be received now, of `most` bytes that are asked for.
static size_t receivable(const struct memory_client *client, size_t most) {
    size_t count = client->said.count < most ? client->said.count : most;
    return client->record_bytes && client->record_bytes < count ? client->record_bytes : count;
}

static ssize_t memory_receive_pieces(struct transport *transport, const struct iovec *pieces,
                                     size_t piece_count) {
    struct memory_client *client = transport->client;
    size_t room = 0;
    for (size_t i = 0; i < piece_count; i++) {
        room += pieces[i].iov_len;
    }
    client->sends_first = client->sends_first && !client->can_send;
    size_t count = receivable(client, room);
    if (client->is_broken || client->sends_first || count == 0) {
        bool is_end = client->has_ended && !client->sends_first;
        return client->is_broken ? TRANSPORT_BROKEN : is_end ? TRANSPORT_END : TRANSPORT_LATER;
    }
    size_t left = count;
    for (size_t i = 0; left > 0; i++) {
        left -= bytes_take(&client->said, pieces[i].iov_base,
                           left < pieces[i].iov_len ? left : pieces[i].iov_len);
    }
    transport->holds_input = client->record_bytes && client->said.count > 0;
    return (ssize_t)count;
}

static ssize_t memory_receive(struct transport *transport, void *place, size_t bytes) {
    struct iovec piece = {place, bytes};
    return memory_receive_pieces(transport, &piece, 1);
}

static ssize_t memory_send(struct transport *transport, const void *bytes, size_t count) {
    struct memory_client *client = transport->client;
    size_t taken = count < client->takes_bytes ? count : (size_t)client->takes_bytes;
    if (client->is_broken || !bytes_put(&client->heard, bytes, taken)) {
        return TRANSPORT_BROKEN;
    }
    client->takes_bytes -= taken;
    client->sends += taken > 0;
    return taken ? (ssize_t)taken : TRANSPORT_LATER;
}

static ssize_t memory_send_pieces(struct transport *transport, const struct iovec *pieces,
                                  size_t piece_count) {
    ssize_t all = 0;
    for (size_t i = 0; i < piece_count; i++) {
        ssize_t sent = memory_send(transport, pieces[i].iov_base, pieces[i].iov_len);
        if (sent <= 0) {
            return all ? all : sent;
        }
        all += sent;
        if ((size_t)sent < pieces[i].iov_len) {
            break;
        }
    }
    return all;
}

static uint32_t memory_arrived(struct transport *transport) {
    return (uint32_t)receivable(transport->client, UINT32_MAX);
}

static uint32_t memory_wanted(const struct transport *transport, uint32_t wants) {
    return transport->client->sends_first && (wants & TRANSPORT_IN) ? TRANSPORT_OUT : wants;
}

static void memory_shut_down(struct transport *transport) {
    transport->client->has_met_end = true;
}

static void memory_close(struct transport *transport) {
    transport->client->is_closed = true;
}

static const struct transport_ops memory_ops = {.receive = memory_receive,
                                                .receive_pieces = memory_receive_pieces,
                                                .send = memory_send,
                                                .send_pieces = memory_send_pieces,
                                                .arrived = memory_arrived,
                                                .wanted = memory_wanted,
                                                .shut_down = memory_shut_down,
                                                .close = memory_close};

static struct memory_client *client_of(struct connection *connection) {
    return (struct memory_client *)((char *)connection
                                    - offsetof(struct memory_client, connection));
}

static void host_ask(struct conns *conns, struct connection *connection) {
    (void)conns;
    struct memory_client *client = client_of(connection);
    // What the transport holds is received already: no event tells of it. What an encrypting one
    // has not received yet has its event.
    bool is_plain = transport_below(&connection->transport) == &connection->transport;
    bool has_news = client->said.count && !(is_plain && connection->transport.holds_input);
    client->edges |= has_news || client->has_ended ? TRANSPORT_IN : 0;
    client->edges |= client->takes_bytes ? TRANSPORT_OUT : 0;
}

// The client's memory is its loop's, until that is closed.
static void host_closed(struct conns *conns, struct connection *connection) {
    (void)conns;
    client_of(connection)->edges = 0;
}

static void host_admitted(struct conns *conns, struct connection *connection,
                          const struct tls_peer *peer) {
    (void)conns;
    client_of(connection)->peer = *peer;
}

static uint64_t host_read_ns(struct conns *conns) {
    struct memory_loop *loop = (struct memory_loop *)conns;
    return loop->now_ns += loop->pace_ns;
}

int memory_loop_open(struct store *store, struct flash_reader *reader,
                     struct memory_loop **loop_out) {
    static const struct conn_host host = {
        .ask = host_ask, .closed = host_closed, .admitted = host_admitted, .read_ns = host_read_ns};
    struct memory_loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        return PYMC_NO_MEMORY;
    }
    loop->last = &loop->clients;
    if (conns_open(&loop->conns, store, NULL, &host) != PYMC_OK) {
        memory_loop_close(loop);
        return PYMC_NO_MEMORY;
    }
    loop->conns.reader = reader;
    proto_set_reader(loop->conns.proto, reader);
    *loop_out = loop;
    return PYMC_OK;
}

void memory_loop_close(struct memory_loop *loop) {
    if (!loop) {
        return;
    }
    for (struct memory_client *client = loop->clients; client; client = client->next) {
        conn_close(&loop->conns, &client->connection);
    }
    conns_close(&loop->conns);
    while (loop->clients) {
        struct memory_client *client = loop->clients;
        loop->clients = client->next;
        free(client->said.base);
        free(client->heard.base);
        free(client);
    }
    free(loop);
}

// Returns whether its connection was told of anything.
static bool tell(struct memory_loop *loop, struct memory_client *client) {
    struct connection *connection = &client->connection;
    uint32_t gone = TRANSPORT_ERROR | TRANSPORT_HANG_UP;
    uint32_t events = client->edges & (connection->asked | gone);
    client->edges = 0;
    if (!events || !conn_is_open(connection)) {
        return false;
    }
    client->can_send = events & TRANSPORT_OUT;
    if (client->has_ended && (connection->asked & TRANSPORT_IN)) {
        events |= TRANSPORT_ENDED;
    }
    conn_event(&loop->conns, connection, events);
    return true;
}

bool memory_loop_turn(struct memory_loop *loop) {
    struct conns *conns = &loop->conns;
    bool was_anything = conns_have_more(conns) || conns->busy.first;
    conns_serve_again(conns);
    for (struct memory_client *client = loop->clients; client; client = client->next) {
        was_anything |= tell(loop, client);
    }
    conns_serve_staged(conns);
    conns_serve_handshakes(conns);
    if (conns->reader) {
        struct flash_waiter *told = flash_reader_reap(conns->reader, 0);
        was_anything |= told != NULL;
        if (told) {
            conns_serve_read(conns, told);
        }
        flash_reader_submit(conns->reader);
    }
    conns_serve_busy(conns);
    return was_anything;
}

void memory_loop_set_pace(struct memory_loop *loop, uint64_t nanoseconds) {
    loop->pace_ns = nanoseconds;
}

int memory_loop_set_auth(struct memory_loop *loop, const char *lines, uint32_t byte_count) {
    int status = proto_set_auth(loop->conns.proto, lines, byte_count);
    if (status == PYMC_OK) {
        SHARED_STORE(loop->conns.arena->header->live[LIVE_auth_required], lines != NULL);
    }
    return status;
}

void memory_loop_tick(struct memory_loop *loop) {
    conns_tick(&loop->conns);
}

bool memory_loop_next_request(struct memory_loop *loop, struct conn_request *request_out) {
    return conns_next_request(&loop->conns, request_out);
}

bool memory_loop_watch(struct memory_loop *loop, uint64_t connection) {
    for (struct memory_client *client = loop->clients; client; client = client->next) {
        if (conn_is_parked(&client->connection) && client->connection.ticket == connection) {
            return conn_watch(&loop->conns, &client->connection);
        }
    }
    return false;
}

bool memory_client_watch_send(struct memory_client *client, const char *lines,
                              uint32_t byte_count) {
    return conn_watch_send(&client->loop->conns, &client->connection, lines, byte_count);
}

bool memory_loop_answer(struct memory_loop *loop, uint64_t connection, const char *bytes,
                        uint32_t byte_count, int kind) {
    for (struct memory_client *client = loop->clients; client; client = client->next) {
        if (conn_is_parked(&client->connection) && client->connection.ticket == connection) {
            return conn_answer(&loop->conns, &client->connection, bytes, byte_count, kind);
        }
    }
    return false;
}

bool memory_loop_next_stream(struct memory_loop *loop, uint64_t *connection_out) {
    const struct connection *connection = conns_next_stream(&loop->conns);
    if (connection) {
        *connection_out = connection->ticket;
    }
    return connection != NULL;
}

int memory_client_open(struct memory_loop *loop, struct tls_context *context, int door,
                       struct memory_client **client_out) {
    if (context && !conns_use_tls(&loop->conns)) {
        return PYMC_NO_MEMORY;
    }
    if (context) {
        tls_context_serve(context, loop->conns.proc);
    }
    struct memory_client *client = calloc(1, sizeof *client);
    if (!client) {
        return PYMC_NO_MEMORY;
    }
    client->loop = loop;
    client->takes_bytes = UINT64_MAX;
    client->connection.transport =
        (struct transport){.ops = &memory_ops, .fd = -1, .client = client};
    if (context
        && !transport_encrypt(&client->connection.transport, loop->conns.tls_io, context,
                              (enum tls_door)door)) {
        free(client);
        return PYMC_NO_MEMORY;
    }
    client->record.state = CONNECTION_READ;
    conn_open(&loop->conns, &client->connection, &client->record, 0);
    *loop->last = client;
    loop->last = &client->next;
    *client_out = client;
    return PYMC_OK;
}

int memory_client_say(struct memory_client *client, const char *bytes, size_t byte_count) {
    if (!bytes_put(&client->said, bytes, byte_count)) {
        return PYMC_NO_MEMORY;
    }
    client->edges |= TRANSPORT_IN;
    return PYMC_OK;
}

void memory_client_end(struct memory_client *client) {
    client->has_ended = true;
    client->edges |= TRANSPORT_IN;
}

void memory_client_break(struct memory_client *client) {
    client->is_broken = true;
    client->edges |= TRANSPORT_IN | TRANSPORT_OUT | TRANSPORT_ERROR | TRANSPORT_HANG_UP;
}

void memory_client_take(struct memory_client *client, uint64_t byte_count) {
    client->takes_bytes = byte_count;
    client->edges |= byte_count ? TRANSPORT_OUT : 0;
}

void memory_client_use_records(struct memory_client *client, uint32_t record_bytes) {
    client->record_bytes = record_bytes;
}

void memory_client_send_first(struct memory_client *client) {
    client->sends_first = true;
}

size_t memory_client_receive(struct memory_client *client, char *place, size_t place_bytes) {
    return bytes_take(&client->heard, place, place_bytes);
}

void memory_client_lend(struct memory_client *client) {
    conn_lend(&client->connection);
}

void memory_client_lent_is_done(struct memory_client *client) {
    conn_lent_is_done(&client->loop->conns, &client->connection);
}

void memory_client_view(const struct memory_client *client, struct memory_view *view_out) {
    const struct connection *connection = &client->connection;
    *view_out = (struct memory_view){.state = connection->state,
                                     .shown = client->record.state,
                                     .wants_input = connection->wants & TRANSPORT_IN,
                                     .wants_room = connection->wants & TRANSPORT_OUT,
                                     .has_met_end = client->has_met_end,
                                     .is_closed = client->is_closed,
                                     .sends = client->sends,
                                     .waiting_bytes = client->said.count,
                                     .identity = client->peer.identity,
                                     .kept_bytes = connection->kept.bytes};
}
