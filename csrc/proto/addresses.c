// The tables of addresses. An entry is one word, written in one store, so they need no lock and no
// repair: of two workers that note the same address at once one may be forgotten.
#include "proto/addresses.h"

#include "proto/session_internal.h"

#define SET_ENTRIES 4
#define LOGIN_SETS 1024
#define SEEN_SETS 4096

#define FORGET_SECONDS 60
#define SEEN_SECONDS (24 * 60 * 60)
// Steps of the delay: 1, 2, 4, 8, 16 seconds.
#define STEPS_MAX 5
_Static_assert(1 << (STEPS_MAX - 1) == ADDRESSES_DELAY_SECONDS_MAX, "the last step is the longest");

// Failed logins of an address that good ones do not have to wait for: at once, and for each second.
#define PRESSURE_MAX 128
#define PRESSURE_PER_SECOND 8

// An entry: tag of the address (24 bits), steps of the delay (8), pressure (8), seconds of the
// cache's clock (24). 0 is a free one.
struct entry {
    uint32_t tag;
    uint32_t steps;
    uint32_t pressure;
    uint32_t age_seconds;
};
#define SECONDS_MASK 0xffffffu

struct addresses_root {
    uint64_t logins[LOGIN_SETS][SET_ENTRIES];
    uint64_t seen[SEEN_SETS][SET_ENTRIES];
};

uint64_t addresses_reserve_bytes(void) {
    return sizeof(struct addresses_root) + 64;
}

int addresses_create(struct arena *arena) {
    uint64_t offset = arena_reserve(arena, sizeof(struct addresses_root), 64, "addresses");
    if (!offset) {
        return PYMC_NO_MEMORY;
    }
    arena->header->roots[ARENA_ROOT_ADDRESSES] = offset;
    return PYMC_OK;
}

static struct addresses_root *root_of(const struct store *store) {
    uint64_t offset = store->header->roots[ARENA_ROOT_ADDRESSES];
    return offset ? (struct addresses_root *)(store->arena->base + offset) : NULL;
}

static uint64_t hash_of_address(const struct store *store, const struct client_address *address,
                                uint32_t bytes_of_v6) {
    uint32_t bytes = address->family == 4 ? 4 : address->family == 6 ? bytes_of_v6 : 0;
    char text[1 + sizeof address->bytes] = {(char)address->family};
    memcpy(text + 1, address->bytes, bytes);
    return link_hash(store, text, 1 + bytes);
}

static uint32_t tag_of(uint64_t hash) {
    return (uint32_t)(hash >> 40);
}

static struct entry unpack(uint64_t word, uint32_t now) {
    return (struct entry){.tag = (uint32_t)(word >> 40),
                          .steps = (uint32_t)(word >> 32) & 0xff,
                          .pressure = (uint32_t)(word >> 24) & 0xff,
                          .age_seconds = (now - (uint32_t)word) & SECONDS_MASK};
}

// The place of the address, or else the one to be given up for it: a free one or the oldest.
static uint64_t *find(uint64_t *set, uint64_t hash, uint32_t now) {
    uint64_t *found = &set[0];
    uint32_t oldest_seconds = 0;
    bool is_free = false;
    for (uint32_t i = 0; i < SET_ENTRIES; i++) {
        uint64_t word = SHARED_LOAD(set[i]);
        struct entry entry = unpack(word, now);
        if (word && entry.tag == tag_of(hash)) {
            return &set[i];
        }
        if (!is_free && (!word || entry.age_seconds > oldest_seconds)) {
            found = &set[i];
            oldest_seconds = entry.age_seconds;
            is_free = !word;
        }
    }
    return found;
}

// What is known of the address; zeroes when it is nothing.
static struct entry look(const uint64_t *place, uint64_t hash, uint32_t now) {
    uint64_t word = SHARED_LOAD(*place);
    struct entry entry = unpack(word, now);
    return word && entry.tag == tag_of(hash) ? entry : (struct entry){0};
}

static void note(uint64_t *place, uint64_t hash, uint32_t steps, uint32_t pressure, uint32_t now) {
    uint64_t word = (uint64_t)tag_of(hash) << 40 | (uint64_t)steps << 32 | (uint64_t)pressure << 24
                    | (now & SECONDS_MASK);
    SHARED_STORE(*place, word);
}

static uint32_t less(uint32_t number, uint32_t by) {
    return number > by ? number - by : 0;
}
static uint32_t pressure_now(const struct entry *entry) {
    return entry->age_seconds > 0xff
               ? 0
               : less(entry->pressure, entry->age_seconds * PRESSURE_PER_SECOND);
}
static uint32_t delay_of(uint32_t steps) {
    return steps ? 1u << (steps - 1) : 0;
}

uint32_t addresses_note_failed_login(struct store *store, const struct client_address *address) {
    struct addresses_root *root = root_of(store);
    if (!root) {
        return 0;
    }
    uint32_t now = store->proc->now_seconds;
    uint64_t hash = hash_of_address(store, address, 8);
    uint64_t *place = find(root->logins[hash % LOGIN_SETS], hash, now);
    struct entry entry = look(place, hash, now);
    uint32_t steps = less(entry.steps, entry.age_seconds / FORGET_SECONDS);
    uint32_t pressure = pressure_now(&entry);
    steps += steps < STEPS_MAX;
    pressure += pressure < PRESSURE_MAX + PRESSURE_PER_SECOND;
    note(place, hash, steps, pressure, now);
    return delay_of(steps);
}

uint32_t addresses_good_login_delay(const struct store *store,
                                    const struct client_address *address) {
    struct addresses_root *root = root_of(store);
    if (!root) {
        return 0;
    }
    uint32_t now = store->proc->now_seconds;
    uint64_t hash = hash_of_address(store, address, 8);
    struct entry entry = look(find(root->logins[hash % LOGIN_SETS], hash, now), hash, now);
    return pressure_now(&entry) >= PRESSURE_MAX ? delay_of(entry.steps) : 0;
}

void addresses_note_seen(struct store *store, const struct client_address *address) {
    struct addresses_root *root = root_of(store);
    if (root && address->family != 1) {
        uint32_t now = store->proc->now_seconds;
        uint64_t hash = hash_of_address(store, address, 16);
        note(find(root->seen[hash % SEEN_SETS], hash, now), hash, 1, 0, now);
    }
}

bool addresses_was_seen(const struct store *store, const struct client_address *address) {
    struct addresses_root *root = root_of(store);
    if (!root) {
        return false;
    }
    uint32_t now = store->proc->now_seconds;
    uint64_t hash = hash_of_address(store, address, 16);
    struct entry entry = look(find(root->seen[hash % SEEN_SETS], hash, now), hash, now);
    return entry.steps && entry.age_seconds < SEEN_SECONDS;
}
