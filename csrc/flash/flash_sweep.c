// The walk over the index that removes the entries of draining pages.
#include "flash/flash_index_inline.h"

static bool is_draining(const struct flash *flash, uint64_t entry) {
    if (!entry || (entry & FLASH_LINK)) {
        return false;
    }
    uint32_t page = flash_address_page(flash, flash_entry_address(flash, entry));
    // Looked at without the lock, a word may be one of the list of free overflow buckets.
    return page < flash->root->page_count
           && SHARED_LOAD(flash->pages[page].state) == FLASH_PAGE_DRAINING;
}

// Looks without the lock, which saves that of every bucket that has none; what is found under it
// decides. True as well when somebody changes the chain meanwhile.
static bool may_have_draining(const struct flash *flash, struct flash_home *home) {
    uint64_t version = SHARED_ACQUIRE(home->words[0]);
    if (lock_is_held(version)) {
        return true;
    }
    struct flash_span span = flash_span_of(home);
    uint32_t depth = 0;
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            uint64_t entry = SHARED_LOAD(span.words[i]);
            if (is_draining(flash, entry)) {
                return true;
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < FLASH_CHAIN_MAX);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return SHARED_LOAD(home->words[0]) != version;
}

static uint32_t sweep_bucket(struct flash *flash, struct proc *proc, uint64_t number) {
    if (!may_have_draining(flash, flash_home_at(flash, number))) {
        return 0;
    }
    uint32_t removed = 0;
    struct flash_home *home = flash_index_lock_number(flash, proc, number);
    struct flash_span span = flash_span_of(home);
    do {
        for (uint32_t i = flash_span_first(span); i < span.count; i++) {
            if (is_draining(flash, span.words[i])) {
                flash_take_out(flash, proc, &span.words[i]);
                removed++;
            }
        }
    } while (flash_span_next(flash, &span));
    if (removed) {
        flash_compact(flash, proc, home);
    }
    flash_index_unlock(proc, home, removed != 0);
    flash_count_entries(flash, proc, -(int64_t)removed);
    return removed;
}

bool flash_sweep_step(struct flash *flash, struct proc *proc, struct flash_sweep *sweep,
                      uint32_t buckets) {
    // In a split entries move on to a new bucket behind all others, and it is there before their
    // old one is free to be looked at: the walk meets each of them. In a merge they move to one it
    // may have passed: it begins anew.
    for (uint32_t i = 0; i < buckets; i++) {
        bool is_complete = sweep->bucket >= SHARED_ACQUIRE(flash->index->bucket_count);
        uint64_t merges = SHARED_ACQUIRE(flash->index->merges);
        if (merges != sweep->merges) {
            sweep->merges = merges;
            sweep->bucket = 0;
        } else if (is_complete) {
            return false;
        }
        sweep->removed += sweep_bucket(flash, proc, sweep->bucket);
        sweep->bucket++;
    }
    return true;
}
