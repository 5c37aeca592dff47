// Changes to the header of an item that a look-up found.
#pragma once

#include "link/link_find_inline.h"

// Changes flags in the state and the expiry of a viewed item, atomically with the view: 0 bits
// change nothing.
struct store_mark {
    uint32_t set_state;
    uint32_t clear_state;
    bool is_read;
    bool has_expiry;
    uint32_t expiry_seconds;
    bool renumbers;    // Gives the item another CAS number: the client's, or the next one.
    bool has_cas_new;
    uint64_t cas_new;
};
// Lets the view's bucket go in any case. Returns STORE_TOUCHED when all is done (the item may have
// moved to get a field), STORE_LOOK_AGAIN, STORE_NO_MEMORY when there is none for a field,
// STORE_BUSY.
int store_mark(struct store *store, struct link_view *view, const char *key, uint64_t hash,
               const struct store_mark *mark);
