// What the files of this room share: the ticket keys in the arena, and a process's context.
#pragma once

#include "base/check_inline.h"
#include "tls/tls_inline.h"

#define TLS_TICKET_NAME_BYTES 16
#define TLS_TICKET_KEY_BYTES 32

// One key of tickets: what names it in a ticket, and what encrypts and signs.
struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME_BYTES];
    uint8_t cipher_key[TLS_TICKET_KEY_BYTES];
    uint8_t mac_key[TLS_TICKET_KEY_BYTES];
};

// In the arena. `version` says which of the keys is current: the other one is the last before it.
struct tls_root {
    uint64_t version;
    struct tls_ticket_key keys[2];
};

struct tls_context {
    uint32_t references;
    struct arena *arena;
    SSL_CTX *doors[TLS_DOORS];
};
