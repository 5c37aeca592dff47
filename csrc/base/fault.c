// Dies at an armed fault point as by kill -9 from outside, or waits there; knows the table of all
// sites.
#include "base/fault_inline.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check_inline.h"

#ifdef PYMC_DEBUG
#define NAP_NS 50000

_Thread_local struct fault_order fault_of_thread;

// The ends of the table, named by the linker.
extern const struct fault_site __start_fault_sites[] __attribute__((visibility("hidden")));
extern const struct fault_site __stop_fault_sites[] __attribute__((visibility("hidden")));

uint32_t fault_site_count(void) {
    return (uint32_t)(__stop_fault_sites - __start_fault_sites);
}

const struct fault_site *fault_site_at(uint32_t index) {
    PYMC_CHECK(index < fault_site_count());
    return &__start_fault_sites[index];
}

static uint32_t write_name(const struct fault_site *site, char *name_out) {
    bool is_own = strcmp(site->file, site->unit) == 0;
    int bytes = snprintf(name_out, FAULT_NAME_BYTES, "%s:%u%s%s", site->file, site->line,
                         is_own ? "" : "@", is_own ? "" : site->unit);
    PYMC_CHECK(bytes > 0 && bytes < FAULT_NAME_BYTES);
    return (uint32_t)bytes;
}

uint32_t fault_site_name(uint32_t index, char *name_out) {
    return write_name(fault_site_at(index), name_out);
}

void fault_arm(const char *name, uint32_t countdown, const void *owner, struct fault_gate *gate) {
    struct fault_order *order = &fault_of_thread;
    strncpy(order->name, name, FAULT_NAME_BYTES - 1);
    order->name[FAULT_NAME_BYTES - 1] = '\0';
    const char *colon = strchr(order->name, ':');
    order->line = colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
    order->countdown = countdown;
    order->owner = owner;
    order->gate = gate;
    order->is_armed = countdown > 0 && order->name[0];
    order->is_watched = order->is_armed || order->hits;
}

void fault_count_hits(uint32_t *hits) {
    fault_of_thread.hits = hits;
    fault_of_thread.is_watched = fault_of_thread.is_armed || hits;
}

static void die_or_wait(struct fault_order *order) {
    order->is_armed = false;
    order->is_watched = order->hits != NULL;
    struct fault_gate *gate = order->gate;
    if (!gate) {
        kill(getpid(), SIGKILL);
        pause();
    }
    __atomic_store_n(&gate->arrived, 1, __ATOMIC_RELEASE);
    for (long naps = 0; !__atomic_load_n(&gate->released, __ATOMIC_ACQUIRE); naps++) {
        PYMC_CHECK(naps < FAULT_WAIT_SECONDS * (1000000000l / NAP_NS));
        struct timespec nap = {.tv_nsec = NAP_NS};
        nanosleep(&nap, NULL);
    }
}

void fault_reached(const char *name, const void *owner) {
    struct fault_order *order = &fault_of_thread;
    bool is_owned = !order->owner || order->owner == owner;
    if (is_owned && strcmp(order->name, name) == 0 && --order->countdown == 0) {
        die_or_wait(order);
    }
}

// Whether the site has the armed name, with its unit or without.
static bool is_meant(const struct fault_order *order, const struct fault_site *site) {
    // Cheap, and mostly enough: all sites are asked.
    if (site->line != order->line) {
        return false;
    }
    char name[FAULT_NAME_BYTES];
    write_name(site, name);
    size_t bytes = strlen(order->name);
    return strncmp(name, order->name, bytes) == 0 && (name[bytes] == '\0' || name[bytes] == '@');
}

void fault_passed(const struct fault_site *site) {
    struct fault_order *order = &fault_of_thread;
    if (order->hits) {
        order->hits[site - __start_fault_sites]++;
    }
    if (order->is_armed && is_meant(order, site) && --order->countdown == 0) {
        die_or_wait(order);
    }
}
#else
uint32_t fault_site_count(void) {
    return 0;
}

const struct fault_site *fault_site_at(uint32_t index) {
    PYMC_CHECK(index < fault_site_count());
    return NULL;
}

uint32_t fault_site_name(uint32_t index, char *name_out) {
    PYMC_CHECK(index < fault_site_count());
    return 0;
}

void fault_arm(const char *name, uint32_t countdown, const void *owner, struct fault_gate *gate) {
}

void fault_count_hits(uint32_t *hits) {
}
#endif
