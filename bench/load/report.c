/* Writing the JSON report of a run. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

static void print_text(const char *name, const char *text) {
    printf("  \"%s\": \"", name);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c >= 0x7f || *c == '"' || *c == '\\') {
            printf("\\u%04x", *c);
        } else {
            putchar(*c);
        }
    }
    puts("\",");
}

static void print_latency(const char *name, const struct histogram *h, const char *tail) {
    printf("    \"%s\": {\"count\": %" PRIu64 ", \"mean_us\": %.3f", name, h->count,
           histogram_mean(h) / 1e3);
    static const struct {
        const char *name;
        double share;
    } QUANTILES[] = {{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}};
    for (size_t i = 0; i < sizeof QUANTILES / sizeof *QUANTILES; i++) {
        printf(", \"%s\": %.3f", QUANTILES[i].name,
               (double)histogram_quantile(h, QUANTILES[i].share) / 1e3);
    }
    printf(", \"max_us\": %.3f}%s\n", (double)h->max_ns / 1e3, tail);
}

static void print_count(const char *name, uint64_t value) {
    printf("  \"%s\": %" PRIu64 ",\n", name, value);
}

void report_print(const struct options *o, const struct tally *t, struct run_times times) {
    uint64_t request_count = t->get_count + t->set_count;
    uint64_t key_count = t->hit_count + t->miss_count;
    puts("{");
    print_text("loop", o->rate_per_second > 0 ? "open" : "closed");
    print_count("seed", o->seed);
    print_count("requests", request_count);
    print_count("gets", t->get_count);
    print_count("sets", t->set_count);
    print_count("keys_read", key_count);
    print_count("hits", t->hit_count);
    print_count("misses", t->miss_count);
    printf("  \"hit_ratio\": %.6f,\n", key_count ? (double)t->hit_count / (double)key_count : 0);
    print_count("wrong_values", t->wrong_value_count);
    print_count("wrong_replies", t->wrong_reply_count);
    print_count("refused", t->refused_count);
    print_count("reconnects", t->reconnect_count);
    print_count("lost", t->lost_count);
    print_count("full_handshakes", t->full_handshake_count);
    print_count("resumed_handshakes", t->resumed_handshake_count);
    print_count("failed_handshakes", t->failed_handshake_count);
    print_count("received_bytes", t->received_bytes);
    print_count("sent_bytes", t->sent_bytes);
    printf("  \"key_digest\": \"%016" PRIx64 "\",\n", t->key_digest);
    print_text("problem", t->problem);
    printf("  \"elapsed_seconds\": %.6f,\n", times.elapsed_seconds);
    printf("  \"client_cpu_seconds\": %.6f,\n", times.client_cpu_seconds);
    printf("  \"requests_per_second\": %.1f,\n",
           times.elapsed_seconds > 0 ? (double)request_count / times.elapsed_seconds : 0);
    puts("  \"latency\": {");
    static struct histogram all; /* half a megabyte is too much for a stack */
    all = t->get_latency;
    histogram_add(&all, &t->set_latency);
    print_latency("all", &all, ",");
    print_latency("get", &t->get_latency, ",");
    print_latency("set", &t->set_latency, ",");
    print_latency("client_delay", &t->client_delay, ",");
    print_latency("handshake", &t->handshake, "");
    puts("  }\n}");
    fflush(stdout);
}
