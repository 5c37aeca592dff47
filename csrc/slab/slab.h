// Slab pages, classes and chunks: who may have which piece of item memory.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/arena.h"
#include "shm/proc.h"

#define SLAB_PAGE_BYTES 1048576
#define SLAB_CLASSES_MAX 256
#define SLAB_CHUNK_BYTES_MIN 32

struct slab;

// What one class looks like at this moment; parts may be a few operations apart.
struct slab_class_snapshot {
    uint32_t chunk_bytes;
    uint32_t chunks_per_page;
    uint32_t pages;
    uint32_t draining_pages;
    uint64_t free_chunks;        // In page lists and never used ones.
    uint64_t magazine_chunks;    // Free, but set aside in processes' magazines.
};

struct slab_snapshot {
    uint32_t classes;       // Class numbers run from 1 to this one.
    uint32_t pages_used;    // Pages that belong to a class.
    uint32_t pages_pool;    // Pages that had memory once and belong to no class.
    uint32_t pages_limit;
    uint32_t pages_max;
    uint32_t pages_opened;    // Counts pages that were given to a class; wraps around.
    uint32_t unit_bytes;      // References count units of this many bytes.
};

// Copies the current numbers out. Requires (class): 1 <= class_id <= snapshot.classes.
void slab_read(const struct slab *slab, struct slab_snapshot *out);
void slab_class_read(const struct slab *slab, uint32_t class_id, struct slab_class_snapshot *out);

// The smallest class whose chunks hold `bytes`, 0 when none does.
uint32_t slab_class_for(const struct slab *slab, uint32_t bytes);

// How many pages classes may have; lowering it takes nothing away by itself.
void slab_set_pages_limit(struct slab *slab, uint32_t pages);

// Takes free pages' memory back to the system, at most `pages_max` of them; returns how many.
// Locks: LOCK_PAGES for each page.
uint32_t slab_release_pool_step(struct slab *slab, struct proc *proc, uint32_t pages_max);

// Asks all processes to put the chunks of their magazines back at their next wake-up.
void slab_ask_flush(struct slab *slab);

// Puts this process's magazines back into the pages when somebody asked for it since the last call.
// Locks: LOCK_CLASS, one class after the other.
void slab_flush_if_asked(struct slab *slab, struct proc *proc);
void slab_flush(struct slab *slab, struct proc *proc);
