// Reading a value out, for tests and tools.
#include "link/link_find_inline.h"
#include "link/link_value_inline.h"
#include "store/store.h"

int store_read_value(struct store *store, const char *key, uint32_t key_bytes, char *place,
                     uint32_t place_bytes, struct store_read *out) {
    uint64_t hash = link_hash(store, key, key_bytes);
    struct link_view view;
    for (uint32_t round = 0; round < LINK_LOOKS_MAX; round++) {
        int found = link_look(store, key, key_bytes, hash, round, &view);
        if (found != STORE_HIT) {
            return found == STORE_ON_FLASH ? STORE_MISS : found;
        }
        uint32_t copied = 0;
        const char *piece;
        uint32_t piece_bytes;
        while (copied < place_bytes
               && (piece_bytes = link_value_span(store, view.item, view.state, view.class_id,
                                                 copied, &piece))) {
            uint32_t fits = piece_bytes < place_bytes - copied ? piece_bytes : place_bytes - copied;
            racy_copy(place + copied, piece, fits);
            copied += fits;
        }
        bool holds = link_holds(&view);
        link_let_go(store, &view);
        if (holds) {
            *out = (struct store_read){view.value_bytes,  view.client_flags, view.expiry_seconds,
                                       view.time_seconds, view.state,        view.cas};
            if (link_wants_bump(store, &view)) {
                link_bump(store, &view);
            }
            return STORE_HIT;
        }
    }
    return STORE_BUSY;
}
