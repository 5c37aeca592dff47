// Taking and giving chunks: refilling and spilling magazines, opening pages.
#include "slab/slab.h"

#include "slab/slab_internal.h"

// Tells a repairer what commits, does the commit store, then brings the derived counts up to date.
static void commit_page(struct slab *slab, struct proc *proc, uint32_t page_index, enum slab_step step,
                        uint32_t commit_value, uint32_t free_count_after, uint32_t magazine_count_after) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    struct slab_page *page = &slab->pages[page_index];
    struct slab_intent *intent = &local->intent;
    intent->class_id = page->class_id;
    intent->page = page_index;
    intent->commit_value = commit_value;
    intent->free_count_after = free_count_after;
    intent->magazine_count_after = magazine_count_after;
    SHARED_RELEASE(intent->step, step);
    FAULT_POINT(proc, "slab.commit.before");
    SHARED_RELEASE(*(step == SLAB_STEP_LIST ? &page->free_head : &page->carved), commit_value);
    FAULT_POINT(proc, "slab.commit.after");
    SHARED_RELEASE(page->free_count, free_count_after);
    SHARED_RELEASE(local->magazine[page->class_id].count, magazine_count_after);
    SHARED_RELEASE(intent->step, SLAB_STEP_NONE);
    FAULT_POINT(proc, "slab.commit.done");
}

static void partial_push(struct slab *slab, struct slab_class *class, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    if (!page->is_partial && page->state == SLAB_PAGE_ACTIVE) {
        page->partial_next = class->partial;
        page->is_partial = 1;
        class->partial = page_index;
    }
}

static void partial_pop(struct slab *slab, struct slab_class *class) {
    struct slab_page *page = &slab->pages[class->partial];
    class->partial = page->partial_next;
    page->is_partial = 0;
}

static void ring_insert(struct slab *slab, struct slab_class *class, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    if (class->ring == 0) {
        page->next = page->previous = page_index;
        class->ring = page_index;
    } else {
        // Behind the newest page, so that the hand meets pages in the order they came.
        struct slab_page *first = &slab->pages[class->ring];
        page->next = class->ring;
        page->previous = first->previous;
        slab->pages[first->previous].next = page_index;
        first->previous = page_index;
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
        class->ring = 0;
    } else {
        slab->pages[page->previous].next = page->next;
        slab->pages[page->next].previous = page->previous;
        if (class->ring == page_index) {
            class->ring = page->next;
        }
    }
    SHARED_STORE(class->pages, class->pages - 1);
}

// Gives a page of the pool, or a new one, to the class; 0 when there is none. Holds LOCK_CLASS.
static uint32_t page_open(struct slab *slab, struct proc *proc, uint32_t class_id, bool beyond_limit) {
    struct slab_root *root = slab->root;
    lock_take(proc, &root->lock, LOCK_PAGES);
    uint32_t page_index = 0;
    if (root->pages_used < SHARED_LOAD(root->pages_limit) || beyond_limit) {
        if (root->pool) {
            page_index = root->pool;
            root->pool = slab->pages[page_index].next;
            SHARED_STORE(root->pool_count, root->pool_count - 1);
        } else if (root->pages_begun + 1 < root->pages_max) {
            page_index = root->pages_begun + 1;
            SHARED_RELEASE(root->pages_begun, page_index);
        }
    }
    FAULT_POINT(proc, "slab.page.popped");
    if (page_index) {
        struct slab_page *page = &slab->pages[page_index];
        page->class_id = (uint16_t)class_id;
        page->free_head = page->free_count = 0;
        SHARED_STORE(page->carved, 0);
        page->is_partial = page->is_released = 0;
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
    page->next = root->pool;
    root->pool = page_index;
    SHARED_STORE(root->pool_count, root->pool_count + 1);
    SHARED_STORE(root->pages_used, root->pages_used - 1);
    lock_give(proc, &root->lock, true);
}

// Moves free chunks of one page into the magazine; the page has at least one.
static void take_from_page(struct slab *slab, struct proc *proc, struct slab_class *class, uint32_t class_id,
                           uint32_t page_index) {
    static const char no_item[SLAB_CHUNK_HEADER_BYTES];
    struct slab_page *page = &slab->pages[page_index];
    struct slab_magazine *magazine = &slab_local(slab, proc->slot_index)->magazine[class_id];
    uint32_t space = SLAB_BATCH_CHUNKS;
    uint32_t filled = magazine->count;
    uint32_t taken = 0;
    if (page->free_head) {
        uint32_t ref = page->free_head;
        while (ref && taken < space) {
            magazine->refs[filled++] = ref;
            ref = SHARED_LOAD(*(const uint32_t *)slab_chunk(slab, ref));
            taken++;
        }
        commit_page(slab, proc, page_index, SLAB_STEP_LIST, ref, page->free_count - taken, filled);
    } else {
        uint32_t chunk = page->carved;
        while (chunk < class->chunks_per_page && taken < space) {
            uint32_t ref = slab_ref(slab, page_index, chunk++, class->chunk_bytes);
            // Whatever an earlier class left here must not look like an item to a scan.
            racy_write(slab_chunk(slab, ref), no_item, SLAB_CHUNK_HEADER_BYTES);
            magazine->refs[filled + taken++] = ref;
        }
        // The magazine is used from its end; reversed, chunks go out in address order.
        for (uint32_t i = filled, j = filled + taken - 1; i < j; i++, j--) {
            uint32_t ref = magazine->refs[i];
            magazine->refs[i] = magazine->refs[j];
            magazine->refs[j] = ref;
        }
        commit_page(slab, proc, page_index, SLAB_STEP_CARVE, chunk, page->free_count, filled + taken);
    }
    SHARED_STORE(class->free_chunks, class->free_chunks - taken);
}

bool slab_refill(struct slab *slab, struct proc *proc, uint32_t class_id, bool beyond_limit) {
    struct slab_class *class = &slab->root->class[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t page_index = class->partial;
    while (page_index) {
        struct slab_page *page = &slab->pages[page_index];
        if (page->state == SLAB_PAGE_ACTIVE && (page->free_head || page->carved < class->chunks_per_page)) {
            break;
        }
        partial_pop(slab, class);
        page_index = class->partial;
    }
    if (!page_index) {
        page_index = page_open(slab, proc, class_id, beyond_limit);
        if (page_index) {
            ring_insert(slab, class, page_index);
            FAULT_POINT(proc, "slab.refill.ring");
            partial_push(slab, class, page_index);
            SHARED_STORE(class->free_chunks, class->free_chunks + class->chunks_per_page);
        }
    }
    if (page_index) {
        take_from_page(slab, proc, class, class_id, page_index);
    }
    lock_give(proc, &class->lock, true);
    return page_index != 0;
}

// Puts the magazine's last chunk on its page's list.
static void give_to_page_locked(struct slab *slab, struct proc *proc, struct slab_class *class,
                                const struct slab_magazine *magazine) {
    uint32_t ref = magazine->refs[magazine->count - 1];
    uint32_t page_index = slab_page_of(slab, ref);
    struct slab_page *page = &slab->pages[page_index];
    SHARED_STORE(*(uint32_t *)slab_chunk(slab, ref), page->free_head);
    commit_page(slab, proc, page_index, SLAB_STEP_LIST, ref, page->free_count + 1, magazine->count - 1);
    if (page->state == SLAB_PAGE_ACTIVE) {
        SHARED_STORE(class->free_chunks, class->free_chunks + 1);
    }
    partial_push(slab, class, page_index);
}

void slab_spill(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t keep) {
    struct slab_class *class = &slab->root->class[class_id];
    struct slab_magazine *magazine = &slab_local(slab, proc->slot_index)->magazine[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    while (magazine->count > keep) {
        give_to_page_locked(slab, proc, class, magazine);
    }
    lock_give(proc, &class->lock, true);
}

void slab_flush(struct slab *slab, struct proc *proc) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    for (uint32_t class_id = 1; class_id <= slab->root->classes; class_id++) {
        if (local->magazine[class_id].count) {
            slab_spill(slab, proc, class_id, 0);
        }
    }
}

void slab_ask_flush(struct slab *slab) {
    __atomic_fetch_add(&slab->root->flush_epoch, 1, __ATOMIC_RELAXED);
}

void slab_flush_if_asked(struct slab *slab, struct proc *proc) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    uint32_t epoch = SHARED_LOAD(slab->root->flush_epoch);
    if (UNLIKELY(local->flush_epoch_seen != epoch)) {
        local->flush_epoch_seen = epoch;
        slab_flush(slab, proc);
    }
}

void slab_hand_locked(struct slab *slab, uint32_t class_id, uint32_t chunks, struct slab_window *out) {
    struct slab_class *class = &slab->root->class[class_id];
    out->count = 0;
    out->chunk_bytes = class->chunk_bytes;
    if (class->hand_page == 0) {
        SHARED_STORE(class->hand_page, class->ring);
        SHARED_STORE(class->hand_chunk, 0);
    }
    for (int tries = 0; tries < 2 && class->hand_page; tries++) {
        const struct slab_page *page = &slab->pages[class->hand_page];
        uint32_t carved = page->carved;
        if (class->hand_chunk < carved) {
            uint32_t left = carved - class->hand_chunk;
            out->page = class->hand_page;
            out->first_chunk = class->hand_chunk;
            out->count = left < chunks ? left : chunks;
            SHARED_STORE(class->hand_chunk, class->hand_chunk + out->count);
            return;
        }
        SHARED_STORE(class->hand_page, page->next);
        SHARED_STORE(class->hand_chunk, 0);
    }
}

uint32_t slab_drain_begin(struct slab *slab, struct proc *proc, uint32_t class_id) {
    struct slab_class *class = &slab->root->class[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t best = 0;
    uint32_t best_free = 0;
    uint32_t page_index = class->ring;
    // Large caches have too many pages to look at each; the first thousand are as good as any.
    for (uint32_t seen = 0; page_index && seen < class->pages && seen < 1024; seen++) {
        const struct slab_page *page = &slab->pages[page_index];
        uint32_t free_here = page->free_count + (class->chunks_per_page - page->carved);
        if (page->state == SLAB_PAGE_ACTIVE && (!best || free_here > best_free)) {
            best = page_index;
            best_free = free_here;
        }
        page_index = page->next;
    }
    if (best) {
        SHARED_RELEASE(slab_local(slab, proc->slot_index)->draining_page, best);
        SHARED_STORE(slab->page_class[best], (uint16_t)(class_id | SLAB_DRAINING));
        SHARED_RELEASE(slab->pages[best].state, SLAB_PAGE_DRAINING);
        SHARED_STORE(class->draining, class->draining + 1);
        SHARED_STORE(class->free_chunks, class->free_chunks - best_free);
    }
    lock_give(proc, &class->lock, true);
    return best;
}

void slab_drain_cancel(struct slab *slab, struct proc *proc, uint32_t page_index) {
    struct slab_page *page = &slab->pages[page_index];
    uint32_t class_id = page->class_id;
    struct slab_class *class = &slab->root->class[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    if (page->state == SLAB_PAGE_DRAINING && page->class_id == class_id) {
        SHARED_RELEASE(page->state, SLAB_PAGE_ACTIVE);
        SHARED_STORE(slab->page_class[page_index], (uint16_t)class_id);
        SHARED_STORE(class->draining, class->draining - 1);
        SHARED_STORE(class->free_chunks,
                     class->free_chunks + page->free_count + (class->chunks_per_page - page->carved));
        partial_push(slab, class, page_index);
    }
    lock_give(proc, &class->lock, true);
    SHARED_RELEASE(slab_local(slab, proc->slot_index)->draining_page, 0);
}

bool slab_drain_end(struct slab *slab, struct proc *proc, uint32_t page_index, uint32_t to_class) {
    struct slab_page *page = &slab->pages[page_index];
    struct slab_class *class = &slab->root->class[page->class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t uncarved = class->chunks_per_page - page->carved;
    bool empty = page->state == SLAB_PAGE_DRAINING && page->free_count + uncarved == class->chunks_per_page;
    if (empty) {
        if (page->is_partial) {
            uint32_t *link = &class->partial;
            while (*link != page_index) {
                link = &slab->pages[*link].partial_next;
            }
            *link = page->partial_next;
            page->is_partial = 0;
        }
        ring_remove(slab, class, page_index);
        SHARED_STORE(class->draining, class->draining - 1);
        FAULT_POINT(proc, "slab.drain.removed");
        page_close(slab, proc, page_index);
    }
    lock_give(proc, &class->lock, true);
    if (empty) {
        SHARED_RELEASE(slab_local(slab, proc->slot_index)->draining_page, 0);
    }
    if (!empty || to_class == 0) {
        return empty;
    }
    struct slab_class *target = &slab->root->class[to_class];
    lock_take(proc, &target->lock, LOCK_CLASS);
    uint32_t opened = page_open(slab, proc, to_class, true);
    if (opened) {
        ring_insert(slab, target, opened);
        partial_push(slab, target, opened);
        SHARED_STORE(target->free_chunks, target->free_chunks + target->chunks_per_page);
    }
    lock_give(proc, &target->lock, true);
    return true;
}
