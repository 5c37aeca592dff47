// The prefix table: open addressing in the arena, written under one leaf lock while `stats detail`
// is on.
#include "proto/prefix.h"

#include "proto/session_internal.h"

#define PREFIX_SLOTS 4096

struct prefix_root {
    uint64_t lock;    // LOCK_LEAF; a crash inside leaves at worst one count short.
    uint32_t used;
    uint32_t order[PREFIX_SLOTS];    // Slots in the order they came, + 1.
    struct prefix_record slots[PREFIX_SLOTS];
};

uint64_t prefix_reserve_bytes(void) {
    return sizeof(struct prefix_root) + 64;
}

int prefix_create(struct arena *arena) {
    uint64_t offset = arena_reserve(arena, sizeof(struct prefix_root), 64, "prefixes");
    if (!offset) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_PROTO] = offset;
    arena_add_plain_lock(arena, &((struct prefix_root *)(arena->base + offset))->lock);
    return PYMC_OK;
}

static struct prefix_root *root_of(const struct arena *arena) {
    uint64_t offset = arena->header->roots[ARENA_ROOT_PROTO];
    return offset ? (struct prefix_root *)(arena->base + offset) : NULL;
}

static struct prefix_record *find_locked(const struct store *store, struct prefix_root *root,
                                         const char *prefix, uint32_t bytes) {
    uint32_t slot = (uint32_t)link_hash(store, prefix, bytes) % PREFIX_SLOTS;
    for (uint32_t tries = 0; tries < PREFIX_SLOTS; tries++, slot = (slot + 1) % PREFIX_SLOTS) {
        struct prefix_record *record = &root->slots[slot];
        if (record->prefix_bytes == bytes && memcmp(record->prefix, prefix, bytes) == 0) {
            return record;
        }
        if (record->prefix_bytes == 0) {
            // Three quarters full is the end: who has so many prefixes has no use for the list.
            if (root->used >= PREFIX_SLOTS / 4 * 3) {
                return NULL;
            }
            SHARED_COPY(record->prefix, prefix, bytes);
            SHARED_RELEASE(record->prefix_bytes, bytes);
            SHARED_STORE(root->order[root->used], slot + 1);
            SHARED_RELEASE(root->used, root->used + 1);
            return record;
        }
    }
    return NULL;
}

static void add(uint64_t *place) {
    SHARED_STORE(*place, *place + 1);
}

void prefix_count(struct store *store, const char *key, uint32_t key_bytes, int what, bool is_hit) {
    struct prefix_root *root = root_of(store->arena);
    const char *end = memchr(key, (char)live_get(store->arena, LIVE_prefix_delimiter), key_bytes);
    if (!root || !end || end == key) {
        return;
    }
    lock_take(store->proc, &root->lock, LOCK_LEAF);
    struct prefix_record *record = find_locked(store, root, key, (uint32_t)(end - key));
    if (record) {
        if (what == PREFIX_GET) {
            add(&record->gets);
            if (is_hit) {
                add(&record->hits);
            }
        } else {
            add(what == PREFIX_SET ? &record->sets : &record->deletes);
        }
    } else {
        count(store->proc, COUNTER_prefixes_dropped, 1);
    }
    lock_give(store->proc, &root->lock, false);
}

uint32_t prefix_total(const struct arena *arena) {
    const struct prefix_root *root = root_of(arena);
    return root ? SHARED_ACQUIRE(root->used) : 0;
}

bool prefix_read(struct arena *arena, uint32_t index, struct prefix_record *out) {
    const struct prefix_root *root = root_of(arena);
    if (!root || index >= SHARED_ACQUIRE(root->used) || index >= PREFIX_SLOTS) {
        return false;
    }
    uint32_t slot = SHARED_LOAD(root->order[index]);
    if (slot == 0 || slot > PREFIX_SLOTS) {
        return false;
    }
    *out = root->slots[slot - 1];
    return out->prefix_bytes > 0 && out->prefix_bytes < sizeof out->prefix;
}

void prefix_clear(struct store *store) {
    struct prefix_root *root = root_of(store->arena);
    if (root) {
        lock_take(store->proc, &root->lock, LOCK_LEAF);
        SHARED_RELEASE(root->used, 0);
        SHARED_CLEAR(root->slots, sizeof root->slots);
        lock_give(store->proc, &root->lock, false);
    }
}
