// What is remembered of clients' addresses, in the arena for all workers: failed logins, and who
// has been there over TCP. Both tables are bounded: of many addresses those met last are kept.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

// An address: 4 bytes for family 4, 16 for family 6, none for 1 (unix).
struct client_address {
    uint8_t family;
    uint8_t bytes[16];
};

// Seconds that the answer to a failed login is held back at most.
#define ADDRESSES_DELAY_SECONDS_MAX 16

uint64_t addresses_reserve_bytes(void);
int addresses_create(struct arena *arena);

// Remembers a failed login. Returns how many seconds its answer is to be held back: 1 for the first
// one, twice as many for each that follows, and one step less for each minute without any. Of IPv6
// the network counts (/64), since one client may have all of it. 0 in an arena without tables.
uint32_t addresses_note_failed_login(struct store *store, const struct client_address *address);
// Seconds that the answer to a good login is held back: 0 unless so many logins of the address fail
// (128 at once, then 8 a second) that passwords are being tried. Whoever tries them would else know
// a wrong one by the silence, and need not wait for its answer.
uint32_t addresses_good_login_delay(const struct store *store,
                                    const struct client_address *address);

// Remembers for a day that the address has been there over TCP, where a false one gets no answer.
void addresses_note_seen(struct store *store, const struct client_address *address);
bool addresses_was_seen(const struct store *store, const struct client_address *address);
