// Choosing what to evict.
//
// New items are on probation in their class's queue (HOT). When it is longer than its target its
// oldest item is looked at: read since it came, it stays (WARM); else it is the victim, and the
// ghost notes its key. Otherwise the hand walks the class's chunks: an item that was read loses a
// read and stays, another is the victim. A key that the ghost knows comes back without probation;
// how often that happens right after its eviction moves the target.
#include <time.h>

#include "link/link_probation_inline.h"
#include "space/space_copy_inline.h"
#include "space/space_evict_inline.h"

#define CANDIDATES 8
// Looked at without a victim: from then on the oldest on probation goes, whether it was read or
// not.
#define EXAMINED_MAX 32
// Nothing evictable in so many: the class is full of things in other processes' hands.
#define EXAMINED_LIMIT 4096
// Without evictions only the dead can go; the crawl finds them better than a refused store does.
#define EXAMINED_LIMIT_DEAD 256

struct candidates {
    uint32_t count;
    bool from_ring;    // They are on probation: in the queue, or once were.
    uint32_t refs[CANDIDATES];
};

// Whether the hand's next item is dead: then it is the hand's turn, whatever is on probation, since
// a queue does not know all items of its class. Locks: the caller holds LOCK_CLASS; a hint for all
// that.
static bool hand_is_at_dead_item(const struct store *store, const struct slab_class *class) {
    uint32_t page = class->hand_page ? class->hand_page : class->ring;
    uint32_t chunk = class->hand_page ? class->hand_chunk : 0;
    if (page && chunk >= store->slab.pages[page].carved) {
        page = store->slab.pages[page].next;
        chunk = 0;
    }
    if (!page || store->slab.pages[page].carved == 0) {
        return false;
    }
    uint32_t ref = slab_ref(&store->slab, page, chunk, class->chunk_bytes);
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    return (state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED && link_is_dead(store, item, state);
}

// While a class grows its queue forgets the oldest on probation, and the items stay, unproven and
// older than all in the queue: they go first. The hand finds them in about the order in which they
// came, and passes over everything else. Locks: the caller holds LOCK_CLASS; what is read of items
// are hints.
static void choose_unlisted(struct store *store, uint32_t class_id, struct candidates *out) {
    struct slab_class *class = &store->slab.root->class[class_id];
    uint32_t oldest = lru_oldest(&store->lru, class_id);
    uint64_t limit =
        oldest ? link_full_order(store, item_order(link_item(store, oldest))) : UINT64_MAX;
    struct slab_window window;
    slab_hand_locked(&store->slab, class_id, CANDIDATES, &window);
    uint64_t looks = class->unlisted_looks;
    uint64_t looked = window.count && window.count < looks ? window.count : looks;
    SHARED_STORE(class->unlisted_looks, looks - looked);
    for (uint32_t i = 0; i < window.count; i++) {
        uint32_t ref =
            slab_ref(&store->slab, window.page, window.first_chunk + i, window.chunk_bytes);
        const struct item *item = link_item(store, ref);
        uint32_t state = item_state_of(item);
        bool is_unproven = (state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED
                           && item_queue_of(state) == QUEUE_HOT
                           && link_full_order(store, item_order(item)) < limit;
        if (is_unproven) {
            out->refs[out->count++] = ref;
        }
    }
}

static void choose(struct store *store, uint32_t class_id, bool force_ring, bool avoid_ring,
                   struct candidates *out) {
    struct slab_class *class = &store->slab.root->class[class_id];
    uint64_t share = link_probation_target(store, class_id);
    out->count = 0;
    lock_take(store->proc, &class->lock, LOCK_CLASS);
    link_push_pending_locked(store, class_id);
    SHARED_STORE(class->newest_number, SHARED_LOAD(store->header->order) + 1);
    out->from_ring = force_ring
                     || (!avoid_ring && lru_length(&store->lru, class_id) > share
                         && !hand_is_at_dead_item(store, class));
    if (out->from_ring && !force_ring && class->unlisted_looks) {
        choose_unlisted(store, class_id, out);
    }
    if (out->from_ring && out->count == 0) {
        uint32_t ref;
        while (out->count < CANDIDATES && (force_ring || lru_length(&store->lru, class_id) > share)
               && (ref = lru_pop_locked(&store->lru, class_id))) {
            out->refs[out->count++] = ref;
        }
        out->from_ring = out->count > 0;
    }
    if (out->count == 0) {
        struct slab_window window;
        slab_hand_locked(&store->slab, class_id, CANDIDATES, &window);
        for (uint32_t i = 0; i < window.count; i++) {
            out->refs[out->count++] =
                slab_ref(&store->slab, window.page, window.first_chunk + i, window.chunk_bytes);
        }
    }
    lock_give(store->proc, &class->lock, true);
    for (uint32_t i = 0; i < out->count; i++) {
        __builtin_prefetch(link_item(store, out->refs[i]));
    }
}

static __attribute__((noinline)) void watch_eviction(struct store *store,
                                                     const struct link_locked *locked) {
    const struct item *item = locked->item;
    uint32_t now = store->proc->now_seconds;
    uint32_t expiry = item_expiry(item, locked->state);
    int32_t idle = (int32_t)(now - item->time_seconds);
    struct watch_event event = {.kind = WATCH_EVICTION,
                                .is_fetched = locked->state & ITEM_FETCHED,
                                .key = item_key(item, locked->state),
                                .key_bytes = item_key_bytes(item->sizes),
                                .class_id = (uint8_t)locked->class_id,
                                .size_bytes = item_value_bytes(item, locked->state),
                                .ttl_seconds = expiry ? (int64_t)expiry - now : -1,
                                .idle_seconds = idle > 0 ? (uint32_t)idle : 0};
    watch_note(&store->watch, WATCH_EVICTIONS, &event);
}

// An eviction is a loss: an item whose copy is on flash is not lost.
static void count_eviction(struct store *store, const struct link_locked *locked) {
    uint32_t class_id = locked->class_id;
    struct slab_class *class = &store->slab.root->class[class_id];
    uint32_t now = store->proc->now_seconds;
    if (SHARED_LOAD(class->evicted_seconds) != now) {
        SHARED_STORE(class->evicted_seconds, now);
    }
    if (UNLIKELY(locked->state & ITEM_ON_FLASH) && link_may_be_on_flash(store, locked->hash)) {
        return;
    }
    if (watch_wants(&store->watch, WATCH_EVICTIONS)) {
        watch_eviction(store, locked);
    }
    count(store->proc, COUNTER_evictions, 1);
    class_count(store, class_id, CLASS_evicted, 1);
    if (item_expiry(locked->item, locked->state)) {
        class_count(store, class_id, CLASS_evicted_nonzero, 1);
    }
    if (!(locked->state & ITEM_FETCHED)) {
        class_count(store, class_id, CLASS_evicted_unfetched, 1);
    }
    if (item_reads(locked->state)) {
        class_count(store, class_id, CLASS_evicted_active, 1);
    }
    uint32_t age = now - locked->item->time_seconds;
    if (SHARED_LOAD(class->frontier_seconds) != locked->item->time_seconds) {
        SHARED_STORE(class->frontier_seconds, locked->item->time_seconds);
    }
    SHARED_STORE(store->local->class_counters[class_id][CLASS_evicted_age_seconds],
                 (int32_t)age > 0 ? age : 0);
}

// The item stays. From probation it goes on with no reads to its name; the hand takes one from it.
static void keep_and_unlock(struct store *store, struct link_locked *locked, bool from_ring) {
    uint32_t reads = from_ring ? 0 : item_reads(locked->state) - 1;
    uint32_t state = item_with_reads(locked->state, reads) & ~(uint32_t)ITEM_QUEUE_MASK;
    enum item_queue queue = item_queue_of(locked->state);
    if (queue != QUEUE_WARM && queue != QUEUE_TEMP) {
        class_count(store, locked->class_id, CLASS_warm_items, 1);
        class_count(store, locked->class_id, CLASS_moves_to_warm, 1);
        queue = QUEUE_WARM;
    } else if (!from_ring) {
        class_count(store, locked->class_id, CLASS_moves_within_lru, 1);
    }
    item_set_state(locked->item, state | (uint32_t)queue << ITEM_QUEUE_SHIFT);
    link_unlock(store, locked, true);
    if (!from_ring && reads == 0) {
        // Saved by its last read: a part for the proven that is a little smaller would have lost
        // it.
        link_probation_adapt(store, locked->class_id, -1);
    }
}

// With flash a victim without a copy there gets one before it goes. Where the write buffers have no
// room, since the device is behind, one on probation goes to the queue's new end, and then the hand
// looks for a victim that has a copy. Only where it finds none in so many is one lost.
#define RENEWALS_MAX 64
#define SPARED_MAX 24

// Before that it naps for a moment, as long as the device follows: each record that finds room
// allows a 64th of a nap, so a device that is too slow costs a SET some microseconds.
#define NAP_US 100
#define RECORDS_PER_NAP 64
#define NAPS_MAX 200

// Gives the locked victim its copy; false when it has to be spared for want of room. It is locked
// then, too, unless *is_gone_out: while this process napped it went, or is no victim any more.
static bool copy_victim(struct store *store, struct link_locked *locked, bool *is_gone_out) {
    struct link_flash_local *local = store->on_flash;
    *is_gone_out = false;
    for (;;) {
        enum space_copied copied = space_copy_evicted(store, locked);
        if (copied == SPACE_COPY_DONE && local->nap_credit < NAPS_MAX * RECORDS_PER_NAP) {
            local->nap_credit++;
        }
        if (copied != SPACE_COPY_NO_ROOM) {
            return true;
        }
        if (local->nap_credit < RECORDS_PER_NAP) {
            return false;
        }
        uint32_t ref = locked->ref;
        uint64_t order = item_order(locked->item);
        uint32_t reads = item_reads(locked->state);
        link_unlock(store, locked, false);
        local->nap_credit -= RECORDS_PER_NAP;
        nanosleep(&(struct timespec){.tv_nsec = NAP_US * 1000}, NULL);
        bool is_locked = link_lock_ref(store, ref, locked);
        bool is_same = is_locked && item_order(locked->item) == order && !locked->is_dead
                       && item_reads(locked->state) <= reads;
        if (is_locked && !is_same) {
            link_unlock(store, locked, false);
        }
        if (!is_same) {
            *is_gone_out = true;
            return false;
        }
    }
}

static void renew(struct store *store, uint32_t class_id, uint32_t ref) {
    struct link_pending *pending = &store->local->pending[class_id];
    SHARED_STORE(pending->refs[pending->count], ref);
    SHARED_STORE(pending->count, pending->count + 1);
    if (pending->count == LINK_PENDING) {
        link_push_pending(store, class_id);
    }
}

// Evicts or spares one candidate. Returns true when its chunk is free now.
static bool examine(struct store *store, uint32_t class_id, uint32_t ref, bool from_ring,
                    bool force, uint32_t *spared) {
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state == ITEM_PART) {
        ref = SHARED_LOAD(item->time_seconds);
        if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
            return false;
        }
        state = item_state_of(link_item(store, ref));
    }
    if (!(state & ITEM_LINKED) || (from_ring && item_queue_of(state) != QUEUE_HOT)
        || ref == store->needed_ref) {
        return false;
    }
    struct link_locked locked;
    if (!link_lock_ref(store, ref, &locked)) {
        return false;
    }
    if (locked.is_dead) {
        class_count(store, class_id, CLASS_direct_reclaims, 1);
        space_remove_dead_locked(store, &locked);
        return true;
    }
    if (!live_get(store->arena, LIVE_evictions_enabled)) {
        link_unlock(store, &locked, false);
        return false;
    }
    if (item_reads(locked.state) >= (from_ring ? LINK_READS_PROVEN : 1u) && !force) {
        keep_and_unlock(store, &locked, from_ring);
        return false;
    }
    bool is_gone = false;
    if (UNLIKELY(store->flash) && !copy_victim(store, &locked, &is_gone) && !is_gone && !force
        && *spared < SPARED_MAX + RENEWALS_MAX) {
        link_unlock(store, &locked, false);
        if (from_ring) {
            renew(store, class_id, ref);
        }
        ++*spared;
        return false;
    }
    if (UNLIKELY(is_gone)) {
        return false;
    }
    class_count(store, class_id, CLASS_direct_reclaims, 1);
    if (from_ring) {
        ghost_note(&store->lru, locked.hash);
    }
    count_eviction(store, &locked);
    link_evict_and_unlock(store, &locked);
    return true;
}

void space_evict_counted(struct store *store, struct link_locked *locked) {
    if (UNLIKELY(store->flash)) {
        space_copy_evicted(store, locked);
    }
    count_eviction(store, locked);
    link_evict_and_unlock(store, locked);
}

void space_remove_dead_locked(struct store *store, struct link_locked *locked) {
    class_count(store, locked->class_id, CLASS_reclaimed, 1);
    if (!(locked->state & ITEM_FETCHED)) {
        class_count(store, locked->class_id, CLASS_expired_unfetched, 1);
    }
    link_unlink_and_unlock(store, locked);
}

bool space_evict(struct store *store, uint32_t class_id) {
    uint32_t examined = 0;
    int64_t items = SHARED_LOAD(store->index.root->entries);
    ghost_begin(&store->lru, items > 0 ? (uint64_t)items : 0);
    const struct slab_magazine *magazine =
        &slab_local(&store->slab, store->proc->slot_index)->magazine[class_id];
    bool may_evict = live_get(store->arena, LIVE_evictions_enabled);
    uint32_t limit = may_evict ? EXAMINED_LIMIT : EXAMINED_LIMIT_DEAD;
    uint32_t spared = 0;
    while (examined < limit) {
        struct candidates candidates;
        // Unwritten items that were passed over do not count: they are no sign of a class in use.
        bool force = examined >= EXAMINED_MAX + spared;
        choose(store, class_id, force, spared >= RENEWALS_MAX, &candidates);
        if (candidates.count == 0 && !force) {
            return false;
        }
        for (uint32_t i = 0; i < candidates.count; i++) {
            // One that is in use goes only for want of another; the rest of the batch is judged as
            // always.
            bool is_forced = force && magazine->count == 0;
            examine(store, class_id, candidates.refs[i], candidates.from_ring, is_forced, &spared);
        }
        if (magazine->count > 0) {
            return true;
        }
        examined += candidates.count ? candidates.count : 1;
    }
    return false;
}
