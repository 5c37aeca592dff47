/* The event loop of one client thread. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "reply.h"
#include "request.h"

enum {
    SCHEDULE_SLOTS = 1 << 20,
    EVENTS_PER_WAIT = 256,
    SCRATCH_BYTES_MIN = 64 * 1024,
};

static void give_up(struct worker *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void give_up(struct worker *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!w->trouble[0]) {
        vsnprintf(w->trouble, sizeof w->trouble, format, args);
    }
    va_end(args);
    w->failed = true;
}

void worker_setup(struct worker *w, const struct options *o, uint32_t thread_index,
                  pthread_barrier_t *connected, pthread_barrier_t *started) {
    memset(w, 0, sizeof *w);
    w->options = o;
    w->thread_index = thread_index;
    w->connected = connected;
    w->started = started;
    w->connection_count = o->connection_count / o->thread_count
                          + (thread_index < o->connection_count % o->thread_count);
    w->connections = allocate(w->connection_count, sizeof *w->connections);
    for (uint32_t i = 0; i < w->connection_count; i++) {
        connection_setup(&w->connections[i], o);
        w->connections[i].next_index = (uint64_t)i * o->burst_count;
    }
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll_fd < 0) {
        die(EXIT_CODE_USAGE, "epoll: %s", strerror(errno));
    }
    source_setup(&w->source, o, thread_index);
    w->schedule.index_max = w->source.left_count;
    w->out.capacity = request_bytes_max(o) * (o->pipeline_depth + 1); /* and a no-op */
    w->out.bytes = allocate(w->out.capacity, 1);
    size_t largest_reply = 512 + (size_t)o->dataset.value_bytes_max;
    w->scratch.capacity = SCRATCH_BYTES_MIN + 2 * largest_reply;
    w->scratch.bytes = allocate(w->scratch.capacity, 1);
    w->draw = allocate(o->keys_per_get, sizeof *w->draw);
    if (o->rate_per_second > 0) {
        w->schedule.times_ns = allocate(SCHEDULE_SLOTS, sizeof *w->schedule.times_ns);
        w->schedule.gap_ns = 1e9 / o->rate_per_second * o->thread_count * o->burst_count;
        rng_seed(&w->schedule.rng, mix64(o->seed + 7) + thread_index);
    }
}

void worker_teardown(struct worker *w) {
    for (uint32_t i = 0; i < w->connection_count; i++) {
        connection_teardown(&w->connections[i]);
    }
    free(w->connections);
    free(w->schedule.times_ns);
    free(w->draw);
    buffer_free(&w->out);
    buffer_free(&w->scratch);
    close(w->epoll_fd);
}

static void watch(struct worker *w, struct connection *c, int operation, bool wants_write) {
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_write = wants_write;
    if (epoll_ctl(w->epoll_fd, operation, c->channel.fd, &event) != 0) {
        give_up(w, "epoll_ctl: %s", strerror(errno));
    }
}

static void fill(struct worker *w, struct connection *c, uint64_t time_ns);

/* Forgets what is in flight; returns how many requests that were. */
static uint32_t drop(struct worker *w, struct connection *c) {
    w->inflight_count -= c->inflight_count;
    w->handshaking_count -= c->channel.is_handshaking;
    return connection_drop(c);
}

static void count_handshake(struct worker *w, const struct channel *ch, uint64_t time_ns) {
    if (SSL_session_reused(ch->ssl)) {
        w->tally.resumed_handshake_count++;
    } else {
        w->tally.full_handshake_count++;
    }
    histogram_record(&w->tally.handshake, time_ns - ch->opened_ns);
}

/* Connects; under TLS the event loop goes on with the handshake. */
static bool open_and_watch(struct worker *w, struct connection *c) {
    if (!channel_open(&c->channel, w->options)) {
        channel_close(&c->channel);
        return false;
    }
    w->handshaking_count += c->channel.is_handshaking;
    if (c->channel.ssl && !c->channel.is_handshaking) {
        count_handshake(w, &c->channel, now_ns());
    }
    watch(w, c, EPOLL_CTL_ADD, false);
    return true;
}

/* Before the run: connects, and waits for the end of the handshake. */
static void open_first(struct worker *w, struct connection *c) {
    const struct options *o = w->options;
    if (!channel_open(&c->channel, o) || !channel_finish_handshake(&c->channel, o->stall_seconds)) {
        give_up(w, "cannot connect: %s", channel_trouble());
        return;
    }
    watch(w, c, EPOLL_CTL_ADD, false);
}

/* The server closed the connection: an error, or with --reconnect a loss that is counted. */
static void handle_hangup(struct worker *w, struct connection *c, const char *why) {
    if (!w->options->reconnect) {
        uint32_t inflight_count = c->inflight_count;
        give_up(w, "the server hung up (%s) with %u requests in flight", why, inflight_count);
        drop(w, c);
        return;
    }
    w->tally.lost_count += drop(w, c);
    w->tally.reconnect_count++;
    uint64_t give_up_ns = now_ns() + (uint64_t)(w->options->stall_seconds * 1e9);
    while (!open_and_watch(w, c)) {
        if (now_ns() > give_up_ns) {
            give_up(w, "cannot connect again: %s", channel_trouble());
            return;
        }
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    w->last_reply_ns = now_ns();
    fill(w, c, w->last_reply_ns);
}

/* Takes the handshake further, and sends what waited for its end. */
static void go_on_handshake(struct worker *w, struct connection *c) {
    enum handshake step = channel_handshake(&c->channel);
    if (step == HANDSHAKE_GOES_ON) {
        return;
    }
    if (step == HANDSHAKE_FAILED) {
        w->tally.failed_handshake_count++;
        handle_hangup(w, c, channel_trouble());
        return;
    }
    w->handshaking_count--;
    uint64_t time_ns = w->last_reply_ns = now_ns();
    count_handshake(w, &c->channel, time_ns);
    fill(w, c, time_ns);
}

static void send_bytes(struct worker *w, struct connection *c, const uint8_t *bytes, size_t count) {
    ssize_t sent = channel_send(&c->channel, bytes, count);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            return; /* the read side will see it */
        }
        sent = 0;
    }
    w->tally.sent_bytes += (uint64_t)sent;
    if ((size_t)sent == count) {
        return;
    }
    buffer_append(&c->unsent, bytes + sent, count - (size_t)sent);
    if (!c->wants_write) {
        watch(w, c, EPOLL_CTL_MOD, true);
    }
}

static void send_rest(struct worker *w, struct connection *c) {
    ssize_t sent = channel_send(&c->channel, c->unsent.bytes, c->unsent.used);
    if (sent <= 0) {
        return;
    }
    w->tally.sent_bytes += (uint64_t)sent;
    c->unsent.used -= (size_t)sent;
    memmove(c->unsent.bytes, c->unsent.bytes + sent, c->unsent.used);
    if (c->unsent.used == 0) {
        watch(w, c, EPOLL_CTL_MOD, false);
    }
}

static void push_set(struct worker *w, struct connection *c, uint64_t key_id,
                     uint64_t intended_ns) {
    w->out.used += connection_push_set(c, w->options, key_id, w->source.generation++, intended_ns,
                                       w->out.bytes + w->out.used);
}

static void push_drawn(struct worker *w, struct connection *c, uint64_t intended_ns) {
    if (source_draw(&w->source)) {
        push_set(w, c, source_key(&w->source), intended_ns);
        return;
    }
    for (uint32_t i = 0; i < w->options->keys_per_get; i++) {
        w->draw[i] = source_key(&w->source);
    }
    w->out.used +=
        connection_push_get(c, w->options, w->draw, intended_ns, w->out.bytes + w->out.used);
}

static bool closed_loop_over(const struct worker *w, uint64_t time_ns) {
    return source_empty(&w->source) || time_ns >= w->deadline_ns;
}

/* The connection's own schedule index after `index`: bursts go round the connections. */
static uint64_t index_after(const struct worker *w, uint64_t index) {
    uint64_t burst_count = w->options->burst_count;
    if ((index + 1) % burst_count) {
        return index + 1;
    }
    return index + 1 + (w->connection_count - 1) * burst_count;
}

/* Puts as many requests on the connection as it may have in flight, in one write. */
static void fill(struct worker *w, struct connection *c, uint64_t time_ns) {
    const struct options *o = w->options;
    if (c->channel.fd < 0 || c->channel.is_handshaking || c->unsent.used) {
        return;
    }
    bool open_loop = o->rate_per_second > 0;
    uint32_t free_count = o->pipeline_depth - c->inflight_count;
    if (!open_loop && free_count < o->refill_count) {
        return;
    }
    w->out.used = 0;
    uint32_t before = c->inflight_count;
    while (c->missed_count && c->inflight_count < o->pipeline_depth) {
        push_set(w, c, c->missed_keys[--c->missed_count], time_ns);
    }
    if (open_loop) {
        while (c->inflight_count < o->pipeline_depth && c->next_index < w->schedule.next_index) {
            push_drawn(w, c, w->schedule.times_ns[c->next_index & (SCHEDULE_SLOTS - 1)]);
            c->next_index = index_after(w, c->next_index);
            w->schedule.sent_count++;
        }
    } else {
        while (c->inflight_count < o->pipeline_depth && !closed_loop_over(w, time_ns)) {
            push_drawn(w, c, time_ns);
        }
    }
    w->inflight_count += c->inflight_count - before;
    if (w->out.used) {
        if (o->is_quiet) {
            w->out.used += request_write_noop(c->next_number, w->out.bytes + w->out.used);
        }
        send_bytes(w, c, w->out.bytes, w->out.used);
    }
}

/* Reads once and takes the replies. True when the reading filled its buffer under TLS: then more
 * may be there of which epoll does not tell. */
static bool receive_once(struct worker *w, struct connection *c) {
    struct buffer *in = &w->scratch;
    size_t held = c->partial.used;
    if (held) {
        memcpy(in->bytes, c->partial.bytes, held);
    }
    ssize_t got = channel_recv(&c->channel, in->bytes + held, in->capacity - held);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return false;
        }
        handle_hangup(w, c, got == 0 ? "end of stream" : channel_trouble());
        return false;
    }
    uint64_t time_ns = now_ns();
    w->last_reply_ns = time_ns;
    w->tally.received_bytes += (uint64_t)got;
    size_t total = held + (size_t)got;
    uint32_t before = c->inflight_count;
    size_t used = replies_consume(c, w->options, &w->tally, in->bytes, total, time_ns);
    w->inflight_count -= before - c->inflight_count;
    c->partial.used = 0;
    if (w->tally.wrong_reply_count) {
        w->failed = true;
        return false;
    }
    if (used < total) {
        buffer_append(&c->partial, in->bytes + used, total - used);
    }
    if (w->options->churn && c->inflight_count == 0 && used == total) {
        drop(w, c);
        if (!open_and_watch(w, c)) {
            give_up(w, "cannot connect: %s", channel_trouble());
            return false;
        }
    }
    fill(w, c, time_ns);
    return c->channel.ssl && total == in->capacity;
}

static void receive(struct worker *w, struct connection *c) {
    while (receive_once(w, c) && !w->failed) {
        continue;
    }
}

static bool schedule_over(const struct worker *w) {
    const struct schedule *s = &w->schedule;
    return s->next_index >= s->index_max || s->next_ns >= (double)w->deadline_ns;
}

/* True when the slot of `index` is still needed by a request that was not sent yet. */
static bool schedule_full(const struct worker *w, uint64_t index) {
    if (index < SCHEDULE_SLOTS) {
        return false;
    }
    uint64_t old = index - SCHEDULE_SLOTS;
    return w->connections[old / w->options->burst_count % w->connection_count].next_index <= old;
}

/* Open loop: hands every burst whose time has come to its connection, in turn. */
static void dispatch_due(struct worker *w, uint64_t time_ns) {
    struct schedule *s = &w->schedule;
    uint32_t burst_count = w->options->burst_count;
    while (s->next_ns <= (double)time_ns && !schedule_over(w)) {
        struct connection *c = &w->connections[s->next_index / burst_count % w->connection_count];
        bool has_room = c->inflight_count < w->options->pipeline_depth;
        uint64_t intended_ns = (uint64_t)s->next_ns;
        for (uint32_t i = 0; i < burst_count && s->next_index < s->index_max; i++) {
            if (schedule_full(w, s->next_index)) {
                give_up(w, "%d requests behind the schedule", SCHEDULE_SLOTS);
                return;
            }
            s->times_ns[s->next_index++ & (SCHEDULE_SLOTS - 1)] = intended_ns;
            if (has_room) {
                histogram_record(&w->tally.client_delay, time_ns - intended_ns);
            }
        }
        double gap = s->gap_ns;
        if (w->options->poisson) {
            gap *= -log(1 - rng_unit(&s->rng));
        }
        s->next_ns += gap;
        fill(w, c, time_ns);
    }
}

static bool finished(const struct worker *w, uint64_t time_ns) {
    if (w->failed) {
        return true;
    }
    if (w->inflight_count) {
        return false;
    }
    if (w->options->rate_per_second <= 0) {
        return closed_loop_over(w, time_ns);
    }
    return schedule_over(w) && w->schedule.sent_count == w->schedule.next_index;
}

static int wait_for_events(struct worker *w, struct epoll_event *events, uint64_t time_ns) {
    uint64_t wait_ns = NS_PER_SECOND / 10;
    if (w->options->rate_per_second > 0 && !schedule_over(w)) {
        double until_next_ns = w->schedule.next_ns - (double)time_ns;
        if (until_next_ns < (double)wait_ns) {
            wait_ns = until_next_ns > 0 ? (uint64_t)until_next_ns : 0;
        }
    }
    if (w->options->spin) {
        wait_ns = 0;
    }
    struct timespec timeout = {(time_t)(wait_ns / NS_PER_SECOND), (long)(wait_ns % NS_PER_SECOND)};
    return epoll_pwait2(w->epoll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
}

static void handle_events(struct worker *w, const struct epoll_event *events, int count) {
    for (int i = 0; i < count && !w->failed; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->channel.is_handshaking) {
            go_on_handshake(w, c);
            continue;
        }
        if ((events[i].events & EPOLLOUT) && c->unsent.used) {
            send_rest(w, c);
        }
        if (events[i].events & ~(uint32_t)EPOLLOUT) {
            receive(w, c);
        }
    }
}

static void drive(struct worker *w) {
    const struct options *o = w->options;
    struct epoll_event events[EVENTS_PER_WAIT];
    bool open_loop = o->rate_per_second > 0;
    uint64_t stall_ns = (uint64_t)(o->stall_seconds * 1e9);
    uint64_t time_ns = w->start_ns;
    for (uint32_t i = 0; i < w->connection_count && !open_loop; i++) {
        fill(w, &w->connections[i], time_ns);
    }
    while (!finished(w, time_ns)) {
        if (open_loop) {
            dispatch_due(w, time_ns);
        }
        handle_events(w, events, wait_for_events(w, events, now_ns()));
        time_ns = now_ns();
        bool waits = w->inflight_count || w->handshaking_count;
        if (waits && time_ns > w->last_reply_ns + stall_ns) {
            give_up(w, "no reply for %g s with %llu requests in flight", o->stall_seconds,
                    (unsigned long long)w->inflight_count);
        }
    }
}

void *worker_run(void *argument) {
    struct worker *w = argument;
    prctl(PR_SET_TIMERSLACK, 1ul); /* the default lets the open loop be 50 us late */
    for (uint32_t i = 0; i < w->connection_count && !w->failed; i++) {
        open_first(w, &w->connections[i]);
    }
    pthread_barrier_wait(w->connected);
    pthread_barrier_wait(w->started);
    w->start_ns = w->last_reply_ns = w->tally.end_ns = now_ns();
    double seconds = w->options->duration_seconds;
    w->deadline_ns = seconds > 0 ? w->start_ns + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    /* Threads share the rate: each starts its schedule a fraction of the gap after the last. */
    w->schedule.next_ns =
        (double)w->start_ns + w->schedule.gap_ns * w->thread_index / w->options->thread_count;
    if (!w->failed) {
        drive(w);
    }
    return NULL;
}
