// The keys of tickets: in the arena, so that a session goes on with any worker.
#include <sys/random.h>

#include "shm/arena_inline.h"
#include "tls/tls_internal.h"

uint64_t tls_reserve_bytes(void) {
    return sizeof(struct tls_root) + 64;
}

int tls_create(struct arena *arena) {
    uint64_t offset = arena_reserve(arena, sizeof(struct tls_root), 64, "tls");
    if (offset == 0) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_TLS] = offset;
    return PYMC_OK;
}

int tls_tickets_rotate(struct arena *arena) {
    struct tls_root *root = (struct tls_root *)(arena->base + arena->header->roots[ARENA_ROOT_TLS]);
    struct tls_ticket_key fresh;
    if (getrandom(&fresh, sizeof fresh, 0) != (ssize_t)sizeof fresh) {
        return PYMC_OS_ERROR;
    }
    uint64_t next = SHARED_LOAD(root->version) + 1;
    root->keys[next % 2] = fresh;
    SHARED_RELEASE(root->version, next);
    return PYMC_OK;
}
