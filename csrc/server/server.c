// What workers share about connections: loads, records, the choice of a worker for a new one.
#include "base/racy_inline.h"
#include "server/server_internal.h"

uint64_t server_reserve_bytes(uint32_t workers, uint32_t connections_max) {
    (void)workers;
    return sizeof(struct server_root)
           + ((uint64_t)connections_max + 256)
                 * (sizeof(struct connection_record) + SERVER_IDENTITY_BYTES)
           + prefix_reserve_bytes() + addresses_reserve_bytes() + 4096;
}

int server_create(struct arena *arena, uint32_t workers, uint32_t connections_max) {
    if (workers == 0 || workers > ENGINE_WORKERS_MAX) {
        return PYMC_INVALID;
    }
    uint64_t offset = arena_reserve(arena, sizeof(struct server_root), 64, "connections");
    if (!offset) {
        return PYMC_NO_MEMORY;
    }
    struct server_root *root = (struct server_root *)(arena->base + offset);
    root->workers = workers;
    // Some more than the limit: the one that is refused is counted in before it is refused.
    root->records_max = connections_max + 256;
    root->records_offset = arena_reserve(
        arena, root->records_max * sizeof(struct connection_record), 64, "connections");
    // Of their own, so that connections without one touch none of this memory.
    root->identities_offset = arena_reserve(
        arena, (uint64_t)root->records_max * SERVER_IDENTITY_BYTES, 64, "connections");
    if (!root->records_offset || !root->identities_offset) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_SERVER] = offset;
    arena_add_plain_lock(arena, &root->lock);
    arena->header->live[LIVE_connections_max] = connections_max;
    int status = prefix_create(arena);
    return status == PYMC_OK ? addresses_create(arena) : status;
}

// A plain lock: it guards numbers that a worker's new life sets right again.
static void lock_server(struct engine *engine) {
    lock_take(engine->proc, &engine->root->lock, LOCK_LEAF);
}
static void unlock_server(struct engine *engine) {
    lock_give(engine->proc, &engine->root->lock, false);
}

uint32_t server_connections_total(const struct engine *engine) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < engine->root->workers; i++) {
        total += SHARED_LOAD(engine->root->loads[i]);
    }
    return total;
}

uint32_t server_place(struct engine *engine, uint32_t *epoch_out) {
    struct server_root *root = engine->root;
    uint32_t best = engine->worker;
    lock_server(engine);
    if (server_connections_total(engine)
        >= (uint64_t)live_get(engine->arena, LIVE_connections_max)) {
        unlock_server(engine);
        return UINT32_MAX;
    }
    uint32_t late_load = UINT32_MAX;
    for (uint32_t i = 0; i < root->workers; i++) {
        const struct slot *slot = slot_at(engine->arena, i);
        if (i == engine->worker || !SHARED_LOAD(slot->pid)) {
            continue;
        }
        if (UNLIKELY(SHARED_LOAD(slot->is_late))) {
            late_load = root->loads[i] < late_load ? root->loads[i] : late_load;
        } else if (root->loads[i] < root->loads[best]) {
            best = i;
        }
    }
    count(engine->proc, COUNTER_connections_past_late, late_load < root->loads[best]);
    SHARED_STORE(root->loads[best], root->loads[best] + 1);
    *epoch_out = root->epochs[best];
    unlock_server(engine);
    return best;
}

static void load_change_locked(struct engine *engine, int32_t by) {
    uint32_t *load = &engine->root->loads[engine->worker];
    SHARED_STORE(*load, (uint32_t)((int32_t)*load + by));
}

void server_load_change(struct engine *engine, int32_t by) {
    lock_server(engine);
    load_change_locked(engine, by);
    unlock_server(engine);
}

void server_place_here(struct engine *engine, uint32_t worker, uint32_t epoch) {
    struct server_root *root = engine->root;
    lock_server(engine);
    if (root->epochs[worker] == epoch) {
        SHARED_STORE(root->loads[worker], root->loads[worker] - 1);
    }
    SHARED_STORE(root->loads[engine->worker], root->loads[engine->worker] + 1);
    unlock_server(engine);
}

uint32_t server_record_take(struct engine *engine) {
    struct server_root *root = engine->root;
    uint32_t id = UINT32_MAX;
    lock_server(engine);
    if (root->records_free) {
        id = root->records_free - 1;
        root->records_free = record_at(engine, id)->id;
    } else if (root->records_begun < root->records_max) {
        id = root->records_begun++;
    }
    if (id != UINT32_MAX) {
        record_at(engine, id)->worker = engine->worker;
        SHARED_STORE(record_at(engine, id)->state, CONNECTION_READ);
    }
    unlock_server(engine);
    return id;
}

static char *identity_at(struct arena *arena, const struct server_root *root, uint32_t id) {
    return arena->base + root->identities_offset + (uint64_t)id * SERVER_IDENTITY_BYTES;
}

void server_identity_note(struct engine *engine, uint32_t id, const char *identity) {
    size_t bytes = strlen(identity);
    bytes = bytes < SERVER_IDENTITY_BYTES ? bytes : SERVER_IDENTITY_BYTES - 1;
    if (bytes) {
        char *place = identity_at(engine->arena, engine->root, id);
        racy_write(place, identity, bytes);
        racy_write(place + bytes, "", 1);
        SHARED_RELEASE(record_at(engine, id)->has_identity, 1);
    }
}

uint32_t server_identity_read(struct arena *arena, uint32_t id, char out[SERVER_IDENTITY_BYTES]) {
    const struct server_root *root =
        (struct server_root *)(arena->base + arena->header->roots[ARENA_ROOT_SERVER]);
    const struct connection_record *records =
        (struct connection_record *)(arena->base + root->records_offset);
    if (id >= SHARED_LOAD(root->records_begun) || !SHARED_LOAD(records[id].has_identity)) {
        return 0;
    }
    racy_copy(out, identity_at(arena, root, id), SERVER_IDENTITY_BYTES);
    return (uint32_t)strnlen(out, SERVER_IDENTITY_BYTES);
}

static inline void record_give_locked(struct engine *engine, uint32_t id) {
    struct connection_record *record = record_at(engine, id);
    SHARED_STORE(record->state, CONNECTION_FREE);
    SHARED_STORE(record->has_identity, 0);
    record->id = engine->root->records_free;
    engine->root->records_free = id + 1;
}

void server_record_give(struct engine *engine, uint32_t id) {
    lock_server(engine);
    record_give_locked(engine, id);
    load_change_locked(engine, -1);
    unlock_server(engine);
}

void server_worker_begin(struct engine *engine) {
    struct server_root *root = engine->root;
    lock_server(engine);
    for (uint32_t id = 0; id < root->records_begun; id++) {
        struct connection_record *record = record_at(engine, id);
        if (record->state != CONNECTION_FREE && record->worker == engine->worker) {
            record_give_locked(engine, id);
        }
    }
    SHARED_STORE(root->loads[engine->worker], 0);
    SHARED_STORE(root->watches[engine->worker], SERVER_WATCHES_NOT);
    engine->epoch = ++root->epochs[engine->worker];
    unlock_server(engine);
}

uint32_t server_connections_read(struct arena *arena, uint32_t *next_id,
                                 struct connection_record *out, uint32_t most) {
    const struct server_root *root =
        (struct server_root *)(arena->base + arena->header->roots[ARENA_ROOT_SERVER]);
    const struct connection_record *records =
        (struct connection_record *)(arena->base + root->records_offset);
    uint32_t found = 0;
    uint32_t begun = SHARED_LOAD(root->records_begun);
    uint32_t id = *next_id;
    for (; id < begun && found < most; id++) {
        if (SHARED_LOAD(records[id].state) != CONNECTION_FREE) {
            out[found++] = records[id];
        }
    }
    *next_id = id;
    return found;
}

void server_loads_read(struct arena *arena, uint32_t *counts_out) {
    const struct server_root *root =
        (struct server_root *)(arena->base + arena->header->roots[ARENA_ROOT_SERVER]);
    for (uint32_t i = 0; i < root->workers; i++) {
        counts_out[i] = SHARED_LOAD(root->loads[i]);
    }
}
