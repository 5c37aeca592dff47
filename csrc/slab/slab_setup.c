// Making, reading, repairing and checking the slab structures.
#include <sys/mman.h>

#include "slab/slab_internal.h"

// References are 32 bits, so the unit grows with the arena: 8 bytes up to 32 GiB, 64 bytes at 256
// GiB.
static uint32_t unit_shift_for(uint32_t pages_max) {
    uint32_t shift = 3;
    while (((uint64_t)pages_max << SLAB_PAGE_SHIFT) >> shift > UINT32_MAX) {
        shift++;
    }
    return shift;
}

uint64_t slab_reserve_bytes(const struct slab_geometry *geometry, uint32_t slots) {
    return ((uint64_t)geometry->pages_max << SLAB_PAGE_SHIFT) + ARENA_HUGE_PAGE_BYTES
           + geometry->pages_max * (uint64_t)(sizeof(struct slab_page) + sizeof(uint16_t))
           + sizeof(struct slab_root) + (uint64_t)slots * sizeof(struct slab_local) + 65536;
}

static int fill_classes(struct slab_root *root, const struct slab_geometry *geometry) {
    uint32_t unit_bytes = 1u << root->unit_shift;
    uint32_t last = 0;
    for (uint32_t i = 0; i < geometry->class_count; i++) {
        uint32_t bytes = (geometry->chunk_bytes[i] + unit_bytes - 1) & ~(unit_bytes - 1);
        if (bytes < SLAB_CHUNK_BYTES_MIN || bytes > SLAB_PAGE_BYTES || bytes < last) {
            return PYMC_INVALID;
        }
        if (bytes == last) {
            continue;    // Two sizes became one by rounding to the unit.
        }
        last = bytes;
        struct slab_class *class = &root->class[++root->classes];
        class->chunk_bytes = bytes;
        class->chunks_per_page = SLAB_PAGE_BYTES / bytes;
    }
    return root->classes ? PYMC_OK : PYMC_INVALID;
}

int slab_create(struct arena *arena, const struct slab_geometry *geometry) {
    if (geometry->class_count == 0 || geometry->class_count >= SLAB_CLASSES_MAX
        || geometry->pages_max < 2) {
        return PYMC_INVALID;
    }
    uint64_t root_offset = arena_reserve(arena, sizeof(struct slab_root), 64, "slab_tables");
    if (!root_offset) {
        return PYMC_NO_MEMORY;
    }
    struct slab_root *root = (struct slab_root *)(arena->base + root_offset);
    root->pages_max = geometry->pages_max;
    root->slots = arena->header->slots;
    root->unit_shift = unit_shift_for(geometry->pages_max);
    int status = fill_classes(root, geometry);
    if (status != PYMC_OK) {
        return status;
    }
    root->pages_offset = arena_reserve(
        arena, (uint64_t)geometry->pages_max * sizeof(struct slab_page), 64, "slab_tables");
    root->page_class_offset =
        arena_reserve(arena, (uint64_t)geometry->pages_max * sizeof(uint16_t), 64, "slab_tables");
    root->local_offset = arena_reserve(
        arena, (uint64_t)arena->header->slots * sizeof(struct slab_local), 64, "slab_local");
    root->area_offset = arena_reserve(arena, (uint64_t)geometry->pages_max << SLAB_PAGE_SHIFT,
                                      ARENA_HUGE_PAGE_BYTES, "slab_pages");
    if (!root->pages_offset || !root->page_class_offset || !root->local_offset
        || !root->area_offset) {
        return PYMC_NO_MEMORY;
    }
    root->pages_limit = geometry->pages_max - 1;
    arena->header->roots[ARENA_ROOT_SLAB] = root_offset;
    return PYMC_OK;
}

void slab_attach(struct arena *arena, struct slab *slab) {
    slab->root = (struct slab_root *)(arena->base + arena->header->roots[ARENA_ROOT_SLAB]);
    slab->area = arena->base + slab->root->area_offset;
    slab->pages = (struct slab_page *)(arena->base + slab->root->pages_offset);
    slab->page_class = (uint16_t *)(arena->base + slab->root->page_class_offset);
    slab->locals = arena->base + slab->root->local_offset;
    slab->unit_shift = slab->root->unit_shift;
    for (uint32_t class_id = 1; class_id <= slab->root->classes; class_id++) {
        uint32_t most = SLAB_MAGAZINE_BYTES / slab->root->class[class_id].chunk_bytes;
        most = most < 1 ? 1 : most;
        slab->magazine_most[class_id] =
            (uint8_t)(most < SLAB_MAGAZINE_CHUNKS ? most : SLAB_MAGAZINE_CHUNKS);
    }
}

void slab_enter(struct slab *slab, const struct proc *proc) {
    slab->own = slab_local(slab, proc->slot_index);
}

void slab_read(const struct slab *slab, struct slab_snapshot *out) {
    const struct slab_root *root = slab->root;
    out->classes = root->classes;
    out->pages_used = SHARED_LOAD(root->pages_used);
    out->pages_pool = SHARED_LOAD(root->pool_count);
    out->pages_limit = SHARED_LOAD(root->pages_limit);
    out->pages_opened = SHARED_LOAD(root->pages_opened);
    out->pages_max = root->pages_max;
    out->unit_bytes = 1u << root->unit_shift;
}

static uint32_t slots_of(const struct slab *slab) {
    return slab->root->slots;
}

static uint64_t magazine_chunks(const struct slab *slab, uint32_t class_id) {
    uint64_t total = 0;
    for (uint32_t slot = 0; slot < slots_of(slab); slot++) {
        total += SHARED_LOAD(slab_local(slab, slot)->magazine[class_id].count);
    }
    return total;
}

void slab_class_read(const struct slab *slab, uint32_t class_id, struct slab_class_snapshot *out) {
    PYMC_CHECK(class_id >= 1 && class_id <= slab->root->classes);
    const struct slab_class *class = &slab->root->class[class_id];
    out->chunk_bytes = class->chunk_bytes;
    out->chunks_per_page = class->chunks_per_page;
    out->pages = SHARED_LOAD(class->pages);
    out->draining_pages = SHARED_LOAD(class->draining);
    out->free_chunks = SHARED_LOAD(class->free_chunks);
    out->magazine_chunks = out->pages ? magazine_chunks(slab, class_id) : 0;
}

uint32_t slab_class_for(const struct slab *slab, uint32_t bytes) {
    uint32_t low = 1;
    uint32_t high = slab->root->classes + 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (slab->root->class[middle].chunk_bytes < bytes) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low <= slab->root->classes ? low : 0;
}

void slab_set_pages_limit(struct slab *slab, uint32_t pages) {
    uint32_t most = slab->root->pages_max - 1;
    SHARED_STORE(slab->root->pages_limit, pages < most ? pages : most);
}

uint32_t slab_release_pool_step(struct slab *slab, struct proc *proc, uint32_t pages_max) {
    struct slab_root *root = slab->root;
    uint32_t released = 0;
    lock_take(proc, &root->lock, LOCK_PAGES);
    for (uint32_t page = root->pool; page && released < pages_max; page = slab->pages[page].next) {
        if (!slab->pages[page].is_released) {
            SHARED_STORE(slab->pages[page].is_released, 1);
            madvise(slab->area + ((uint64_t)page << SLAB_PAGE_SHIFT), SLAB_PAGE_BYTES, MADV_REMOVE);
            released++;
        }
    }
    lock_give(proc, &root->lock, false);
    return released;
}

void slab_page_window(const struct slab *slab, uint32_t page_index, struct slab_window *out,
                      uint32_t *class_out) {
    const struct slab_page *page = &slab->pages[page_index];
    uint32_t class_id = SHARED_LOAD(slab->page_class[page_index]) & SLAB_CLASS_MASK;
    out->page = page_index;
    out->first_chunk = 0;
    out->count = class_id && page_index <= SHARED_LOAD(slab->root->pages_begun)
                     ? SHARED_LOAD(page->carved)
                     : 0;
    const struct slab_class *class = &slab->root->class[class_id];
    // The page may have gone to a class of smaller chunks since: what is looked at must be inside
    // it all the same.
    out->count = out->count < class->chunks_per_page ? out->count : class->chunks_per_page;
    out->chunk_bytes = class->chunk_bytes;
    *class_out = class_id;
}

// True when the dead slot's magazines hold the chunk. Requires: its intent is repaired, its turn is
// not free yet.
static bool magazine_has(const struct slab *slab, uint32_t slot_index, uint32_t ref) {
    const struct slab_magazine *magazine =
        &slab_local(slab, slot_index)->magazine[slab_class_of(slab, ref)];
    for (uint32_t i = 0; i < magazine->count && i < SLAB_MAGAZINE_CHUNKS; i++) {
        if (magazine->refs[i] == ref) {
            return true;
        }
    }
    return false;
}

// Makes a class's ring, partial list and counts anew from the pages themselves.
static void rebuild_class(struct slab *slab, uint32_t class_id) {
    struct slab_class *class = &slab->root->class[class_id];
    uint32_t last = 0;
    SHARED_STORE(class->pages, 0);
    SHARED_STORE(class->draining, 0);
    SHARED_STORE(class->ring, 0);
    SHARED_STORE(class->partial, 0);
    uint64_t free_chunks = 0;
    for (uint32_t i = 1; i <= slab->root->pages_begun; i++) {
        struct slab_page *page = &slab->pages[i];
        if (page->state == SLAB_PAGE_FREE || page->class_id != class_id) {
            continue;
        }
        SHARED_STORE(page->is_partial, 0);
        uint32_t mark = page->state == SLAB_PAGE_DRAINING ? SLAB_DRAINING : 0;
        SHARED_STORE(slab->page_class[i], (uint16_t)(class_id | mark));
        SHARED_STORE(page->previous, last);
        if (last) {
            SHARED_STORE(slab->pages[last].next, i);
        } else {
            SHARED_STORE(class->ring, i);
        }
        last = i;
        SHARED_STORE(class->pages, class->pages + 1);
        if (page->state == SLAB_PAGE_DRAINING) {
            SHARED_STORE(class->draining, class->draining + 1);
            continue;
        }
        free_chunks += page->free_count + (class->chunks_per_page - page->carved);
        if (page->free_head || page->carved < class->chunks_per_page) {
            slab_partial_push(slab, class, i);
        }
    }
    if (last) {
        SHARED_STORE(slab->pages[last].next, class->ring);
        SHARED_STORE(slab->pages[class->ring].previous, last);
    }
    SHARED_STORE(class->hand_page, class->ring);
    SHARED_STORE(class->hand_chunk, 0);
    SHARED_STORE(class->free_chunks, free_chunks);
}

static void rebuild_pool(struct slab *slab) {
    struct slab_root *root = slab->root;
    SHARED_STORE(root->pool, 0);
    SHARED_STORE(root->pool_count, 0);
    uint32_t used = 0;
    for (uint32_t i = 1; i <= root->pages_begun; i++) {
        if (slab->pages[i].state != SLAB_PAGE_FREE) {
            used++;
            continue;
        }
        SHARED_STORE(slab->page_class[i], 0);
        SHARED_STORE(slab->pages[i].next, root->pool);
        SHARED_STORE(root->pool, i);
        SHARED_STORE(root->pool_count, root->pool_count + 1);
    }
    SHARED_STORE(root->pages_used, used);
}

static void repair_intent(struct slab *slab, struct slab_intent *intent) {
    if (intent->step == SLAB_STEP_NONE) {
        return;
    }
    struct slab_page *page = &slab->pages[intent->page];
    uint32_t word = intent->step == SLAB_STEP_LIST ? page->free_head : page->carved;
    if (word == intent->commit_value) {
        SHARED_STORE(page->free_count, intent->free_count_after);
        struct slab_local *owner = slab_local(slab, intent->magazine_slot);
        SHARED_STORE(owner->magazine[intent->class_id].count, intent->magazine_count_after);
    }
    SHARED_DECIDE(intent->step, SLAB_STEP_NONE);
}

// Lets others at the magazines again that the dead process was at, its own among them.
static void repair_turns(struct slab *slab, uint32_t dead_slot_index) {
    for (uint32_t slot = 0; slot < slots_of(slab); slot++) {
        if (lock_is_held_by(&slab_local(slab, slot)->turn, dead_slot_index)) {
            lock_free_dead(&slab_local(slab, slot)->turn);
        }
    }
}

void slab_repair(struct slab *slab, struct proc *self, uint32_t dead_slot_index) {
    struct slab_local *local = slab_local(slab, dead_slot_index);
    repair_intent(slab, &local->intent);
    FAULT_POINT(self, "slab.repair.intent");
    if (lock_is_held_by(&slab->root->lock, dead_slot_index)) {
        rebuild_pool(slab);
        lock_free_dead(&slab->root->lock);
    }
    for (uint32_t class_id = 1; class_id <= slab->root->classes; class_id++) {
        if (lock_is_held_by(&slab->root->class[class_id].lock, dead_slot_index)) {
            rebuild_class(slab, class_id);
            lock_free_dead(&slab->root->class[class_id].lock);
        }
    }
    // A chunk on its way between magazine and hand is for an instant in both. The magazine has it
    // from now on: others may take it from there before the slot has a new owner, and the hand
    // would name a chunk that is somebody else's.
    if (local->hand && magazine_has(slab, dead_slot_index, local->hand)) {
        slab_let_go(local);
    }
    FAULT_POINT(self, "slab.repair.turns");
    repair_turns(slab, dead_slot_index);
}

static void check_page(const struct slab *slab, uint32_t page_index) {
    const struct slab_page *page = &slab->pages[page_index];
    const struct slab_class *class = &slab->root->class[page->class_id];
    PYMC_CHECK(page->class_id >= 1 && page->class_id <= slab->root->classes);
    PYMC_CHECK((slab->page_class[page_index] & SLAB_CLASS_MASK) == page->class_id);
    PYMC_CHECK(page->carved <= class->chunks_per_page);
    uint32_t listed = 0;
    for (uint32_t ref = page->free_head; ref; ref = *(const uint32_t *)slab_chunk(slab, ref)) {
        PYMC_CHECK(slab_page_of(slab, ref) == page_index);
        PYMC_CHECK(++listed <= page->carved);
    }
    PYMC_CHECK(listed == page->free_count);
    bool takeable =
        page->state == SLAB_PAGE_ACTIVE && (listed || page->carved < class->chunks_per_page);
    PYMC_CHECK(!takeable || page->is_partial);
}

void slab_check(const struct slab *slab) {
    const struct slab_root *root = slab->root;
    uint32_t used = 0;
    for (uint32_t i = 1; i <= root->pages_begun; i++) {
        if (slab->pages[i].state != SLAB_PAGE_FREE) {
            used++;
            check_page(slab, i);
        }
    }
    PYMC_CHECK(used == root->pages_used && used + root->pool_count == root->pages_begun);
    for (uint32_t class_id = 1; class_id <= root->classes; class_id++) {
        const struct slab_class *class = &root->class[class_id];
        uint32_t seen = 0;
        uint64_t free_chunks = 0;
        for (uint32_t page = class->ring; seen < class->pages; page = slab->pages[page].next) {
            PYMC_CHECK(page && slab->pages[page].class_id == class_id
                       && slab->pages[page].state != SLAB_PAGE_FREE);
            PYMC_CHECK(slab->pages[slab->pages[page].next].previous == page);
            if (slab->pages[page].state == SLAB_PAGE_ACTIVE) {
                free_chunks += slab->pages[page].free_count + class->chunks_per_page
                               - slab->pages[page].carved;
            }
            seen++;
        }
        PYMC_CHECK(free_chunks == class->free_chunks);
    }
}
