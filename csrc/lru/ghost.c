// The ghost: fingerprints of evicted keys in sets of one word, the oldest shifted out.
#include <sys/mman.h>

#include "lru/lru_internal.h"

#define LINE_BYTES 64
#define SETS_PER_LINE (LINE_BYTES / 8)
#define PLACE_MASK ((1ull << GHOST_BITS) - 1)
#define SET_MASK (~0ull >> (64 - GHOST_BITS * GHOST_WAYS))
// Fewer lines than this are not worth a thought.
#define LINES_MIN 64
// Growth and loss of items up to a quarter are lived with.
#define FIT_LARGER(items) ((items) + (items) / 4)

_Static_assert(GHOST_BITS *GHOST_WAYS <= 64, "a set is one word, so that one store changes it");

struct place {
    uint64_t *set;    // NULL while the ghost has no size.
    uint64_t fingerprint;
};

static struct place place_of(const struct lru *lru, uint64_t hash) {
    const struct lru_ghost *ghost = &lru->root->ghost;
    uint64_t sets = (uint64_t)SHARED_LOAD(ghost->lines) * SETS_PER_LINE;
    // Other bits than those by which the index finds a bucket, so that keys of one bucket do not
    // meet here again.
    uint64_t mixed = (hash ^ (uint64_t)SHARED_LOAD(ghost->salt) << 32) * 0x9e3779b97f4a7c15ull;
    uint64_t number = (mixed >> 32) * sets >> 32;
    uint64_t fingerprint = 1 + (mixed & 0xffffffffu) % PLACE_MASK;
    return (struct place){sets ? lru->ghost + number : NULL, fingerprint};
}

// In which place of the set the fingerprint stands, GHOST_WAYS for none.
static uint32_t way_of(uint64_t set, uint64_t fingerprint) {
    uint32_t way = 0;
    while (way < GHOST_WAYS && (set >> way * GHOST_BITS & PLACE_MASK) != fingerprint) {
        way++;
    }
    return way;
}

static uint64_t without(uint64_t set, uint32_t way) {
    uint64_t newer = (1ull << way * GHOST_BITS) - 1;
    return (set & newer) | (set >> GHOST_BITS & ~newer);
}

void ghost_prefetch(const struct lru *lru, uint64_t hash) {
    __builtin_prefetch(place_of(lru, hash).set);
}

void ghost_note(struct lru *lru, uint64_t hash) {
    struct place place = place_of(lru, hash);
    if (!place.set) {
        return;
    }
    uint64_t set = SHARED_LOAD(*place.set);
    uint32_t way = way_of(set, place.fingerprint);
    // Evicted again, it is young again.
    set = way < GHOST_WAYS ? without(set, way) : set;
    SHARED_STORE(*place.set, (set << GHOST_BITS | place.fingerprint) & SET_MASK);
}

static uint32_t rank_of(uint32_t way) {
    return way < GHOST_WAYS ? way + 1 : 0;
}

uint32_t ghost_has(const struct lru *lru, uint64_t hash) {
    struct place place = place_of(lru, hash);
    return place.set ? rank_of(way_of(SHARED_LOAD(*place.set), place.fingerprint)) : 0;
}

uint32_t ghost_take(struct lru *lru, uint64_t hash) {
    struct place place = place_of(lru, hash);
    if (!place.set) {
        return 0;
    }
    uint64_t set = SHARED_LOAD(*place.set);
    uint32_t way = way_of(set, place.fingerprint);
    if (way < GHOST_WAYS) {
        SHARED_STORE(*place.set, without(set, way));
    }
    return rank_of(way);
}

static uint32_t lines_for(const struct lru *lru, uint64_t items) {
    uint64_t lines = items / LINE_BYTES;
    lines = lines > LINES_MIN ? lines : LINES_MIN;
    uint32_t most = lru->root->ghost.lines_max;
    return lines < most ? (uint32_t)lines : most;
}

static void raise_touched(struct lru_ghost *ghost, uint32_t lines) {
    uint32_t seen = SHARED_LOAD(ghost->lines_touched);
    while (seen < lines && !SHARED_CAS(ghost->lines_touched, &seen, lines, RELAXED)) {
    }
}

static void renew_salt(struct lru_ghost *ghost) {
    SHARED_ADD(ghost->salt, 1, RELAXED);
}

void ghost_begin(struct lru *lru, uint64_t items) {
    struct lru_ghost *ghost = &lru->root->ghost;
    if (LIKELY(SHARED_LOAD(ghost->lines) > 0)) {
        return;
    }
    uint32_t none = 0;
    uint32_t lines = lines_for(lru, items);
    // Counted before it is used.
    raise_touched(ghost, lines);
    SHARED_CAS(ghost->lines, &none, lines, RELEASE);
}

void ghost_empty(struct lru *lru) {
    renew_salt(&lru->root->ghost);
    SHARED_STORE(lru->root->ghost.lines, 0);
}

void ghost_fit(struct lru *lru, uint64_t items) {
    struct lru_ghost *ghost = &lru->root->ghost;
    uint64_t lines = SHARED_LOAD(ghost->lines);
    uint64_t wanted = items ? lines_for(lru, items) : 0;
    if (lines && (wanted > FIT_LARGER(lines) || lines > FIT_LARGER(wanted))) {
        renew_salt(ghost);
        raise_touched(ghost, (uint32_t)wanted);
        SHARED_STORE(ghost->lines, (uint32_t)wanted);
        lines = wanted;
    }
    uint64_t touched = SHARED_LOAD(ghost->lines_touched);
    FAULT_POINT(lru->proc, "lru.ghost.sized");
    // What stands in the lines that stay was written for another size or before a flush: it goes
    // too. A process that has just read the old size may still write there, which leaves at most a
    // page of the system without its line.
    uint64_t bytes = lru_whole_groups(touched * LINE_BYTES);
    if (touched > lines && madvise(lru->ghost, bytes, MADV_REMOVE) == 0) {
        SHARED_STORE(ghost->lines_touched, SHARED_LOAD(ghost->lines));
    }
}

uint64_t ghost_bytes(const struct lru *lru) {
    const struct lru_ghost *ghost = &lru->root->ghost;
    uint64_t lines = SHARED_LOAD(ghost->lines);
    uint64_t touched = SHARED_LOAD(ghost->lines_touched);
    return (lines > touched ? lines : touched) * LINE_BYTES;
}
