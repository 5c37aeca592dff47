// Dumps: walks over all keys that write a line for each.
#pragma once

#include "space/space.h"

enum store_dump_kind { STORE_DUMP_META, STORE_DUMP_MG, STORE_DUMP_CACHE };

// Writes dump lines of live items into `place` until it is full or some `chunks` chunks and buckets
// were looked at. Returns the bytes written; *more_out is false when the walk is complete.
// Requires: place_bytes >= 4096. Who is there from the first step to the last is named once
// (STORE_DUMP_CACHE, which goes page by page: unless it moves). Locks: none, or a bucket that
// changes all the time (STORE_DUMP_CACHE: each item's bucket).
uint32_t store_dump_step(struct store *store, struct space_cursor *cursor, int kind,
                         uint32_t chunks, const uint64_t *class_mask, char *place,
                         uint32_t place_bytes, bool *more_out);
