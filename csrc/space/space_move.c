// Emptying a page: its items, and the parts of large ones, are copied to other chunks, or evicted.
#include <stdio.h>

#include "link/link_txn_inline.h"
#include "link/link_value_inline.h"
#include "space/space_evict_inline.h"
#include "space/space_room_internal.h"

// An item that is being sent cannot be copied: it is left alone until the page was looked at so
// many times.
#define PASSES_FOR_PINNED 20
// Chunks of a page that are looked at to learn what is wanted in it.
#define SAMPLE_CHUNKS 16
#define PAGES_COMPARED 4

// The item to which the chunk belongs, 0 when it belongs to none.
static uint32_t owner_of(const struct store *store, uint32_t ref) {
    const struct item *item = link_item(store, ref);
    uint32_t state = item_state_of(item);
    if (state == ITEM_PART) {
        ref = SHARED_LOAD(item->time_seconds);
        if (ref == 0 || slab_page_of(&store->slab, ref) >= store->slab.root->pages_max) {
            return 0;
        }
        state = item_state_of(link_item(store, ref));
    }
    return state & ITEM_LINKED ? ref : 0;
}

// Whether the item is worth another one of its class: it was read lately, or it is much younger
// than what the class would evict next.
static bool is_wanted(const struct store *store, uint32_t class_id, const struct item *item,
                      uint32_t state) {
    if (item_reads(state)) {
        return true;
    }
    uint32_t frontier = SHARED_LOAD(store->slab.root->class[class_id].frontier_seconds);
    uint32_t now = store->proc->now_seconds;
    uint32_t age = now - SHARED_LOAD(item->time_seconds);
    return frontier && frontier < now && (int32_t)age >= 0 && age < (now - frontier) / 2;
}

// What a sample of a page's chunks holds.
struct page_sample {
    uint32_t live;
    uint32_t wanted;
    uint32_t stuck;    // In the hands of who makes or frees a large item: the page would not get
                       // empty.
};

static void sample_page(const struct store *store, uint32_t page, struct page_sample *out) {
    struct slab_window window;
    uint32_t class_id;
    slab_page_window(&store->slab, page, &window, &class_id);
    *out = (struct page_sample){0};
    for (uint32_t i = 0; class_id && i < SAMPLE_CHUNKS && i < window.count; i++) {
        uint32_t chunk = (uint32_t)((uint64_t)i * window.count / SAMPLE_CHUNKS);
        uint32_t ref = slab_ref(&store->slab, page, chunk, window.chunk_bytes);
        uint32_t owner = owner_of(store, ref);
        if (!owner) {
            out->stuck += item_state_of(link_item(store, ref)) != 0;
            continue;
        }
        const struct item *item = link_item(store, owner);
        uint32_t state = item_state_of(item);
        if ((state & ITEM_LINKED) && !link_is_dead(store, item, state)) {
            out->live++;
            out->wanted += is_wanted(store, class_id, item, state);
        }
    }
}

// What it costs to empty the page: what is wanted weighs most, and a page that may not get empty is
// the last choice.
static uint32_t cost_of(const struct page_sample *sample) {
    return sample->live + sample->wanted * SAMPLE_CHUNKS
           + sample->stuck * SAMPLE_CHUNKS * SAMPLE_CHUNKS;
}

static bool is_avoided(const struct space_move_avoid *avoid, uint32_t page) {
    for (uint32_t i = 0; avoid && i < avoid->count; i++) {
        if (avoid->pages[i] == page) {
            return true;
        }
    }
    return false;
}

// The page of the class of which least is wanted, of those looked at; 0 when there is none.
static uint32_t choose_page(struct store *store, uint32_t class_id,
                            const struct space_move_avoid *avoid, struct page_sample *sample_out) {
    uint32_t pages[1 + PAGES_COMPARED + SPACE_MOVE_AVOID_MAX];
    uint32_t free_chunks;
    pages[0] = slab_emptiest(&store->slab, store->proc, class_id, &free_chunks);
    uint32_t ahead = PAGES_COMPARED + (avoid ? avoid->count : 0);
    uint32_t found = 1 + slab_pages_ahead(&store->slab, store->proc, class_id, pages + 1, ahead);
    bool is_nearly_free = free_chunks * 2 > store->slab.root->class[class_id].chunks_per_page;
    uint32_t best = 0;
    for (uint32_t i = 0; i < found; i++) {
        struct page_sample sample;
        if (!pages[i] || is_avoided(avoid, pages[i])) {
            continue;
        }
        sample_page(store, pages[i], &sample);
        if (!best || cost_of(&sample) < cost_of(sample_out)) {
            best = pages[i];
            *sample_out = sample;
        }
        if (i == 0 && is_nearly_free && !sample.stuck) {
            break;
        }
    }
    return best;
}

int space_move_begin_beside(struct store *store, uint32_t from_class, uint32_t to_class,
                            const struct space_move_avoid *avoid, struct space_move *move) {
    struct page_sample sample = {0};
    uint32_t page = choose_page(store, from_class, avoid, &sample);
    if (!page || !slab_drain_begin(&store->slab, store->proc, from_class, page)) {
        return PYMC_NOT_FOUND;
    }
    slab_collect(&store->slab, store->proc, from_class);
    slab_ask_flush(&store->slab);
    // Where most is wanted, so are the others of the class: one would only go for another.
    *move = (struct space_move){.page = page,
                                .from_class = from_class,
                                .to_class = to_class,
                                .may_evict = true,
                                .swaps = sample.wanted * 2 < sample.live};
    return PYMC_OK;
}

int space_move_begin(struct store *store, uint32_t from_class, uint32_t to_class,
                     struct space_move *move) {
    if (from_class < 1 || from_class > store->slab.root->classes
        || to_class > store->slab.root->classes) {
        return PYMC_INVALID;
    }
    return space_move_begin_beside(store, from_class, to_class, NULL, move);
}

void space_move_cancel(struct store *store, struct space_move *move) {
    slab_drain_cancel(&store->slab, store->proc, move->page);
    move->page = 0;
}

// The bytes that make an item's own chunk.
static uint64_t chunk_content_bytes(const struct store *store, const struct item *item,
                                    uint32_t state) {
    if (state & ITEM_LARGE) {
        const struct item_large *large = item_large_of(item, state);
        return item_large_offset(state, item_key_bytes(item->sizes)) + sizeof *large
               + (uint64_t)large->part_count * sizeof(uint32_t);
    }
    return item_total_bytes(item, state);
}

// Copies the locked item to the chunk in hand. For a moment both name the same parts; the
// transaction has a repairer blank the one that is not in the index.
static void rescue_item_and_unlock(struct store *store, struct link_locked *locked) {
    uint32_t new_ref = link_hand(store);
    struct item *to = link_item(store, new_ref);
    uint64_t item_bytes = item_total_bytes(locked->item, locked->state);
    uint64_t order = item_order(locked->item);
    uint64_t bytes = chunk_content_bytes(store, locked->item, locked->state);
    PYMC_CHECK(bytes <= slab_chunk_bytes(&store->slab, slab_class_of(&store->slab, new_ref)));
    link_txn_arm(store, TXN_MOVE_ITEM,
                 (struct link_txn_names){.new_ref = new_ref, .old_ref = locked->ref});
    FAULT_POINT(store->proc, "store.rescue.named");
    racy_write((char *)to + ITEM_HEADER_BYTES, (const char *)locked->item + ITEM_HEADER_BYTES,
               bytes - ITEM_HEADER_BYTES);
    SHARED_STORE(to->time_seconds, locked->item->time_seconds);
    SHARED_STORE(to->sizes, locked->item->sizes);
    SHARED_STORE(to->order_low, locked->item->order_low);
    SHARED_STORE(to->order_high, locked->item->order_high);
    item_set_state(to, locked->state);
    FAULT_POINT(store->proc, "store.rescue.before");
    index_replace_locked(locked->place, new_ref);
    FAULT_POINT(store->proc, "store.rescue.after");
    item_set_state(locked->item, 0);
    link_take_parts_over(store, new_ref);
    if (store->needed_ref == locked->ref) {
        store->needed_ref = new_ref;
    }
    link_txn_decided(store, TXN_MOVE_ITEM);
    link_unlock(store, locked, true);
    if (UNLIKELY(slab_class_of(&store->slab, new_ref) != locked->class_id)) {
        link_count_in_class(store, locked->ref, order, locked->state, item_bytes, -1);
        link_count_in_class(store, new_ref, order, locked->state, item_bytes, 1);
    }
    link_txn_free(store);
}

// Copies one part of the locked large item to the chunk in hand. Returns false when it is not a
// part of it.
static bool rescue_part_and_unlock(struct store *store, struct link_locked *locked,
                                   uint32_t part_ref) {
    struct item_large *large = item_large_of(locked->item, locked->state);
    uint32_t i = 0;
    while (i < large->part_count && large->parts[i] != part_ref) {
        i++;
    }
    if (i == large->part_count) {
        return false;
    }
    uint32_t new_ref = link_hand(store);
    struct item *to = link_item(store, new_ref);
    uint32_t bytes = link_part_bytes(store, large->value_bytes, i);
    racy_write((char *)to + ITEM_HEADER_BYTES,
               (const char *)link_item(store, part_ref) + ITEM_HEADER_BYTES, bytes);
    SHARED_STORE(to->time_seconds, locked->ref);
    SHARED_STORE(to->sizes, 0);
    item_set_state(to, ITEM_PART);
    link_txn_arm(store, TXN_MOVE_PART,
                 (struct link_txn_names){
                     .new_ref = new_ref, .old_ref = part_ref, .owner_ref = locked->ref, .part = i});
    FAULT_POINT(store->proc, "store.rescue_part.before");
    SHARED_DECIDE(large->parts[i], new_ref);
    FAULT_POINT(store->proc, "store.rescue_part.after");
    link_txn_decided(store, TXN_MOVE_PART);
    link_unlock(store, locked, true);
    link_txn_free(store);
    return true;
}

// Copies what is in the chunk `ref` of the locked item's memory elsewhere. Returns false, still
// locked, if it cannot.
static bool rescue_and_unlock(struct store *store, struct link_locked *locked, uint32_t ref) {
    if (!link_hand(store) || locked->is_dead || link_is_pinned(store, locked->ref)) {
        return false;
    }
    if (ref == locked->ref) {
        rescue_item_and_unlock(store, locked);
        count(store->proc, COUNTER_slab_reassign_rescues, 1);
        return true;
    }
    if (!(locked->state & ITEM_LARGE) || !rescue_part_and_unlock(store, locked, ref)) {
        return false;
    }
    count(store->proc, COUNTER_slab_reassign_chunk_rescues, 1);
    return true;
}

// The few items of a page that is nearly free may go to chunks so many times as large.
#define FEW_TIMES 32

// Takes a free chunk into the hand: of the page's class, or of a larger one that has some.
static bool take_free(struct store *store, const struct space_move *move) {
    const struct slab_root *root = store->slab.root;
    uint32_t class_id = move->from_class;
    if (slab_take(&store->slab, store->proc, class_id)) {
        return true;
    }
    uint64_t most =
        (uint64_t)slab_chunk_bytes(&store->slab, class_id) * (move->may_evict ? 2 : FEW_TIMES);
    for (uint32_t other = class_id + 1;
         other <= root->classes && root->class[other].chunk_bytes <= most; other++) {
        if (SHARED_LOAD(root->class[other].free_chunks)
            && slab_take(&store->slab, store->proc, other)) {
            return true;
        }
    }
    return false;
}

static bool may_evict(const struct store *store, const struct space_move *move) {
    return move->may_evict && live_get(store->arena, LIVE_evictions_enabled);
}

// The item must go: there is no chunk for it. Returns false when it stays all the same.
static bool give_up_item(struct store *store, const struct space_move *move, uint32_t owner) {
    struct link_locked locked;
    if (!link_lock_ref(store, owner, &locked)) {
        return true;
    }
    if (locked.is_dead) {
        space_remove_dead_locked(store, &locked);
        return true;
    }
    if (!may_evict(store, move) || store->needed_ref == owner) {
        link_unlock(store, &locked, false);
        count(store->proc, COUNTER_slab_reassign_busy_items, 1);
        return false;
    }
    count(store->proc, COUNTER_slab_reassign_evictions_nomem, 1);
    space_evict_counted(store, &locked);
    return true;
}

// Frees one chunk of the page. Returns false when what is in it must stay for now.
static bool move_chunk(struct store *store, struct space_move *move, uint32_t ref) {
    uint32_t owner = owner_of(store, ref);
    if (!owner) {
        // Free, or a piece of a large item that somebody makes or still sends.
        return item_state_of(link_item(store, ref)) == 0;
    }
    const struct item *item = link_item(store, owner);
    uint32_t state = item_state_of(item);
    bool is_dead = link_is_dead(store, item, state);
    if (!is_dead && !take_free(store, move)
        && ((move->swaps && is_wanted(store, move->from_class, item, state))
            || owner == store->needed_ref)
        && may_evict(store, move)) {
        // A colder one of the class goes in its place.
        if (space_evict(store, move->from_class)) {
            slab_take(&store->slab, store->proc, move->from_class);
        }
    }
    struct link_locked locked;
    bool is_busy = false;
    bool is_done = !link_lock_ref(store, owner, &locked);
    if (!is_done && !locked.is_dead && move->passes < PASSES_FOR_PINNED
        && link_is_pinned(store, owner)) {
        link_unlock(store, &locked, false);
        count(store->proc, COUNTER_slab_reassign_busy_items, 1);
        is_busy = true;
    } else if (!is_done && !(is_done = rescue_and_unlock(store, &locked, ref))) {
        link_unlock(store, &locked, false);
    }
    if (link_hand(store)) {
        link_give_hand(store);
    }
    return !is_busy && (is_done || give_up_item(store, move, owner));
}

#define PREFETCH_CHUNKS 8

// Brings the next chunks' items nearer, and for those that came the last time their buckets.
static void prefetch_ahead(const struct store *store, const struct slab_window *window,
                           uint32_t chunk) {
    for (uint32_t i = chunk; i < chunk + PREFETCH_CHUNKS; i++) {
        if (i + PREFETCH_CHUNKS < window->count) {
            uint32_t ref =
                slab_ref(&store->slab, window->page, i + PREFETCH_CHUNKS, window->chunk_bytes);
            __builtin_prefetch(link_item(store, ref));
        }
        if (i < window->count) {
            const struct item *item =
                link_item(store, slab_ref(&store->slab, window->page, i, window->chunk_bytes));
            uint32_t state = item_state_of(item);
            uint32_t key_bytes = item_key_bytes(SHARED_LOAD(item->sizes));
            if ((state & (ITEM_LINKED | ITEM_PART)) == ITEM_LINKED && key_bytes) {
                char key[256];
                racy_copy(key, item_key(item, state), key_bytes);
                __builtin_prefetch(
                    &store->index
                         .buckets[index_home(&store->index, link_hash(store, key, key_bytes))]);
            }
        }
    }
}

static __attribute__((noinline)) void watch_move(struct store *store,
                                                 const struct space_move *move) {
    char text[64];
    int bytes =
        snprintf(text, sizeof text, "slab_move src=%u dst=%u", move->from_class, move->to_class);
    watch_note_text(&store->watch, WATCH_SYSEVENTS, text, (uint32_t)bytes);
}

bool space_move_end(struct store *store, struct space_move *move) {
    if (!slab_drain_end(&store->slab, store->proc, move->page, move->to_class)) {
        return false;
    }
    count(store->proc, COUNTER_slabs_moved, 1);
    if (watch_wants(&store->watch, WATCH_SYSEVENTS)) {
        watch_move(store, move);
    }
    move->page = 0;
    const struct slab_root *root = store->slab.root;
    if (UNLIKELY(SHARED_LOAD(root->pages_used) + SHARED_LOAD(root->pool_count)
                 > SHARED_LOAD(root->pages_limit))) {
        // Memory that the index, say, took meanwhile: the keeper would come for it up to a second
        // later.
        slab_release_pool_step(&store->slab, store->proc, 1);
    }
    return true;
}

bool space_move_step(struct store *store, struct space_move *move, uint32_t chunks) {
    struct slab_window window;
    uint32_t class_id;
    if (!slab_drains_page(&store->slab, store->proc, move->page, move->from_class)) {
        // This process gave it up meanwhile.
        move->passes = SPACE_MOVE_PASSES_MAX;
        return false;
    }
    slab_page_window(&store->slab, move->page, &window, &class_id);
    uint32_t examined = 0;
    while (move->chunk < window.count && examined++ < chunks) {
        if (move->chunk % PREFETCH_CHUNKS == 0) {
            prefetch_ahead(store, &window, move->chunk);
        }
        move->stays += !move_chunk(
            store, move, slab_ref(&store->slab, move->page, move->chunk++, window.chunk_bytes));
    }
    if (move->chunk < window.count) {
        return false;
    }
    if (space_move_end(store, move)) {
        return true;
    }
    // What is left stays, or is in other processes' hands: ask for that and look at the page again.
    move->chunk = 0;
    move->passes++;
    slab_collect(&store->slab, store->proc, move->from_class);
    slab_ask_flush(&store->slab);
    return false;
}
