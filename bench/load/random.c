/* Zipf ranks by rejection-inversion: draw under the integral of x^-theta, accept most draws at
 * once. */
#include "random.h"

#include <math.h>

static double height(const struct zipf *z, double x) {
    return pow(x, -z->theta);
}

static double area(const struct zipf *z, double x) {
    if (fabs(z->theta - 1) < 1e-9) {
        return log(x);
    }
    return (pow(x, 1 - z->theta) - 1) / (1 - z->theta);
}

static double area_inverse(const struct zipf *z, double y) {
    if (fabs(z->theta - 1) < 1e-9) {
        return exp(y);
    }
    return pow(1 + y * (1 - z->theta), 1 / (1 - z->theta));
}

void zipf_setup(struct zipf *z, uint64_t count, double theta) {
    z->count = count;
    z->theta = theta;
    z->area_first = area(z, 1.5) - 1;
    z->area_last = area(z, (double)count + 0.5);
    z->shortcut = 2 - area_inverse(z, area(z, 2.5) - height(z, 2));
}

uint64_t zipf_next(const struct zipf *z, struct rng *r) {
    for (;;) {
        double y = z->area_last + rng_unit(r) * (z->area_first - z->area_last);
        double x = area_inverse(z, y);
        double rank = floor(x + 0.5);
        if (rank < 1) {
            rank = 1;
        }
        if (rank > (double)z->count) {
            rank = (double)z->count;
        }
        if (rank - x <= z->shortcut || y >= area(z, rank + 0.5) - height(z, rank)) {
            return (uint64_t)rank;
        }
    }
}
