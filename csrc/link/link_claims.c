// Claims: the pins of readers, and items being made; each process has its own of both in the arena.
//
// A process's pins are groups of one cache line. An item's pin is in one of the two groups that its
// reference chooses, so whoever asks whether anybody pins it looks at two lines of each process
// that pins anything, however many pins there are. All replies of a process that send the item
// share the pin: only its owner counts them. While an item is pinned its chunk is this item's and
// no other's, so the reference is enough to know it by.
#include <stdlib.h>

#include "link/link_txn_inline.h"

// At least so many, and for more clients than usual some for each: half of them can be used up by
// few.
#define PINS_MIN 8192
#define PINS_PER_CONNECTION 4
// A connection makes one item at a time, and a command may make another from it.
#define MAKINGS_MIN 1024
#define MAKINGS_BESIDE 64
#define CONNECTIONS_USUAL 8192

uint32_t link_pin_groups_for(uint32_t connections_max) {
    uint64_t pins = (uint64_t)connections_max * PINS_PER_CONNECTION;    // 0 asks for the least.
    pins = pins < PINS_MIN ? PINS_MIN : pins;
    return (uint32_t)((pins + LINK_PIN_GROUP - 1) / LINK_PIN_GROUP);
}

uint32_t link_makings_for(uint32_t connections_max) {
    uint32_t makings = (connections_max ? connections_max : CONNECTIONS_USUAL) + MAKINGS_BESIDE;
    return makings < MAKINGS_MIN ? MAKINGS_MIN : makings;
}

int link_claims_open(struct store *store) {
    uint32_t pins_max = store->root->pin_groups * LINK_PIN_GROUP;
    struct link_claims *claims =
        calloc(1, sizeof *claims + (size_t)pins_max * sizeof claims->pin_count[0]);
    uint32_t *room = malloc((size_t)store->root->makings_max * sizeof *room);
    if (!claims || !room) {
        free(claims);
        free(room);
        return PYMC_NO_MEMORY;
    }
    store->claims = claims;
    claims->pins_max = pins_max;
    claims->free = room;
    claims->making_ref = link_makings_at(store, store->proc->slot_index);
    claims->pin_ref = link_pins_at(store, store->proc->slot_index);
    return PYMC_OK;
}

void link_claims_begin(struct store *store) {
    struct link_claims *claims = store->claims;
    uint32_t most = store->root->makings_max;
    for (uint32_t i = 0; i < most; i++) {
        claims->free[i] = most - 1 - i;
    }
    claims->free_count = most;
    SHARED_RELEASE(store->local->makings_high, 0);
}

void link_claims_close(struct store *store) {
    if (store->claims) {
        free(store->claims->free);
        free(store->claims);
        store->claims = NULL;
    }
}

uint32_t link_claim_hand(struct store *store) {
    struct link_claims *claims = store->claims;
    if (claims->free_count == 0) {
        return LINK_NO_CLAIM;
    }
    uint32_t claim = claims->free[--claims->free_count];
    uint32_t ref = link_hand(store);
    link_txn_arm(store, TXN_CLAIM, (struct link_txn_names){.new_ref = ref, .claim = claim + 1});
    if (claim >= store->local->makings_high) {
        SHARED_RELEASE(store->local->makings_high, claim + 1);
    }
    SHARED_DECIDE(claims->making_ref[claim], ref);
    FAULT_POINT(store->proc, "store.begin.claimed");
    link_txn_decided(store, TXN_CLAIM);
    return claim;
}

void link_claim_is_free(struct store *store, uint32_t claim) {
    struct link_claims *claims = store->claims;
    claims->free[claims->free_count++] = claim;
    if (claims->free_count == store->root->makings_max) {
        // The lowest come first again: no more memory is touched than was needed at one time.
        for (uint32_t i = 0; i < store->local->makings_high; i++) {
            claims->free[claims->free_count - 1 - i] = i;
        }
        SHARED_RELEASE(store->local->makings_high, 0);
    }
}

// Where the two groups of an item begin.
struct pin_groups {
    uint32_t at[2];
};
static struct pin_groups groups_of(const struct store *store, uint32_t ref) {
    // References of one class are a fixed step apart, and would meet in few groups unless they are
    // well mixed.
    uint64_t hash = ref * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
    uint64_t groups = store->root->pin_groups;
    return (struct pin_groups){{(uint32_t)((hash >> 32) * groups >> 32) * LINK_PIN_GROUP,
                                (uint32_t)((hash & UINT32_MAX) * groups >> 32) * LINK_PIN_GROUP}};
}

// A group is compared four words at a time: a multiget asks for each of its values.
typedef uint32_t four_words __attribute__((vector_size(16), may_alias));

// How many places of a group have this word. Requires: the caller's own group.
static uint32_t places_with(const uint32_t *group, uint32_t word) {
    const four_words *fours = (const four_words *)group;
    four_words places = {0};
    for (uint32_t i = 0; i < LINK_PIN_GROUP / 4; i++) {
        places -= (four_words)(fours[i] == word);    // Equal words compare as -1.
    }
    return places[0] + places[1] + places[2] + places[3];
}

static uint32_t first_with(const uint32_t *group, uint32_t word) {
    uint32_t i = 0;
    while (i < LINK_PIN_GROUP - 1 && group[i] != word) {
        i++;
    }
    return i;
}

// The pin that the item has or can have, LINK_NO_PIN when there is no room. Of the two groups the
// emptier one takes it: both are full only when nearly all are.
static uint32_t pin_for(const struct store *store, uint32_t ref) {
    const uint32_t *pins = store->claims->pin_ref;
    struct pin_groups groups = groups_of(store, ref);
    if (LIKELY(store->local->pins_used == 0)) {
        return groups.at[0];
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (places_with(pins + groups.at[i], ref)) {
            return groups.at[i] + first_with(pins + groups.at[i], ref);
        }
    }
    uint32_t free_first = places_with(pins + groups.at[0], 0);
    uint32_t free_second = places_with(pins + groups.at[1], 0);
    if (free_first + free_second == 0) {
        return LINK_NO_PIN;
    }
    uint32_t group = groups.at[free_second > free_first];
    return group + first_with(pins + group, 0);
}

uint32_t link_pin_take(struct store *store, uint32_t ref) {
    struct link_claims *claims = store->claims;
    uint32_t pin = pin_for(store, ref);
    if (pin == LINK_NO_PIN || claims->pin_count[pin]++ > 0) {
        return pin;
    }
    SHARED_RELEASE(store->local->pins_used, store->local->pins_used + 1);
    SHARED_DECIDE(claims->pin_ref[pin], ref);
    FAULT_POINT(store->proc, "store.pin.claimed");
    // Whoever unlinks looks at the pins after the version moved; this order makes one of the two
    // see the other.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return pin;
}

void link_pin_give(struct store *store, uint32_t pin) {
    struct link_claims *claims = store->claims;
    PYMC_DEBUG_CHECK(claims->pin_count[pin] > 0);
    if (--claims->pin_count[pin] == 0) {
        SHARED_DECIDE(claims->pin_ref[pin], 0);
        SHARED_RELEASE(store->local->pins_used, store->local->pins_used - 1);
    }
}

void link_pins_forget(struct store *store) {
    uint32_t *pins = link_pins_at(store, store->proc->slot_index);
    if (store->local->pins_used == 0) {
        return;
    }
    for (uint32_t i = 0; i < store->root->pin_groups * LINK_PIN_GROUP; i++) {
        if (pins[i]) {
            SHARED_STORE(pins[i], 0);
        }
    }
    // Last: while it is not 0 whoever comes next, after another death, looks at all of them again.
    SHARED_RELEASE(store->local->pins_used, 0);
}

// Two places at a time: each may change meanwhile, and is seen as it was or is.
typedef uint64_t __attribute__((may_alias)) pin_pair;
static bool has_ref(const uint32_t *group, uint32_t ref) {
    const pin_pair *pairs = (const pin_pair *)group;
    bool is_there = false;
    for (uint32_t i = 0; i < LINK_PIN_GROUP / 2; i++) {
        uint64_t pair = SHARED_ACQUIRE(pairs[i]);
        is_there |= (uint32_t)pair == ref || (uint32_t)(pair >> 32) == ref;
    }
    return is_there;
}

bool link_is_pinned(const struct store *store, uint32_t ref) {
    struct pin_groups groups = groups_of(store, ref);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t slot = 0; slot < store->header->slots; slot++) {
        if (SHARED_ACQUIRE(link_local_at(store, slot)->pins_used) == 0) {
            continue;
        }
        const uint32_t *pins = link_pins_at(store, slot);
        if (has_ref(pins + groups.at[0], ref) || has_ref(pins + groups.at[1], ref)) {
            return true;
        }
    }
    return false;
}

uint32_t link_pins_check(const struct store *store, uint32_t slot_index) {
    const struct store_local *local = link_local_at(store, slot_index);
    const uint32_t *pins = link_pins_at(store, slot_index);
    uint32_t used = 0;
    for (uint32_t i = 0; local->pins_used && i < store->root->pin_groups * LINK_PIN_GROUP; i++) {
        struct pin_groups groups = groups_of(store, pins[i]);
        uint32_t group = i - i % LINK_PIN_GROUP;
        PYMC_CHECK(!pins[i] || group == groups.at[0] || group == groups.at[1]);
        PYMC_CHECK(!pins[i] || places_with(pins + group, pins[i]) == 1);
        PYMC_CHECK(local != store->local || (store->claims->pin_count[i] > 0) == (pins[i] != 0));
        used += pins[i] != 0;
    }
    // Of a process that died with its hand on a pin there may be one less.
    PYMC_CHECK(local == store->local ? used == local->pins_used : used <= local->pins_used);
    return used;
}
