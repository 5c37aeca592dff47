/* The JSON report of a run. */
#pragma once

#include "options.h"
#include "tally.h"

struct run_times {
    double elapsed_seconds;    /* first send to last reply */
    double client_cpu_seconds; /* user + system of this process */
};

void report_print(const struct options *o, const struct tally *t, struct run_times times);
