/* One client thread: its connections, its event loop and what it counted. */
#pragma once

#include <pthread.h>

#include "connection.h"
#include "source.h"

/* Intended send times of the open loop; slot = index & (SCHEDULE_SLOTS - 1). */
struct schedule {
    uint64_t *times_ns;
    uint64_t next_index;
    uint64_t index_max;  /* ends the schedule when --requests limits it */
    uint64_t sent_count; /* of next_index requests scheduled */
    double next_ns;      /* double: a gap of 10.3 us must not become 10 us */
    double gap_ns;
    struct rng rng;
};

struct worker {
    const struct options *options;
    uint32_t thread_index;
    pthread_t thread;
    pthread_barrier_t *connected;
    pthread_barrier_t *started;

    struct connection *connections;
    uint32_t connection_count;
    int epoll_fd;
    struct source source;
    struct schedule schedule;
    struct buffer out;     /* requests being put together */
    struct buffer scratch; /* replies just read */
    uint64_t *draw;        /* keys of the request being put together */

    uint64_t start_ns, deadline_ns;
    uint64_t inflight_count;    /* over all connections */
    uint32_t handshaking_count; /* connections */
    uint64_t last_reply_ns;
    bool failed;                 /* a wrong reply: the stream can no longer be understood */
    char trouble[PROBLEM_BYTES]; /* why the server could not be used; empty when it could */
    struct tally tally;
};

void worker_setup(struct worker *w, const struct options *o, uint32_t thread_index,
                  pthread_barrier_t *connected, pthread_barrier_t *started);
void worker_teardown(struct worker *w);

/* Thread body: connects, meets `connected`, meets `started`, then drives load until the end. */
void *worker_run(void *worker);
