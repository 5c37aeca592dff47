// Pages of classes: opening, listing, draining and closing them.
#include "slab/slab_internal.h"

void slab_partial_push(struct slab *slab, struct slab_class *class, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    if (!page->is_partial && page->state == SLAB_PAGE_ACTIVE) {
        SHARED_STORE(page->partial_next, class->partial);
        SHARED_STORE(page->partial_previous, 0);
        if (class->partial) {
            SHARED_STORE(slab->pages[class->partial].partial_previous, page_index);
        }
        SHARED_STORE(page->is_partial, 1);
        SHARED_STORE(class->partial, page_index);
    }
}

void slab_partial_remove(struct slab *slab, struct slab_class *class, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    if (!page->is_partial) {
        return;
    }
    if (page->partial_previous) {
        SHARED_STORE(slab->pages[page->partial_previous].partial_next, page->partial_next);
    } else {
        SHARED_STORE(class->partial, page->partial_next);
    }
    if (page->partial_next) {
        SHARED_STORE(slab->pages[page->partial_next].partial_previous, page->partial_previous);
    }
    SHARED_STORE(page->is_partial, 0);
}

void slab_ring_insert(struct slab *slab, struct slab_class *class, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    if (class->ring == 0) {
        SHARED_STORE(page->next, page_index);
        SHARED_STORE(page->previous, page_index);
        SHARED_STORE(class->ring, page_index);
    } else {
        // Behind the newest page, so that the hand meets pages in the order they came.
        struct slab_page *first = &slab->pages[class->ring];
        SHARED_STORE(page->next, class->ring);
        SHARED_STORE(page->previous, first->previous);
        SHARED_STORE(slab->pages[first->previous].next, page_index);
        SHARED_STORE(first->previous, page_index);
    }
    SHARED_STORE(class->pages, class->pages + 1);
}

static void ring_remove(struct slab *slab, struct slab_class *class, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    if (class->hand_page == page_index) {
        SHARED_STORE(class->hand_page, page->next == page_index ? 0 : page->next);
        SHARED_STORE(class->hand_chunk, 0);
    }
    if (page->next == page_index) {
        SHARED_STORE(class->ring, 0);
    } else {
        SHARED_STORE(slab->pages[page->previous].next, page->next);
        SHARED_STORE(slab->pages[page->next].previous, page->previous);
        if (class->ring == page_index) {
            SHARED_STORE(class->ring, page->next);
        }
    }
    SHARED_STORE(class->pages, class->pages - 1);
}

// Gives a page of the pool, or a new one, to the class; 0 when there is none. Holds LOCK_CLASS.
uint32_t slab_page_open(struct slab *slab, struct proc *proc, uint32_t class_id) {
    struct slab_root *root = slab->root;
    lock_take(proc, &root->lock, LOCK_PAGES);
    uint32_t page_index = 0;
    if (root->pages_used < SHARED_LOAD(root->pages_limit)) {
        if (root->pool) {
            page_index = root->pool;
            SHARED_STORE(root->pool, slab->pages[page_index].next);
            SHARED_STORE(root->pool_count, root->pool_count - 1);
        } else if (root->pages_begun + 1 < root->pages_max) {
            page_index = root->pages_begun + 1;
            SHARED_RELEASE(root->pages_begun, page_index);
        }
    }
    FAULT_POINT(proc, "slab.page.popped");
    if (page_index) {
        struct slab_page *page = &slab->pages[page_index];
        SHARED_STORE(page->class_id, (uint16_t)class_id);
        SHARED_STORE(page->free_head, 0);
        SHARED_STORE(page->free_count, 0);
        SHARED_STORE(page->carved, 0);
        SHARED_STORE(page->is_partial, 0);
        SHARED_STORE(page->is_released, 0);
        SHARED_STORE(page->drainer, 0);
        SHARED_STORE(root->pages_opened, root->pages_opened + 1);
        SHARED_STORE(slab->root->class[class_id].opened_at, root->pages_opened);
        SHARED_STORE(slab->page_class[page_index], (uint16_t)class_id);
        SHARED_STORE(root->pages_used, root->pages_used + 1);
        SHARED_RELEASE(page->state, SLAB_PAGE_ACTIVE);
        FAULT_POINT(proc, "slab.page.owned");
    }
    lock_give(proc, &root->lock, true);
    return page_index;
}

static void page_close(struct slab *slab, struct proc *proc, uint32_t page_index) {
    struct slab_root *root = slab->root;
    struct slab_page *page = &slab->pages[page_index];
    lock_take(proc, &root->lock, LOCK_PAGES);
    SHARED_RELEASE(page->state, SLAB_PAGE_FREE);
    FAULT_POINT(proc, "slab.page.freed");
    SHARED_STORE(slab->page_class[page_index], 0);
    SHARED_STORE(page->next, root->pool);
    SHARED_STORE(root->pool, page_index);
    SHARED_STORE(root->pool_count, root->pool_count + 1);
    SHARED_STORE(root->pages_used, root->pages_used - 1);
    lock_give(proc, &root->lock, true);
}

// Pages looked at for the emptiest one; a large cache has too many of them.
#define EMPTIEST_LOOKS 256

uint32_t slab_emptiest(struct slab *slab, struct proc *proc, uint32_t class_id,
                       uint32_t *free_out) {
    struct slab_class *class = &slab->root->class[class_id];
    uint32_t best = 0;
    *free_out = 0;
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t looks = 0;
    for (uint32_t at = class->partial; at && looks < EMPTIEST_LOOKS;
         at = slab->pages[at].partial_next) {
        const struct slab_page *page = &slab->pages[at];
        uint32_t free_here = page->free_count + (class->chunks_per_page - page->carved);
        if (page->state == SLAB_PAGE_ACTIVE && free_here > *free_out) {
            best = at;
            *free_out = free_here;
        }
        looks++;
    }
    lock_give(proc, &class->lock, false);
    return best;
}

uint32_t slab_pages_ahead(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t *pages,
                          uint32_t most) {
    struct slab_class *class = &slab->root->class[class_id];
    uint32_t found = 0;
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t at = class->hand_page ? class->hand_page : class->ring;
    for (uint32_t seen = 0; at && seen < class->pages && found < most; seen++) {
        if (slab->pages[at].state == SLAB_PAGE_ACTIVE) {
            pages[found++] = at;
        }
        at = slab->pages[at].next;
    }
    lock_give(proc, &class->lock, false);
    return found;
}

// The place that names a page this process drains; NULL when there is none (page 0: no free place).
static uint32_t *drain_place(struct slab *slab, struct proc *proc, uint32_t page_index) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    for (uint32_t i = 0; i < SLAB_DRAINS_MAX; i++) {
        if (local->draining_pages[i] == page_index) {
            return &local->draining_pages[i];
        }
    }
    return NULL;
}

bool slab_drain_begin(struct slab *slab, struct proc *proc, uint32_t class_id,
                      uint32_t page_index) {
    struct slab_class *class = &slab->root->class[class_id];
    struct slab_page *page = &slab->pages[page_index];
    uint32_t *place = drain_place(slab, proc, 0);
    if (!place) {
        return false;
    }
    lock_take(proc, &class->lock, LOCK_CLASS);
    bool is_at_rest = page->state == SLAB_PAGE_ACTIVE && page->class_id == class_id;
    if (is_at_rest) {
        SHARED_RELEASE(*place, page_index);
        FAULT_POINT(proc, "slab.drain.named");
        SHARED_STORE(page->drainer, (uint16_t)(proc->slot_index + 1));
        slab_partial_remove(slab, class, page_index);
        SHARED_STORE(slab->page_class[page_index], (uint16_t)(class_id | SLAB_DRAINING));
        SHARED_RELEASE(page->state, SLAB_PAGE_DRAINING);
        FAULT_POINT(proc, "slab.drain.begun");
        SHARED_STORE(class->draining, class->draining + 1);
        uint32_t free_here = page->free_count + (class->chunks_per_page - page->carved);
        SHARED_STORE(class->free_chunks, class->free_chunks - free_here);
    }
    lock_give(proc, &class->lock, true);
    return is_at_rest;
}

static void forget_drain(struct slab *slab, struct proc *proc, uint32_t page_index) {
    uint32_t *place = drain_place(slab, proc, page_index);
    if (place) {
        SHARED_RELEASE(*place, 0);
    }
}

// Gives the page back to its class if the process of that slot still drains it.
static void give_back(struct slab *slab, struct proc *proc, uint32_t page_index,
                      uint32_t slot_index) {
    struct slab_page *page = &slab->pages[page_index];
    uint32_t class_id = SHARED_LOAD(page->class_id);
    struct slab_class *class = &slab->root->class[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    if (page->state == SLAB_PAGE_DRAINING && page->drainer == slot_index + 1
        && page->class_id == class_id) {
        SHARED_RELEASE(page->state, SLAB_PAGE_ACTIVE);
        SHARED_STORE(slab->page_class[page_index], (uint16_t)class_id);
        SHARED_STORE(class->draining, class->draining - 1);
        uint32_t free_here = page->free_count + (class->chunks_per_page - page->carved);
        SHARED_STORE(class->free_chunks, class->free_chunks + free_here);
        if (free_here) {
            slab_partial_push(slab, class, page_index);
        }
    }
    lock_give(proc, &class->lock, true);
}

void slab_drain_cancel(struct slab *slab, struct proc *proc, uint32_t page_index) {
    give_back(slab, proc, page_index, proc->slot_index);
    forget_drain(slab, proc, page_index);
}

static bool drains_any(const struct slab_local *local) {
    uint32_t any = 0;
    for (uint32_t i = 0; i < SLAB_DRAINS_MAX; i++) {
        any |= SHARED_LOAD(local->draining_pages[i]);
    }
    return any != 0;
}

void slab_drain_cancel_resting(struct slab *slab, struct proc *proc) {
    for (uint32_t slot = 0; slot < proc->arena->header->slots; slot++) {
        struct slab_local *other = slab_local(slab, slot);
        if (slot == proc->slot_index || !SHARED_LOAD(other->rests) || !drains_any(other)
            || !lock_try(proc, &other->turn, LOCK_TURN_OTHER)) {
            continue;
        }
        for (uint32_t i = 0; SHARED_LOAD(other->rests) && i < SLAB_DRAINS_MAX; i++) {
            uint32_t page_index = SHARED_LOAD(other->draining_pages[i]);
            if (page_index) {
                give_back(slab, proc, page_index, slot);
                FAULT_POINT(proc, "slab.drain.given_back");
                SHARED_RELEASE(other->draining_pages[i], 0);
            }
        }
        lock_give(proc, &other->turn, true);
    }
}

void slab_drain_cancel_all(struct slab *slab, struct proc *proc) {
    const struct slab_local *local = slab_local(slab, proc->slot_index);
    for (uint32_t i = 0; i < SLAB_DRAINS_MAX; i++) {
        if (local->draining_pages[i]) {
            slab_drain_cancel(slab, proc, local->draining_pages[i]);
        }
    }
}

// Takes an empty page away from its class; false while some of its chunks are elsewhere.
static bool close_if_empty(struct slab *slab, struct proc *proc, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    uint32_t class_id = SHARED_LOAD(page->class_id);
    struct slab_class *class = &slab->root->class[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t uncarved = class->chunks_per_page - page->carved;
    bool empty = slab_drains_page(slab, proc, page_index, class_id)
                 && page->free_count + uncarved == class->chunks_per_page;
    if (empty) {
        ring_remove(slab, class, page_index);
        SHARED_STORE(class->draining, class->draining - 1);
        FAULT_POINT(proc, "slab.drain.removed");
        page_close(slab, proc, page_index);
    }
    lock_give(proc, &class->lock, true);
    return empty;
}

bool slab_drain_end(struct slab *slab, struct proc *proc, uint32_t page_index, uint32_t to_class) {
    if (!close_if_empty(slab, proc, page_index)) {
        return false;
    }
    FAULT_POINT(proc, "slab.drain.closed");
    forget_drain(slab, proc, page_index);
    if (to_class == 0) {
        return true;
    }
    struct slab_class *target = &slab->root->class[to_class];
    lock_take(proc, &target->lock, LOCK_CLASS);
    // Another class may have been faster, or the limit is lower than it was: then this page pays
    // for what is too much.
    uint32_t opened = slab_page_open(slab, proc, to_class);
    if (opened) {
        slab_ring_insert(slab, target, opened);
        slab_partial_push(slab, target, opened);
        SHARED_STORE(target->free_chunks, target->free_chunks + target->chunks_per_page);
    }
    lock_give(proc, &target->lock, true);
    return true;
}
