// Steps on locked chains, for the files of this room.
#pragma once

#include "index/index_inline.h"

// However many buckets there were at the start, few entries need no more than these.
#define INDEX_BUCKETS_MIN 8192

// How the table's machine sees the buckets.
extern const struct table_format index_format;

uint32_t index_free_slots(const struct bucket *bucket);
void index_put(struct bucket *bucket, uint32_t slot, uint8_t tag, uint32_t ref);
// Unhangs and frees the last overflow bucket of the chain while it is empty.
void index_trim_chain(struct index *index, struct proc *proc, struct bucket *home);
// The stores that hang a prepared overflow bucket behind a full one; a repairer may run them again.
void index_chain_commit(struct bucket *bucket, uint32_t overflow);
