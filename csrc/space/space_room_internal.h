// What making room asks of page moves, and who takes chunks asks of it.
#pragma once

#include "link/link_lock_inline.h"
#include "space/space.h"

// Room for a class that has no free chunk: takes a chunk into the hand from wherever that costs
// least: a free page of anybody, a page of which little is in use, a page of another class whose
// items are dead or older, the class itself. `has_few`: the items that want it are few, and may
// share the chunks of a larger class. Returns false when nothing can be evicted anywhere. Requires:
// no lock held, nothing in hand, no transaction armed.
bool space_room_take(struct store *store, uint32_t class_id, bool has_few);
// Goes on with the page that is on its way to the class, if there is one, as fast as the class uses
// up what it has.
void space_room_pace(struct store *store, uint32_t class_id);
// Pages that did not get empty; space_move_begin_beside() is space_move_begin() with another page
// than these.
#define SPACE_MOVE_AVOID_MAX 12
struct space_move_avoid {
    uint32_t count;
    uint32_t pages[SPACE_MOVE_AVOID_MAX];
};
int space_move_begin_beside(struct store *store, uint32_t from_class, uint32_t to_class,
                            const struct space_move_avoid *avoid, struct space_move *move);
// Hands the page on when it is empty: true. Then gives a free page back to the system if all have
// more than the limit. Crash: the page is handed on, or still being emptied.
bool space_move_end(struct store *store, struct space_move *move);
