// Lists of pages, for the files of this room.
#pragma once

#include "slab/slab_inline.h"

// So many bytes of a chunk that is free are not an item's.
#define SLAB_CHUNK_HEADER_BYTES 16

// What a process sets aside of a class is at most this much memory, or one chunk: a page of which
// anybody at work has a chunk cannot move, and a page has few large ones.
#define SLAB_MAGAZINE_BYTES (64u * 1024)

// Lists of a class's pages. Locks: the caller holds LOCK_CLASS; what a crash leaves half done is
// made anew by repair.
void slab_partial_push(struct slab *slab, struct slab_class *class, uint32_t page);
void slab_partial_remove(struct slab *slab, struct slab_class *class, uint32_t page);
void slab_ring_insert(struct slab *slab, struct slab_class *class, uint32_t page);
// Gives a page of the pool, or a new one, to the class; 0 when there is none. Locks: holds
// LOCK_CLASS, takes LOCK_PAGES.
uint32_t slab_page_open(struct slab *slab, struct proc *proc, uint32_t class_id);
