/* loadgen: drives a memcached-like server and verifies every value it reads. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "report.h"
#include "tls.h"
#include "watcher.h"
#include "worker.h"

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static double process_cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Lets the caller take its readings between connecting and the first request. */
static void wait_at_gate(void) {
    puts("ready");
    fflush(stdout);
    for (int c = getchar(); c != '\n' && c != EOF;) {
        c = getchar();
    }
}

/* They live as long as this process, and leave no ports behind that the next run would lack. */
static void open_idle(const struct options *o) {
    struct linger reset = {.l_onoff = 1};
    for (uint32_t i = 0; i < o->idle_count; i++) {
        struct channel *ch = allocate(1, sizeof *ch);
        if (!channel_open(ch, o) || !channel_finish_handshake(ch, o->stall_seconds)) {
            die(EXIT_CODE_SERVER, "cannot open idle connection %u: %s", i, channel_trouble());
        }
        setsockopt(ch->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
}

static enum exit_code judge(const struct worker *workers, const struct options *o,
                            const struct tally *total) {
    if (total->wrong_value_count || total->wrong_reply_count) {
        fprintf(stderr, "loadgen: %s\n", total->problem);
        return EXIT_CODE_WRONG;
    }
    for (uint32_t i = 0; i < o->thread_count; i++) {
        if (!workers[i].trouble[0]) {
            continue;
        }
        fprintf(stderr, "loadgen: %s\n", workers[i].trouble);
        return EXIT_CODE_SERVER;
    }
    return EXIT_CODE_OK;
}

static void start_and_join(struct worker *workers, const struct options *o,
                           struct run_times *times) {
    pthread_barrier_t connected, started;
    pthread_barrier_init(&connected, NULL, o->thread_count + 1);
    pthread_barrier_init(&started, NULL, o->thread_count + 1);
    for (uint32_t i = 0; i < o->thread_count; i++) {
        worker_setup(&workers[i], o, i, &connected, &started);
        if (pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) != 0) {
            die(EXIT_CODE_USAGE, "cannot start thread %u", i);
        }
    }
    pthread_barrier_wait(&connected);
    if (o->gate) {
        wait_at_gate();
    }
    double cpu_before = process_cpu_seconds();
    pthread_barrier_wait(&started);
    uint64_t first_ns = UINT64_MAX, last_ns = 0;
    for (uint32_t i = 0; i < o->thread_count; i++) {
        pthread_join(workers[i].thread, NULL);
        if (workers[i].start_ns < first_ns) {
            first_ns = workers[i].start_ns;
        }
        if (workers[i].tally.end_ns > last_ns) {
            last_ns = workers[i].tally.end_ns;
        }
    }
    times->client_cpu_seconds = process_cpu_seconds() - cpu_before;
    times->elapsed_seconds = (double)(last_ns - first_ns) / 1e9;
    pthread_barrier_destroy(&connected);
    pthread_barrier_destroy(&started);
}

int main(int argc, char **argv) {
    struct options options;
    options_parse(&options, argc, argv);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN); /* OpenSSL's writes cannot say so each time */
    if (options.tls.is_wanted) {
        tls_client_setup(&options.tls);
    }
    dataset_setup(&options.dataset);
    open_idle(&options);
    watcher_start(&options);

    struct worker *workers = allocate(options.thread_count, sizeof *workers);
    struct tally *total = allocate(1, sizeof *total);
    struct run_times times;
    start_and_join(workers, &options, &times);
    for (uint32_t i = 0; i < options.thread_count; i++) {
        tally_add(total, &workers[i].tally);
    }
    report_print(&options, total, times);
    enum exit_code code = judge(workers, &options, total);

    /* Connections stay open until the caller has read the server's counters. */
    if (options.gate) {
        while (getchar() != EOF) {
            continue;
        }
    }
    for (uint32_t i = 0; i < options.thread_count; i++) {
        worker_teardown(&workers[i]);
    }
    dataset_teardown(&options.dataset);
    tls_client_teardown(&options.tls);
    free(workers);
    free(total);
    return code;
}
