// The rings in the arena, and who watches.
#include "watch/watch.h"

#include "watch/watch_internal.h"

// For processes whose arena has no rings.
static const uint32_t nothing_wanted;

static uint64_t rounded(uint64_t ring_bytes) {
    uint64_t bytes = WATCH_RING_BYTES_MIN;
    while (bytes < ring_bytes && bytes < WATCH_RING_BYTES_MAX) {
        bytes *= 2;
    }
    return bytes;
}

uint64_t watch_reserve_bytes(uint32_t slots, uint64_t ring_bytes) {
    return sizeof(struct watch_root) + slots * (sizeof(struct watch_ring) + rounded(ring_bytes))
           + 2ull * ARENA_SYSTEM_PAGE_BYTES;
}

int watch_create(struct arena *arena, uint64_t ring_bytes) {
    uint32_t slots = arena->header->slots;
    uint64_t root_offset = arena_reserve(arena, sizeof(struct watch_root), 64, "watch");
    uint64_t rings_offset =
        arena_reserve(arena, (uint64_t)slots * sizeof(struct watch_ring), 64, "watch");
    uint64_t data_offset =
        arena_reserve(arena, slots * rounded(ring_bytes), ARENA_SYSTEM_PAGE_BYTES, "watch");
    if (!root_offset || !rings_offset || !data_offset) {
        return PYMC_NO_MEMORY;
    }
    struct watch_root *root = (struct watch_root *)(arena->base + root_offset);
    root->slots = slots;
    root->ring_bytes = rounded(ring_bytes);
    root->rings_offset = rings_offset;
    root->data_offset = data_offset;
    arena->header->roots[ARENA_ROOT_WATCH] = root_offset;
    return PYMC_OK;
}

uint32_t watch_wanted(const struct arena *arena) {
    const struct watch_root *root = watch_root_of(arena);
    return root ? SHARED_LOAD(root->wanted) : 0;
}

void watch_recount(struct watch_root *root) {
    // A death between a change of `readers` and this is repaired by watch_repair().
    for (;;) {
        uint32_t before = SHARED_ACQUIRE(root->wanted);
        uint32_t wanted = 0;
        for (uint32_t i = 0; i < WATCH_READERS_MAX; i++) {
            wanted |= (uint32_t)(SHARED_ACQUIRE(root->readers[i]) >> WATCH_CLASSES_SHIFT);
        }
        if (wanted == before) {
            return;
        }
        // Whoever comes later reads this word, and so all that was changed before it.
        (void)SHARED_CAS(root->wanted, &before, wanted, ACQ_REL);
    }
}

void watch_repair(struct arena *arena, uint32_t dead_slot_index) {
    struct watch_root *root = watch_root_of(arena);
    if (!root) {
        return;
    }
    for (uint32_t i = 0; i < WATCH_READERS_MAX; i++) {
        if ((uint32_t)SHARED_LOAD(root->readers[i]) == dead_slot_index + 1) {
            SHARED_RELEASE(root->readers[i], 0);
        }
    }
    watch_recount(root);
}

void watch_open(struct proc *proc, struct watch *watch) {
    struct watch_root *root = watch_root_of(proc->arena);
    *watch = (struct watch){
        .wanted = root ? &root->wanted : &nothing_wanted, .root = root, .proc = proc};
    if (!root) {
        return;
    }
    struct watch_ring *ring = watch_ring_at(proc->arena, root, proc->slot_index);
    uint64_t written = ring->written;
    uint64_t torn = ring->reserved - written;
    if (torn) {
        // Its writer died within a record: readers are to pass over it. A record is never larger
        // than this word can say.
        struct watch_record nothing = {.bytes = (uint16_t)torn, .kind = WATCH_NOTHING};
        char *data = watch_data_at(proc->arena, root, proc->slot_index);
        uint64_t place = written & (root->ring_bytes - 1);
        racy_write(data + place, &nothing, 8);
        SHARED_RELEASE(ring->written, ring->reserved);
    }
    watch->told = ring->written;
    watch_turned(watch);
}

void watch_turned(struct watch *watch) {
    struct watch_root *root = watch->root;
    watch->mask = SHARED_ACQUIRE(root->wanted);
    if (watch->mask == 0) {
        // Readers that are still there find zeroes, and pass over them.
        uint32_t slot = watch->proc->slot_index;
        arena_give_back(watch_data_at(watch->proc->arena, root, slot), root->ring_bytes);
    }
}
