/* The command line of the load generator. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "usage: loadgen --port N [options]       memcached load, values verified\n"
    "  --host A (127.0.0.1)  --port N  --unix PATH\n"
    "  --threads N (1)  --connections N (50, over all threads)\n"
    "  --pipeline N (1)      requests in flight per connection\n"
    "  --refill N            send again when N slots are free (default: all of --pipeline)\n"
    "  --keys N (100000)  --key-first N (0)  --key-bytes N|A-B (16)  --value-bytes N|A-B (100)\n"
    "  --compressible PERCENT (0)  of a value's bytes are text that repeats, the others are "
    "random\n"
    "  --popularity uniform|zipf|sequential  --theta X (0.99)  --seed N (1)\n"
    "  --replay FILE         key ids in order, each once: little-endian unsigned 32-bit numbers\n"
    "  --set-share X (0)     share of SETs, 0..1     --multiget N (1)  keys per GET\n"
    "  --ttl S (0)           expiry of the items set\n"
    "  --load                SET every key once, then end\n"
    "  --read-through        after a miss, SET the key\n"
    "  --seconds S  --requests N   what ends the run (at least one, unless --load or --replay)\n"
    "  --rate R              open loop: R requests/s; latency counts from the intended time\n"
    "  --arrival fixed|poisson     spacing of the open loop (fixed)\n"
    "  --burst N (1)         open loop: N requests are due at once, in one write (of --pipeline)\n"
    "  --spin                poll instead of sleeping (the client has a core of its own)\n"
    "  --reconnect           a closed connection is opened again, its requests count as lost\n"
    "  --churn               each connection closes after its reply and is opened again for the "
    "next\n"
    "  --idle N (0)          further connections that are opened first and never used\n"
    "  --watch STREAMS       one more connection watches these (`fetchers mutations`), and throws "
    "away what it gets\n"
    "  --tls                 TLS 1.3 and any certificate, unless told otherwise:\n"
    "  --tls-version 1.2|1.3  --tls-cipher NAME  --tls-ca FILE (checks the server's certificate)\n"
    "  --tls-cert FILE  --tls-key FILE      the client's own\n"
    "  --tls-resume          connections opened again offer the session they had\n"
    "  --binary              the binary protocol (no --multiget)\n"
    "  --binary-quiet        the same with quiet GETs and a no-op behind each batch\n"
    "  --gate                print 'ready', wait for a line on stdin; after the report wait for "
    "EOF\n"
    "  --stall S (10)        give up when no reply came for S seconds\n"
    "One JSON object on stdout. Exit: 0 fine, 1 wrong value or reply, 2 usage, 3 server trouble.\n";

static double parse_number(const char *name, const char *text, double low, double high) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || end == text || *end || !(value >= low && value <= high)) {
        die(EXIT_CODE_USAGE, "--%s %s: want a number from %.15g to %.15g", name, text, low, high);
    }
    return value;
}

static uint64_t parse_count(const char *name, const char *text, uint64_t low, uint64_t high) {
    double value = parse_number(name, text, (double)low, (double)high);
    if (value != floor(value)) {
        die(EXIT_CODE_USAGE, "--%s %s: want a whole number", name, text);
    }
    return (uint64_t)value;
}

static void parse_range(const char *name, const char *text, uint32_t *low, uint32_t *high,
                        uint32_t least, uint32_t most) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    char *dash = strchr(copy, '-');
    if (dash) {
        *dash = 0;
    }
    *low = (uint32_t)parse_count(name, copy, least, most);
    *high = dash ? (uint32_t)parse_count(name, dash + 1, least, most) : *low;
    if (*high < *low) {
        die(EXIT_CODE_USAGE, "--%s %s: the range is upside down", name, text);
    }
}

static int parse_word(const char *name, const char *text, const char *const *words) {
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            return i;
        }
    }
    die(EXIT_CODE_USAGE, "--%s %s: not known", name, text);
}

enum option_id {
    OPTION_HOST = 256,
    OPTION_PORT,
    OPTION_UNIX,
    OPTION_THREADS,
    OPTION_CONNECTIONS,
    OPTION_PIPELINE,
    OPTION_REFILL,
    OPTION_KEYS,
    OPTION_KEY_FIRST,
    OPTION_KEY_BYTES,
    OPTION_VALUE_BYTES,
    OPTION_POPULARITY,
    OPTION_THETA,
    OPTION_SEED,
    OPTION_SET_SHARE,
    OPTION_MULTIGET,
    OPTION_TTL,
    OPTION_LOAD,
    OPTION_READ_THROUGH,
    OPTION_SECONDS,
    OPTION_REQUESTS,
    OPTION_RATE,
    OPTION_ARRIVAL,
    OPTION_SPIN,
    OPTION_RECONNECT,
    OPTION_CHURN,
    OPTION_IDLE,
    OPTION_WATCH,
    OPTION_TLS,
    OPTION_TLS_VERSION,
    OPTION_TLS_CIPHER,
    OPTION_TLS_CA,
    OPTION_TLS_CERT,
    OPTION_TLS_KEY,
    OPTION_TLS_RESUME,
    OPTION_BINARY,
    OPTION_BINARY_QUIET,
    OPTION_GATE,
    OPTION_STALL,
    OPTION_BURST,
    OPTION_COMPRESSIBLE,
    OPTION_REPLAY,
    OPTION_HELP,
};

static const struct option LONG_OPTIONS[] = {
    {"host", 1, 0, OPTION_HOST},
    {"port", 1, 0, OPTION_PORT},
    {"unix", 1, 0, OPTION_UNIX},
    {"threads", 1, 0, OPTION_THREADS},
    {"connections", 1, 0, OPTION_CONNECTIONS},
    {"pipeline", 1, 0, OPTION_PIPELINE},
    {"refill", 1, 0, OPTION_REFILL},
    {"keys", 1, 0, OPTION_KEYS},
    {"key-first", 1, 0, OPTION_KEY_FIRST},
    {"key-bytes", 1, 0, OPTION_KEY_BYTES},
    {"value-bytes", 1, 0, OPTION_VALUE_BYTES},
    {"compressible", 1, 0, OPTION_COMPRESSIBLE},
    {"popularity", 1, 0, OPTION_POPULARITY},
    {"theta", 1, 0, OPTION_THETA},
    {"replay", 1, 0, OPTION_REPLAY},
    {"seed", 1, 0, OPTION_SEED},
    {"set-share", 1, 0, OPTION_SET_SHARE},
    {"multiget", 1, 0, OPTION_MULTIGET},
    {"ttl", 1, 0, OPTION_TTL},
    {"load", 0, 0, OPTION_LOAD},
    {"read-through", 0, 0, OPTION_READ_THROUGH},
    {"seconds", 1, 0, OPTION_SECONDS},
    {"requests", 1, 0, OPTION_REQUESTS},
    {"rate", 1, 0, OPTION_RATE},
    {"arrival", 1, 0, OPTION_ARRIVAL},
    {"spin", 0, 0, OPTION_SPIN},
    {"reconnect", 0, 0, OPTION_RECONNECT},
    {"churn", 0, 0, OPTION_CHURN},
    {"idle", 1, 0, OPTION_IDLE},
    {"watch", 1, 0, OPTION_WATCH},
    {"tls", 0, 0, OPTION_TLS},
    {"tls-version", 1, 0, OPTION_TLS_VERSION},
    {"tls-cipher", 1, 0, OPTION_TLS_CIPHER},
    {"tls-ca", 1, 0, OPTION_TLS_CA},
    {"tls-cert", 1, 0, OPTION_TLS_CERT},
    {"tls-key", 1, 0, OPTION_TLS_KEY},
    {"tls-resume", 0, 0, OPTION_TLS_RESUME},
    {"binary", 0, 0, OPTION_BINARY},
    {"binary-quiet", 0, 0, OPTION_BINARY_QUIET},
    {"gate", 0, 0, OPTION_GATE},
    {"stall", 1, 0, OPTION_STALL},
    {"burst", 1, 0, OPTION_BURST},
    {"help", 0, 0, OPTION_HELP},
    {0, 0, 0, 0},
};

static const char *const POPULARITIES[] = {"uniform", "zipf", "sequential", NULL};
static const char *const ARRIVALS[] = {"fixed", "poisson", NULL};
static const char *const TLS_VERSIONS[] = {"1.3", "1.2", NULL};

/* Options about the server, the connections and when to stop. True when `id` was one of them. */
static bool apply_run_option(struct options *o, int id, const char *name, const char *text) {
    switch (id) {
    case OPTION_HOST: o->host = text; return true;
    case OPTION_UNIX: o->unix_path = text; return true;
    case OPTION_PORT: o->port = (uint16_t)parse_count(name, text, 1, 65535); return true;
    case OPTION_THREADS: o->thread_count = (uint32_t)parse_count(name, text, 1, 256); return true;
    case OPTION_CONNECTIONS:
        o->connection_count = (uint32_t)parse_count(name, text, 1, 1000000);
        return true;
    case OPTION_PIPELINE:
        o->pipeline_depth = (uint32_t)parse_count(name, text, 1, 65536);
        return true;
    case OPTION_REFILL: o->refill_count = (uint32_t)parse_count(name, text, 1, 65536); return true;
    case OPTION_SECONDS: o->duration_seconds = parse_number(name, text, 0.001, 1e6); return true;
    case OPTION_REQUESTS:
        o->request_count_max = parse_count(name, text, 1, 1ull << 50);
        return true;
    case OPTION_RATE: o->rate_per_second = parse_number(name, text, 1, 1e8); return true;
    case OPTION_ARRIVAL: o->poisson = parse_word(name, text, ARRIVALS) == 1; return true;
    case OPTION_BURST: o->burst_count = (uint32_t)parse_count(name, text, 1, 65536); return true;
    case OPTION_SPIN: o->spin = true; return true;
    case OPTION_RECONNECT: o->reconnect = true; return true;
    case OPTION_CHURN: o->churn = true; return true;
    case OPTION_IDLE: o->idle_count = (uint32_t)parse_count(name, text, 0, 1000000); return true;
    case OPTION_WATCH: o->watched = text; return true;
    case OPTION_GATE: o->gate = true; return true;
    case OPTION_STALL: o->stall_seconds = parse_number(name, text, 0.1, 1e6); return true;
    default: return false;
    }
}

/* Options about how the bytes travel. True when `id` was one of them. */
static bool apply_protocol_option(struct options *o, int id, const char *name, const char *text) {
    switch (id) {
    case OPTION_TLS: o->tls.is_wanted = true; return true;
    case OPTION_TLS_VERSION: o->tls.is_1_2 = parse_word(name, text, TLS_VERSIONS) == 1; return true;
    case OPTION_TLS_CIPHER: o->tls.cipher = text; return true;
    case OPTION_TLS_CA: o->tls.ca_path = text; return true;
    case OPTION_TLS_CERT: o->tls.certificate_path = text; return true;
    case OPTION_TLS_KEY: o->tls.key_path = text; return true;
    case OPTION_TLS_RESUME: o->tls.resumes = true; return true;
    case OPTION_BINARY: o->is_binary = true; return true;
    case OPTION_BINARY_QUIET: o->is_binary = o->is_quiet = true; return true;
    default: return false;
    }
}

/* Options about keys, values and the mix of requests. */
static void apply_data_option(struct options *o, int id, const char *name, const char *text) {
    struct dataset *d = &o->dataset;
    switch (id) {
    case OPTION_KEYS: o->key_count = parse_count(name, text, 1, 1ull << 50); break;
    case OPTION_KEY_FIRST: o->key_first = parse_count(name, text, 0, 1ull << 50); break;
    case OPTION_KEY_BYTES:
        parse_range(name, text, &d->key_bytes_min, &d->key_bytes_max, KEY_BYTES_MIN, KEY_BYTES_MAX);
        break;
    case OPTION_VALUE_BYTES:
        parse_range(name, text, &d->value_bytes_min, &d->value_bytes_max, 0, 1u << 30);
        break;
    case OPTION_COMPRESSIBLE: d->text_percent = (uint32_t)parse_count(name, text, 0, 100); break;
    case OPTION_POPULARITY:
        o->popularity = (enum popularity)parse_word(name, text, POPULARITIES);
        break;
    case OPTION_THETA: o->zipf_theta = parse_number(name, text, 0, 10); break;
    case OPTION_REPLAY: o->replay_path = text; break;
    case OPTION_SEED: o->seed = parse_count(name, text, 0, 1ull << 50); break;
    case OPTION_SET_SHARE: o->set_share = parse_number(name, text, 0, 1); break;
    case OPTION_MULTIGET: o->keys_per_get = (uint32_t)parse_count(name, text, 1, 10000); break;
    case OPTION_TTL: o->ttl_seconds = (uint32_t)parse_count(name, text, 0, 1u << 31); break;
    case OPTION_LOAD: o->load = true; break;
    case OPTION_READ_THROUGH: o->read_through = true; break;
    case OPTION_HELP: fputs(HELP, stdout); exit(EXIT_CODE_OK);
    default: die(EXIT_CODE_USAGE, "see --help");
    }
}

/* The file says which keys there are and how many requests there can be. */
static void apply_replay(struct options *o) {
    if (o->load || o->thread_count > 1 || o->keys_per_get > 1) {
        die(EXIT_CODE_USAGE, "--replay goes with one thread and single gets, not with --load");
    }
    trace_open(&o->trace, o->replay_path);
    o->popularity = POPULARITY_REPLAY;
    o->key_count = (uint64_t)o->trace.id_max + 1;
    if (!o->request_count_max || o->request_count_max > o->trace.count) {
        o->request_count_max = o->trace.count;
    }
}

static void check_protocol(const struct options *o) {
    const struct tls_options *t = &o->tls;
    bool has_details = t->is_1_2 || t->cipher || t->ca_path || t->certificate_path || t->resumes;
    if (!t->is_wanted && has_details) {
        die(EXIT_CODE_USAGE, "--tls-... goes with --tls");
    }
    if (!t->certificate_path != !t->key_path) {
        die(EXIT_CODE_USAGE, "--tls-cert and --tls-key go together");
    }
    if (o->is_binary && o->keys_per_get > 1) {
        die(EXIT_CODE_USAGE, "--binary goes with single gets; see --binary-quiet");
    }
}

static void check_and_complete(struct options *o) {
    if (!o->port && !o->unix_path) {
        die(EXIT_CODE_USAGE, "--port or --unix is needed");
    }
    if (o->replay_path) {
        apply_replay(o);
    }
    if (o->load) {
        o->popularity = POPULARITY_SEQUENTIAL;
        o->set_share = 1;
        o->request_count_max = o->key_count;
        o->duration_seconds = 0;
    }
    if (!o->request_count_max && o->duration_seconds == 0) {
        die(EXIT_CODE_USAGE, "--seconds or --requests is needed");
    }
    if (o->thread_count > o->connection_count) {
        die(EXIT_CODE_USAGE, "--threads must not exceed --connections");
    }
    if (o->burst_count > o->pipeline_depth) {
        die(EXIT_CODE_USAGE, "--burst must not exceed --pipeline");
    }
    check_protocol(o);
    if (!o->refill_count || o->refill_count > o->pipeline_depth) {
        o->refill_count = o->pipeline_depth;
    }
    char digits[32];
    int digit_count = snprintf(digits, sizeof digits, "%llu",
                               (unsigned long long)(o->key_first + o->key_count - 1));
    if ((uint32_t)digit_count + 1 > o->dataset.key_bytes_min) {
        die(EXIT_CODE_USAGE, "--key-bytes: %d at least for so many keys", digit_count + 1);
    }
}

void options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){
        .host = "127.0.0.1",
        .thread_count = 1,
        .connection_count = 50,
        .pipeline_depth = 1,
        .keys_per_get = 1,
        .burst_count = 1,
        .key_count = 100000,
        .zipf_theta = 0.99,
        .seed = 1,
        .stall_seconds = 10,
        .dataset = {.key_bytes_min = 16,
                    .key_bytes_max = 16,
                    .value_bytes_min = 100,
                    .value_bytes_max = 100},
    };
    int index = 0;
    for (int id; (id = getopt_long(argc, argv, "", LONG_OPTIONS, &index)) != -1;) {
        const char *name = id >= OPTION_HOST ? LONG_OPTIONS[index].name : "";
        if (!apply_run_option(o, id, name, optarg) && !apply_protocol_option(o, id, name, optarg)) {
            apply_data_option(o, id, name, optarg);
        }
    }
    if (optind < argc) {
        die(EXIT_CODE_USAGE, "unexpected argument: %s", argv[optind]);
    }
    check_and_complete(o);
}
