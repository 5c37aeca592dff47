// Sums of what all processes counted, and what `stats reset` takes off them.
#include <string.h>

#include "meter/meter.h"
#include "store/store_internal.h"

// Of a process that has not noticed the present flush, all that it counted is flushed.
static bool all_is_flushed(const struct store *store, uint32_t slot) {
    return SHARED_ACQUIRE(link_local_at(store, slot)->flush_noticed)
           != SHARED_LOAD(store->header->flush_order);
}

static uint32_t class_counter_of_all(uint32_t counter) {
    switch (counter) {
    case CLASS_flushed_items: return CLASS_items;
    case CLASS_flushed_item_bytes: return CLASS_item_bytes;
    case CLASS_flushed_warm_items: return CLASS_warm_items;
    case CLASS_flushed_temp_items: return CLASS_temp_items;
    default: return counter;
    }
}

static uint32_t counter_of_all(uint32_t counter) {
    switch (counter) {
    case COUNTER_flushed_items: return COUNTER_items;
    case COUNTER_flushed_item_bytes: return COUNTER_item_bytes;
    case COUNTER_flushed_with_copy: return COUNTER_items_with_copy;
    default: return counter;
    }
}

// A slot that nobody ever had counted nothing, and its memory is not touched by looking.
static bool has_counted(const struct store *store, uint32_t slot) {
    return proc_slot_generation(store->arena, slot) != 0;
}

// Adds what one slot counted in one class.
static void add_class_of_slot(const struct store *store, uint32_t slot, uint32_t class_id,
                              bool all_flushed, uint64_t *values) {
    const uint64_t *counters = link_local_at(store, slot)->class_counters[class_id];
    uint64_t oldest = SHARED_LOAD(counters[CLASS_evicted_age_seconds]);
    oldest =
        oldest > values[CLASS_evicted_age_seconds] ? oldest : values[CLASS_evicted_age_seconds];
    for (uint32_t i = 0; i < CLASS_COUNTER_COUNT; i++) {
        values[i] += SHARED_LOAD(counters[UNLIKELY(all_flushed) ? class_counter_of_all(i) : i]);
    }
    values[CLASS_evicted_age_seconds] = oldest;
}

// Sums over all slots since the start; slot by slot, since a slot's classes lie side by side.
static void class_counters_add(const struct store *store, uint32_t first, uint32_t last,
                               uint64_t *values) {
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        bool all_flushed = all_is_flushed(store, slot);
        for (uint32_t class_id = first; has_counted(store, slot) && class_id <= last; class_id++) {
            add_class_of_slot(store, slot, class_id, all_flushed, values);
        }
    }
}

void class_counters_sum(struct store *store, uint32_t first, uint32_t last, uint64_t *values) {
    PYMC_CHECK(first >= 1 && last <= store->slab.root->classes);
    memset(values, 0, CLASS_COUNTER_COUNT * sizeof *values);
    class_counters_add(store, first, last, values);
    for (uint32_t class_id = first; class_id <= last; class_id++) {
        for (uint32_t i = 0; i < CLASS_COUNTER_COUNT; i++) {
            // What `stats reset` left is 0 for gauges.
            values[i] -= SHARED_LOAD(store->root->class_counters_base[class_id][i]);
        }
    }
}

void class_counters_read(struct store *store, uint32_t class_id, uint64_t *values) {
    class_counters_sum(store, class_id, class_id, values);
}

uint32_t store_class_read_next(struct store *store, uint32_t class_id,
                               struct store_class_state *out) {
    for (class_id = class_id ? class_id : 1; class_id <= store->slab.root->classes; class_id++) {
        if (SHARED_LOAD(store->slab.root->class[class_id].pages)) {
            slab_class_read(&store->slab, class_id, &out->slab);
            space_class_ages(store, class_id, &out->ages);
            return class_id;
        }
    }
    return 0;
}

// Sums over all slots since the start.
static void counters_sum(const struct store *store, uint64_t *values) {
    memset(values, 0, COUNTER_COUNT * sizeof *values);
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        const uint64_t *counters = slot_at(store->arena, slot)->counters;
        bool all_flushed = all_is_flushed(store, slot);
        for (uint32_t i = 0; has_counted(store, slot) && i < COUNTER_COUNT; i++) {
            values[i] += SHARED_LOAD(counters[UNLIKELY(all_flushed) ? counter_of_all(i) : i]);
        }
    }
    meter_read_peaks(store->arena, values);
}

void store_counters_read(struct store *store, uint64_t *values) {
    counters_sum(store, values);
    for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
        values[i] -= SHARED_LOAD(store->root->counters_base[i]);
    }
}

static void reset_class(struct store *store, uint32_t class_id) {
    uint64_t values[CLASS_COUNTER_COUNT] = {0};
    class_counters_add(store, class_id, class_id, values);
    for (uint32_t i = 0; i < CLASS_COUNTER_COUNT; i++) {
        if (meter_class_row(i)->kind == METER_COUNTER) {
            SHARED_STORE(store->root->class_counters_base[class_id][i], values[i]);
        }
    }
}

void store_counters_reset(struct store *store) {
    uint64_t values[COUNTER_COUNT];
    counters_sum(store, values);
    for (uint32_t i = 0; i < COUNTER_COUNT; i++) {
        if (meter_row(i)->kind == METER_COUNTER) {
            SHARED_STORE(store->root->counters_base[i], values[i]);
        }
    }
    for (uint32_t class_id = 1; class_id <= store->slab.root->classes; class_id++) {
        reset_class(store, class_id);
    }
}
