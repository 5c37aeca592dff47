// Walking over all chunks.
#pragma once

#include "link/link_handle_inline.h"
#include "space/space.h"

// Calls `visit` for the carved chunks from the cursor on, `chunks` at most; false at the end of the
// last page. The mask has a bit per class, NULL means all.
typedef void (*space_visit)(void *context, uint32_t ref, uint32_t class_id);
bool space_walk_chunks(struct store *store, struct space_cursor *cursor, uint32_t chunks,
                       const uint64_t *class_mask, space_visit visit, void *context);
