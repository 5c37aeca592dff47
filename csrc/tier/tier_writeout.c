// Write-out ahead of eviction: the items that will be evicted next become records, and stay in
// memory as clean copies.
#include "link/link_probation_inline.h"
#include "space/space_copy_inline.h"
#include "tier/tier.h"

// Looked at under one taking of the class's lock.
#define WINDOW 64

struct writeout {
    struct store *store;
    const struct space_admission *admission;
    struct tier_writeout_result *out;
};

// Looks at one candidate, which stays in memory anyhow if it was read `reads_spared` times. Returns
// false when no buffer has room for it; then it is looked at again.
static bool consider(struct writeout *work, uint32_t ref, uint32_t reads_spared) {
    struct store *store = work->store;
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state == ITEM_PART) {
        ref = SHARED_LOAD(item->time_seconds);
        if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
            return true;
        }
        item = link_item(store, ref);
        state = item_state_of(item);
    }
    uint32_t key_bytes = item_key_bytes(SHARED_LOAD(item->sizes));
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED || key_bytes == 0
        || (item_reads(state) >= reads_spared && !work->admission->active_too)) {
        return true;
    }
    char key[256];
    racy_copy(key, item_key(item, state), key_bytes);
    uint64_t hash = link_hash(store, key, key_bytes);
    struct link_view view;
    if (link_find(store, key, key_bytes, hash, &view) != STORE_HIT || view.ref != ref) {
        return true;
    }
    struct tier_writeout_result *out = work->out;
    int bucket = FLASH_DEFAULT;
    enum space_copied copied = space_copy_out(store, &view, key, hash, work->admission, &bucket);
    out->added += copied == SPACE_COPY_DONE;
    out->clean += copied == SPACE_COPY_CLEAN;
    out->no_memory += copied == SPACE_COPY_NO_INDEX;
    out->too_small += copied == SPACE_COPY_TOO_SMALL;
    out->too_young += copied == SPACE_COPY_TOO_YOUNG;
    out->too_short_lived += copied == SPACE_COPY_TOO_SHORT_LIVED;
    out->never_read += copied == SPACE_COPY_NEVER_READ;
    out->too_large += copied == SPACE_COPY_TOO_LARGE;
    if (copied == SPACE_COPY_NO_ROOM) {
        out->full_bucket = bucket;
    }
    return copied != SPACE_COPY_NO_ROOM;
}

// Follows the hand from where it was at the last look, as far as it has not overtaken the place
// before it.
static void follow_hand(const struct store *store, uint32_t class_id, struct tier_ahead *ahead,
                        uint32_t page, uint32_t chunk) {
    uint32_t at = ahead->hand_page;
    uint32_t from = ahead->hand_chunk;
    uint32_t passed = 0;
    while (at && passed <= ahead->distance && store->slab.pages[at].class_id == class_id
           && !(at == page && from <= chunk)) {
        uint32_t carved = store->slab.pages[at].carved;
        passed += carved > from ? carved - from : 1;
        from = 0;
        at = store->slab.pages[at].next;
    }
    passed += chunk - from;
    bool is_found = at == page && from <= chunk && passed <= ahead->distance
                    && store->slab.pages[ahead->page].class_id == class_id;
    if (is_found) {
        ahead->distance -= passed;
    } else {
        ahead->page = page;
        ahead->chunk = chunk;
        ahead->distance = 0;
    }
    ahead->hand_page = page;
    ahead->hand_chunk = chunk;
}

// The next chunks before the eviction hand, as far as `most` chunks from it. Moves the place on
// past them.
static uint32_t next_of_hand(struct store *store, uint32_t class_id, struct tier_ahead *ahead,
                             uint32_t most, uint32_t *refs) {
    struct slab_class *class = &store->slab.root->class[class_id];
    uint32_t count_refs = 0;
    lock_take(store->proc, &class->lock, LOCK_CLASS);
    follow_hand(store, class_id, ahead, class->hand_page ? class->hand_page : class->ring,
                class->hand_page ? class->hand_chunk : 0);
    for (uint32_t pages = class->pages + 1;
         ahead->page && count_refs < WINDOW && ahead->distance < most && pages;) {
        bool is_around =
            ahead->page == ahead->hand_page && ahead->chunk == ahead->hand_chunk && ahead->distance;
        if (is_around) {
            break;
        }
        if (ahead->chunk >= store->slab.pages[ahead->page].carved) {
            ahead->page = store->slab.pages[ahead->page].next;
            ahead->chunk = 0;
            pages--;
            continue;
        }
        refs[count_refs++] =
            slab_ref(&store->slab, ahead->page, ahead->chunk++, class->chunk_bytes);
        ahead->distance++;
    }
    lock_give(store->proc, &class->lock, false);
    return count_refs;
}

// The place before the hand goes back to the given chunk, the number `again` from its end.
static void step_back(const struct store *store, uint32_t class_id, struct tier_ahead *ahead,
                      uint32_t ref, uint32_t again) {
    ahead->page = slab_page_of(&store->slab, ref);
    uint64_t offset =
        (uint64_t)(slab_chunk(&store->slab, ref) - store->slab.area) & (SLAB_PAGE_BYTES - 1);
    ahead->chunk = (uint32_t)(offset / slab_chunk_bytes(&store->slab, class_id));
    ahead->distance -= again < ahead->distance ? again : ahead->distance;
}

static void prefetch(const struct store *store, const uint32_t *refs, uint32_t count_refs) {
    for (uint32_t i = 0; i < count_refs; i++) {
        __builtin_prefetch(link_item(store, refs[i]));
    }
}

static bool probation_goes_next(const struct store *store, uint32_t class_id) {
    // Somewhat before it is over its target, since it will be when the next items come.
    return lru_length(&store->lru, class_id) * 10 >= link_probation_target(store, class_id) * 9;
}

static void look(struct writeout *work, uint32_t class_id, struct tier_ahead *ahead,
                 uint32_t ahead_chunks, uint32_t chunks) {
    struct store *store = work->store;
    struct tier_writeout_result *out = work->out;
    uint32_t refs[WINDOW];
    uint32_t found = 1;
    while (found && out->examined < chunks && probation_goes_next(store, class_id)) {
        found = lru_peek(&store->lru, class_id, &ahead->probation, ahead_chunks, refs, WINDOW);
        prefetch(store, refs, found);
        for (uint32_t i = 0; i < found; i++) {
            if (refs[i] && !consider(work, refs[i], LINK_READS_PROVEN)) {
                return;
            }
            ahead->probation.position++;
            out->examined++;
        }
    }
    found = 1;
    while (found && out->examined < chunks) {
        found = next_of_hand(store, class_id, ahead, ahead_chunks, refs);
        prefetch(store, refs, found);
        for (uint32_t i = 0; i < found; i++) {
            if (!consider(work, refs[i], 1)) {
                step_back(store, class_id, ahead, refs[i], found - i);
                return;
            }
            out->examined++;
        }
    }
    out->is_ahead = !found;
}

void tier_writeout_step(struct store *store, uint32_t class_id, struct tier_ahead *ahead,
                        const struct space_admission *admission, uint32_t ahead_chunks,
                        uint32_t chunks, struct tier_writeout_result *out) {
    struct writeout work = {store, admission, out};
    *out = (struct tier_writeout_result){.full_bucket = -1};
    PYMC_CHECK(class_id >= 1 && class_id <= store->slab.root->classes);
    look(&work, class_id, ahead, ahead_chunks, chunks);
}
