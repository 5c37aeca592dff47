// The session as its owner embeds it: a connection holds one without a second allocation. Its
// fields are the protocol's own; everybody else uses the functions of session.h.
#pragma once

#include "proto/session.h"

struct session_value;
struct session_flash;

struct session {
    struct proto *proto;
    struct session_value *value;    // On its way in; NULL for none.
    struct session_flash *flash;    // Its reads from flash; NULL while it has none.
    const char *admin_line;
    const char *fetched_until;    // Input up to here has had its memory prefetched; valid during
                                  // one feed.
    uint64_t swallow_bytes;
    uint64_t arrived_bytes;    // So many have surely come behind the input; valid during one feed.
    uint32_t admin_bytes;
    uint32_t get_expiry;
    uint64_t requests_until;    // The process's count of requests at which its turn ends; 0: no
                                // such end.
    uint32_t admin_opaque;      // Of a binary client's request, as it came.
    uint8_t mode;
    uint8_t rights;           // Bits of enum session_right.
    uint8_t protocol;         // enum session_protocol
    uint8_t delay_seconds;    // Of MODE_DELAYED.
    uint8_t get_kind;         // Not TEXT_GET_NONE: the input stands inside the key list of a get.
    bool awaits_value;        // The input ends within a value that waits there for its rest.
    bool is_waiting;          // The command under way waits for a read or a bucket, and has left no
                              // trace.
    bool is_busy;             // It waits for a bucket.
    bool has_vivified;        // Before it had to wait it made the item that it answers from.
    bool has_begun;           // Its first byte was seen.
    bool is_authenticated;
    bool sasl_has_begun;    // It was told to go on with its login.
    bool has_quit;          // MODE_CLOSE: the client asked for it, nothing is wrong.
    bool get_is_broken;     // The rest of the get's line is thrown away.
    bool is_verbose;        // Command lines are shown (-vv); found out once per feed ...
    bool is_observed;    // ... as is whether they are looked at by that or by a watcher of errors.
    uint32_t busy_rounds;           // How often the command under way met a busy bucket ...
    uint32_t busy_since_seconds;    // ... and since when.
    uint32_t connection;            // What watchers know the client by.
    const uint8_t *peer_address;    // Where it is, borrowed; NULL for one that has no address.
    uint16_t peer_port;
    uint8_t peer_family;
    bool peer_is_datagram;
    int log_id;    // What they are shown with, as memcached does: the descriptor.
};
