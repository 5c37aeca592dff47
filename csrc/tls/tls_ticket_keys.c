// The keys of tickets: in the arena, so that a session goes on with any worker.
#include <openssl/crypto.h>
#include <sys/random.h>

#include "shm/arena_inline.h"
#include "tls/tls_internal.h"

// A reader looks again while keys are made, which happens once an hour or so.
#define LOOKS_MAX 16

uint64_t tls_reserve_bytes(void) {
    return sizeof(struct tls_root) + 64;
}

static struct tls_root *root_of(const struct arena *arena) {
    return (struct tls_root *)(arena->base + arena->header->roots[ARENA_ROOT_TLS]);
}

int tls_create(struct arena *arena) {
    uint64_t offset = arena_reserve(arena, sizeof(struct tls_root), 64, "tls");
    if (offset == 0) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_TLS] = offset;
    return PYMC_OK;
}

// The next key goes where nobody looks; the version publishes it, and only then the one that it
// drives out is erased. Who dies before that leaves it lying where nobody looks.
int tls_tickets_rotate(struct arena *arena) {
    struct tls_root *root = root_of(arena);
    struct tls_ticket_key fresh;
    if (getrandom(&fresh, sizeof fresh, 0) != (ssize_t)sizeof fresh) {
        return PYMC_OS_ERROR;
    }
    uint64_t next = SHARED_LOAD(root->version) + 1;
    SHARED_COPY(&root->keys[next % TLS_TICKET_KEYS], &fresh, sizeof fresh);
    SHARED_DECIDE(root->version, next);
    SHARED_CLEAR(&root->keys[(next + 1) % TLS_TICKET_KEYS], sizeof fresh);
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return PYMC_OK;
}

bool tls_tickets_read(const struct arena *arena, struct tls_ticket_keys *keys) {
    keys->count = 0;
    if (arena->header->roots[ARENA_ROOT_TLS] == 0) {
        return false;
    }
    const struct tls_root *root = root_of(arena);
    for (int look = 0; look < LOOKS_MAX; look++) {
        uint64_t version = SHARED_ACQUIRE(root->version);
        if (version == 0) {
            return false;
        }
        memcpy(&keys->keys[0], &root->keys[version % TLS_TICKET_KEYS], sizeof keys->keys[0]);
        memcpy(&keys->keys[1], &root->keys[(version - 1) % TLS_TICKET_KEYS], sizeof keys->keys[1]);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (SHARED_LOAD(root->version) == version) {
            // Before the first key there is none: zeroes are a key that everybody knows.
            keys->count = version > 1 ? 2 : 1;
            return true;
        }
    }
    return false;
}
