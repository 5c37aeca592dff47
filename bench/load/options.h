/* What one run of the load generator is asked to do; filled from the command line. */
#pragma once

#include "base.h"
#include "dataset.h"
#include "trace.h"

/* --tls and what goes with it. */
struct tls_options {
    bool is_wanted;
    bool is_1_2;                  /* TLS 1.2 instead of 1.3 */
    bool resumes;                 /* handshakes after the first offer the newest session */
    const char *ca_path;          /* checks the server's certificate; NULL: any will do */
    const char *cipher;           /* NULL: what OpenSSL and the server agree on */
    const char *certificate_path; /* the client's own, with its chain; NULL: none */
    const char *key_path;
    struct ssl_ctx_st *context; /* OpenSSL's, made from the above; NULL: plain connections */
};

enum popularity { POPULARITY_UNIFORM, POPULARITY_ZIPF, POPULARITY_SEQUENTIAL, POPULARITY_REPLAY };

struct options {
    const char *host;
    const char *unix_path; /* instead of host and port */
    uint16_t port;
    struct tls_options tls;
    bool is_binary;
    bool is_quiet; /* binary: GETs are quiet, and a no-op ends each batch */

    uint32_t thread_count;
    uint32_t connection_count; /* over all threads */
    uint32_t pipeline_depth;   /* requests in flight per connection, at most */
    uint32_t refill_count;     /* send again once this many slots are free (closed loop) */
    uint32_t keys_per_get;

    uint64_t key_first;
    uint64_t key_count;
    enum popularity popularity;
    double zipf_theta;
    const char *replay_path; /* keys come from this file, once, in order */
    struct trace trace;
    double set_share; /* of the requests drawn, 0..1 */
    uint32_t ttl_seconds;
    uint64_t seed;

    double duration_seconds;    /* 0: no limit */
    uint64_t request_count_max; /* 0: no limit */
    double rate_per_second;     /* above 0: open loop */
    uint32_t burst_count; /* open loop: so many requests are due, and sent, at the same time */
    bool poisson;
    bool spin; /* poll instead of sleeping; for a client with a core of its own */
    bool read_through;
    bool load; /* SET every key once, then end */
    bool reconnect;
    bool churn;          /* a connection serves one request */
    uint32_t idle_count; /* connections beside those that work */
    const char *watched; /* log streams that one more connection watches; NULL: none does */
    bool gate;
    double stall_seconds; /* no reply for so long: give up */

    struct dataset dataset;
};

/* Fills in every option; ends the process with a message when one is wrong. */
void options_parse(struct options *o, int argc, char **argv);
