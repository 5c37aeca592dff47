// Taking and giving chunks: refilling and emptying magazines, also those of owners that rest.
#include "slab/slab.h"

#include "slab/slab_internal.h"

// Tells a repairer what commits, does the commit store, then brings the derived counts up to date.
static void commit_page(struct slab *slab, struct proc *proc, uint32_t page_index,
                        enum slab_step step, uint32_t commit_value, uint32_t free_count_after,
                        uint32_t magazine_slot, uint32_t magazine_count_after) {
    struct slab_page *page = &slab->pages[page_index];
    struct slab_intent *intent = &slab_local(slab, proc->slot_index)->intent;
    SHARED_STORE(intent->class_id, page->class_id);
    SHARED_STORE(intent->page, page_index);
    SHARED_STORE(intent->commit_value, commit_value);
    SHARED_STORE(intent->free_count_after, free_count_after);
    SHARED_STORE(intent->magazine_slot, magazine_slot);
    SHARED_STORE(intent->magazine_count_after, magazine_count_after);
    SHARED_DECIDE(intent->step, step);
    FAULT_POINT(proc, "slab.commit.before");
    SHARED_DECIDE(*(step == SLAB_STEP_LIST ? &page->free_head : &page->carved), commit_value);
    FAULT_POINT(proc, "slab.commit.after");
    SHARED_STORE(page->free_count, free_count_after);
    SHARED_STORE(slab_local(slab, magazine_slot)->magazine[page->class_id].count,
                 magazine_count_after);
    // The next intent is filled after this one is over.
    SHARED_DECIDE(intent->step, SLAB_STEP_NONE);
    FAULT_POINT(proc, "slab.commit.done");
}

// Moves free chunks of one page into the magazine; the page has at least one.
static void take_from_page(struct slab *slab, struct proc *proc, struct slab_class *class,
                           uint32_t class_id, uint32_t page_index) {
    static const char no_item[SLAB_CHUNK_HEADER_BYTES];
    struct slab_page *page = &slab->pages[page_index];
    struct slab_magazine *magazine = &slab_local(slab, proc->slot_index)->magazine[class_id];
    uint32_t space = slab_batch(slab, class_id);
    uint32_t filled = magazine->count;
    uint32_t taken = 0;
    if (page->free_head) {
        uint32_t ref = page->free_head;
        while (ref && taken < space) {
            SHARED_STORE(magazine->refs[filled], ref);
            filled++;
            ref = SHARED_LOAD(*(const uint32_t *)slab_chunk(slab, ref));
            taken++;
        }
        commit_page(slab, proc, page_index, SLAB_STEP_LIST, ref, page->free_count - taken,
                    proc->slot_index, filled);
    } else {
        uint32_t chunk = page->carved;
        while (chunk < class->chunks_per_page && taken < space) {
            uint32_t ref = slab_ref(slab, page_index, chunk++, class->chunk_bytes);
            // Whatever an earlier class left here must not look like an item to a scan.
            racy_write(slab_chunk(slab, ref), no_item, SLAB_CHUNK_HEADER_BYTES);
            SHARED_STORE(magazine->refs[filled + taken], ref);
            taken++;
        }
        // The magazine is used from its end; reversed, chunks go out in address order.
        for (uint32_t i = filled, j = filled + taken - 1; i < j; i++, j--) {
            uint32_t ref = magazine->refs[i];
            SHARED_STORE(magazine->refs[i], magazine->refs[j]);
            SHARED_STORE(magazine->refs[j], ref);
        }
        commit_page(slab, proc, page_index, SLAB_STEP_CARVE, chunk, page->free_count,
                    proc->slot_index, filled + taken);
    }
    SHARED_STORE(class->free_chunks, class->free_chunks - taken);
}

bool slab_refill(struct slab *slab, struct proc *proc, uint32_t class_id) {
    struct slab_class *class = &slab->root->class[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    uint32_t page_index = class->partial;
    while (page_index) {
        struct slab_page *page = &slab->pages[page_index];
        if (page->state == SLAB_PAGE_ACTIVE
            && (page->free_head || page->carved < class->chunks_per_page)) {
            break;
        }
        slab_partial_remove(slab, class, page_index);
        page_index = class->partial;
    }
    if (!page_index) {
        page_index = slab_page_open(slab, proc, class_id);
        if (page_index) {
            slab_ring_insert(slab, class, page_index);
            FAULT_POINT(proc, "slab.refill.ring");
            slab_partial_push(slab, class, page_index);
            SHARED_STORE(class->free_chunks, class->free_chunks + class->chunks_per_page);
        }
    }
    if (page_index) {
        take_from_page(slab, proc, class, class_id, page_index);
        SHARED_STORE(class->newest_number, SHARED_LOAD(proc->arena->header->order) + 1);
    }
    lock_give(proc, &class->lock, true);
    return page_index != 0;
}

// Puts the last chunk of a magazine on its page's list.
static void give_to_page_locked(struct slab *slab, struct proc *proc, struct slab_class *class,
                                uint32_t slot_index, const struct slab_magazine *magazine) {
    uint32_t ref = magazine->refs[magazine->count - 1];
    uint32_t page_index = slab_page_of(slab, ref);
    struct slab_page *page = &slab->pages[page_index];
    SHARED_STORE(*(uint32_t *)slab_chunk(slab, ref), page->free_head);
    commit_page(slab, proc, page_index, SLAB_STEP_LIST, ref, page->free_count + 1, slot_index,
                magazine->count - 1);
    if (page->state == SLAB_PAGE_ACTIVE) {
        SHARED_STORE(class->free_chunks, class->free_chunks + 1);
    }
    slab_partial_push(slab, class, page_index);
}

// Gives what is in a slot's magazine to the pages, but for `keep` chunks. Requires: the slot is the
// process's own, or its turn lock is held while it rests.
static void give_to_pages(struct slab *slab, struct proc *proc, uint32_t class_id,
                          uint32_t slot_index, uint32_t keep) {
    struct slab_class *class = &slab->root->class[class_id];
    struct slab_magazine *magazine = &slab_local(slab, slot_index)->magazine[class_id];
    lock_take(proc, &class->lock, LOCK_CLASS);
    while (magazine->count > keep) {
        give_to_page_locked(slab, proc, class, slot_index, magazine);
    }
    lock_give(proc, &class->lock, true);
}

void slab_give_back(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t keep) {
    give_to_pages(slab, proc, class_id, proc->slot_index, keep);
}

void slab_collect(struct slab *slab, struct proc *proc, uint32_t class_id) {
    if (slab_local(slab, proc->slot_index)->magazine[class_id].count) {
        slab_give_back(slab, proc, class_id, 0);
    }
    for (uint32_t slot = 0; slot < proc->arena->header->slots; slot++) {
        struct slab_local *other = slab_local(slab, slot);
        // This look saves the lock of who works or has nothing; the one under the lock decides.
        if (slot == proc->slot_index || !SHARED_LOAD(other->rests)
            || !SHARED_LOAD(other->magazine[class_id].count)) {
            continue;
        }
        FAULT_POINT(proc, "slab.collect.seen");
        if (!lock_try(proc, &other->turn, LOCK_TURN_OTHER)) {
            continue;
        }
        FAULT_POINT(proc, "slab.collect.locked");
        if (SHARED_LOAD(other->rests)) {
            give_to_pages(slab, proc, class_id, slot, 0);
        }
        lock_give(proc, &other->turn, true);
    }
}

bool slab_others_work(const struct slab *slab, const struct proc *proc) {
    for (uint32_t slot = 0; slot < proc->arena->header->slots; slot++) {
        if (slot != proc->slot_index && lock_is_held(SHARED_LOAD(slab_local(slab, slot)->turn))) {
            return true;
        }
    }
    return false;
}

void slab_wake(struct slab *slab, struct proc *proc) {
    lock_take(proc, &slab_local(slab, proc->slot_index)->turn, LOCK_TURN);
}

void slab_rest(struct slab *slab, struct proc *proc) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    if (!local->rests) {
        slab_wake(slab, proc);
        SHARED_STORE(local->rests, 1);
    }
    lock_give(proc, &local->turn, true);
}

void slab_end_rest(struct slab *slab, struct proc *proc, bool is_awake) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    if (!is_awake) {
        slab_wake(slab, proc);
    }
    if (local->rests || !is_awake) {
        SHARED_STORE(local->rests, 0);
        lock_give(proc, &local->turn, true);
    }
}

void slab_flush(struct slab *slab, struct proc *proc) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    for (uint32_t class_id = 1; class_id <= slab->root->classes; class_id++) {
        if (local->magazine[class_id].count) {
            slab_give_back(slab, proc, class_id, 0);
        }
    }
}

void slab_ask_flush(struct slab *slab) {
    SHARED_ADD(slab->root->flush_epoch, 1, RELAXED);
}

void slab_flush_if_asked(struct slab *slab, struct proc *proc) {
    struct slab_local *local = slab_local(slab, proc->slot_index);
    uint32_t epoch = SHARED_LOAD(slab->root->flush_epoch);
    if (UNLIKELY(local->flush_epoch_seen != epoch)) {
        SHARED_STORE(local->flush_epoch_seen, epoch);
        slab_flush(slab, proc);
    }
}

void slab_hand_locked(struct slab *slab, uint32_t class_id, uint32_t chunks,
                      struct slab_window *out) {
    struct slab_class *class = &slab->root->class[class_id];
    out->count = 0;
    out->chunk_bytes = class->chunk_bytes;
    if (class->hand_page == 0) {
        SHARED_STORE(class->hand_page, class->ring);
        SHARED_STORE(class->hand_chunk, 0);
    }
    // Pages that are being emptied are looked at by who empties them.
    for (uint32_t tries = 0; tries < 2 + SLAB_DRAINS_MAX && class->hand_page; tries++) {
        const struct slab_page *page = &slab->pages[class->hand_page];
        uint32_t carved = page->state == SLAB_PAGE_ACTIVE ? page->carved : 0;
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
