// Room for a class without a free chunk: which page of which other class it gets, and how that page
// is emptied.
//
// Pages move in the worker that needs them, at once: it waits for nobody. What costs nothing comes
// first (pages that are free, or so little used that their items fit elsewhere), then pages of
// classes whose items are dead or have not been used for longer than what the class itself would
// evict, then the class evicts. A class that has nothing to evict takes the page of the oldest
// items, whatever their age.
#include <stdlib.h>
#include <time.h>

#include "space/space_evict_inline.h"
#include "space/space_room_internal.h"
#include "space/space_take_inline.h"

// What a class may take a page from.
enum source_kind { SOURCE_FREE, SOURCE_OLDER, SOURCE_ANY };

// A class that just got a page has much that is free and will soon be used: this part of all pages,
// and at most so many openings ago, is just now.
#define RECENT_PART 8
#define RECENT_OPENINGS_MAX 8u
// A page with at least this share of its chunks free, in eighths, is worth emptying into other
// classes' chunks.
#define SPARSE_EIGHTHS 7
// Ages are in whole seconds: closer ones say nothing.
#define AGE_SECONDS_MIN 2
// Chunks looked at without a pause for a class that could also evict its own.
#define LOOKS_AT_ONCE 2048
#define LOOKS_PER_STEP 128
// A class that found no page elsewhere evicts, and looks again after 1, 2, 4 ... refills, up to so
// many.
#define SKIPPED_SEARCHES_MAX 16
#define SKIPPED_AFTER_REFUSAL 64
#define SOURCES_TRIED 12
// Of so many pages one may wait, for each process, until others have given its chunks back.
#define PAGES_PER_WAITING 16
// Before a store is refused it looks so often; and if others are at work it waits for the chunks
// that they were asked for, so long and so often in a second.
#define LAST_TRIES 40
#define NAP_NANOSECONDS 50000
#define NAPS_PER_SECOND 200
// With fewer pages than this, a class with few items shares the pages of larger ones instead of
// having one.
#define BORROW_PAGES 12
#define BORROW_TIMES_PAGES 128
// A page on its way for which nobody asked for so long goes back.
#define IDLE_SECONDS 2
#define FRONTIER_DEAD 1
#define LOOKED_SECONDS_MAX 2
#define FRONTIER_SAMPLE 16
#define MILLION 1000000u

struct space_room {
    struct space_move move;                            // Page 0: none is on its way.
    struct space_move waiting[SLAB_DRAINS_MAX - 1];    // Emptied but for chunks in the hands of
                                                       // processes at work.
    uint32_t asked_seconds;
    uint32_t refused_seconds;
    uint32_t naps_seconds;    // In this second ...
    uint32_t naps;            // ... so many were taken.
    uint8_t skips[SLAB_CLASSES_MAX];
    uint8_t skips_next[SLAB_CLASSES_MAX];
    uint16_t refused[SLAB_CLASSES_MAX];
    uint64_t tried[SLAB_CLASSES_MAX / 64];    // Classes without a page to give, in this search ...
    struct space_move_avoid avoid;            // ... and pages that did not get empty.
};

int space_room_open(struct store *store) {
    store->room = calloc(1, sizeof *store->room);
    return store->room ? PYMC_OK : PYMC_NO_MEMORY;
}

void space_room_close(struct store *store) {
    slab_drain_cancel_all(&store->slab, store->proc);
    free(store->room);
    store->room = NULL;
}

static bool is_recent(const struct slab_root *root, const struct slab_class *class) {
    uint32_t recent = SHARED_LOAD(root->pages_limit) / RECENT_PART;
    recent = recent < RECENT_OPENINGS_MAX ? recent : RECENT_OPENINGS_MAX;
    return SHARED_LOAD(root->pages_opened) - SHARED_LOAD(class->opened_at) < recent;
}

// Whether the class has a page that can be had without losing an item.
static bool has_free_page(const struct slab_root *root, const struct slab_class *class) {
    uint64_t free_chunks = SHARED_LOAD(class->free_chunks);
    uint64_t page = class->chunks_per_page;
    bool is_sparse = SHARED_LOAD(class->pages) == 1 && free_chunks * 8 >= page * SPARSE_EIGHTHS;
    return free_chunks >= page * 2
           || ((free_chunks >= page || is_sparse) && !is_recent(root, class));
}

// Seconds since what the class would evict next was used; all the time there is for what is dead, 0
// when nobody knows.
static uint32_t age_of(const struct store *store, const struct slab_class *class) {
    uint32_t now = store->proc->now_seconds;
    uint64_t newest = SHARED_LOAD(class->newest_number);
    if (newest && newest <= SHARED_LOAD(store->header->flush_order)) {
        return now;
    }
    uint32_t frontier = SHARED_LOAD(class->frontier_seconds);
    return frontier && frontier < now ? now - frontier : 0;
}

static bool is_tried(const struct space_room *room, uint32_t class_id) {
    return room->tried[class_id / 64] >> class_id % 64 & 1;
}

static uint32_t frontier_of(struct store *store, uint32_t class_id);

// What the keeper does each second, for where it has not looked: it may be gone, or the class is
// new.
static void look_if_unknown(struct store *store, struct slab_class *class, uint32_t class_id) {
    uint32_t now = store->proc->now_seconds;
    uint32_t looked = SHARED_LOAD(class->looked_seconds);
    bool is_known = SHARED_LOAD(class->frontier_seconds) && now - looked <= LOOKED_SECONDS_MAX;
    if (UNLIKELY(!is_known && looked != now)) {
        SHARED_STORE(class->looked_seconds, now);
        SHARED_STORE(class->frontier_seconds, frontier_of(store, class_id));
    }
}

// The class to take a page from, 0 for none.
static uint32_t choose_source(struct store *store, uint32_t to_class, enum source_kind kind) {
    struct slab_root *root = store->slab.root;
    bool may_evict = live_get(store->arena, LIVE_evictions_enabled);
    uint32_t now = store->proc->now_seconds;
    uint32_t own_age = age_of(store, &root->class[to_class]);
    uint64_t ratio = (uint64_t)live_get(store->arena, LIVE_slab_automove_ratio_millionths);
    uint32_t best = 0;
    uint64_t best_score = 0;
    for (uint32_t id = 1; id <= root->classes; id++) {
        struct slab_class *class = &root->class[id];
        uint32_t pages = SHARED_LOAD(class->pages);
        if (id == to_class || pages <= SHARED_LOAD(class->draining) || is_tried(store->room, id)) {
            continue;
        }
        if (kind == SOURCE_FREE) {
            uint64_t free_pages = SHARED_LOAD(class->free_chunks) / class->chunks_per_page;
            if (has_free_page(root, class) && free_pages + 1 > best_score) {
                best = id;
                best_score = free_pages + 1;
            }
            continue;
        }
        look_if_unknown(store, class, id);
        uint64_t score;
        uint32_t age = age_of(store, class);
        if (!may_evict && age < now - FRONTIER_DEAD) {
            // What is in a page fits into the other pages' free chunks.
            score = kind == SOURCE_ANY && SHARED_LOAD(class->free_chunks) >= class->chunks_per_page;
        } else if (kind == SOURCE_OLDER) {
            bool is_older =
                age >= AGE_SECONDS_MIN && (uint64_t)own_age * MILLION < (uint64_t)age * ratio;
            score = is_older ? age : 0;
        } else {
            // Where ages are alike, whoever has most loses least.
            score = 1 + ((uint64_t)age << 32) + pages;
        }
        if (score > best_score) {
            best = id;
            best_score = score;
        }
    }
    return best;
}

// Sets the page on its way aside until others have given its chunks back. Returns false when too
// many wait already.
static bool set_aside(struct space_room *room, uint32_t pages_limit) {
    for (uint32_t i = 0; i < SLAB_DRAINS_MAX - 1 && i < pages_limit / PAGES_PER_WAITING; i++) {
        if (!room->waiting[i].page) {
            room->waiting[i] = room->move;
            room->move.page = 0;
            return true;
        }
    }
    return false;
}

// Looks at the pages that were set aside, now for this class. Returns true when one has moved.
static bool settle(struct store *store, uint32_t class_id) {
    for (uint32_t i = 0; i < SLAB_DRAINS_MAX - 1; i++) {
        struct space_move *move = &store->room->waiting[i];
        if (!move->page) {
            continue;
        }
        move->to_class = class_id;
        uint32_t passes = move->passes;
        if (space_move_step(store, move, LOOKS_AT_ONCE)) {
            return true;
        }
        if (move->passes != passes && (move->stays || move->passes >= SPACE_MOVE_PASSES_MAX)) {
            space_move_cancel(store, move);
        }
    }
    return false;
}

// Looks at the page on its way, now for this class, until it has moved; false when it has not yet.
static bool advance(struct store *store, uint32_t class_id, uint32_t looks) {
    struct space_move *move = &store->room->move;
    move->to_class = class_id;
    while (looks > 0) {
        uint32_t step = looks < LOOKS_PER_STEP ? looks : LOOKS_PER_STEP;
        uint32_t passes = move->passes;
        if (space_move_step(store, move, step)) {
            return true;
        }
        if (move->passes != passes) {
            // The rest has to stay, or it is in the hands of processes at work, who were asked for
            // it.
            if (move->stays || move->passes >= SPACE_MOVE_PASSES_MAX) {
                space_move_cancel(store, move);
            } else {
                set_aside(store->room, SHARED_LOAD(store->slab.root->pages_limit));
            }
            return false;
        }
        looks -= step;
    }
    return false;
}

static bool begin(struct store *store, uint32_t from_class, uint32_t to_class, bool may_evict) {
    struct space_move *move = &store->room->move;
    struct space_room *room = store->room;
    room->asked_seconds = store->proc->now_seconds;
    if (room->avoid.count == SPACE_MOVE_AVOID_MAX
        || space_move_begin_beside(store, from_class, to_class, &room->avoid, move) != PYMC_OK) {
        room->tried[from_class / 64] |= 1ull << from_class % 64;
        move->page = 0;
        return false;
    }
    room->avoid.pages[room->avoid.count++] = move->page;
    move->may_evict = may_evict;
    return true;
}

// A class that got a page will want another one: it is emptied while this one is used up.
static void got_page(struct store *store, uint32_t class_id) {
    struct space_room *room = store->room;
    room->skips[class_id] = room->skips_next[class_id] = 0;
    room->avoid.count = 0;
    uint32_t source = live_get(store->arena, LIVE_slab_automove) && !room->move.page
                          ? choose_source(store, class_id, SOURCE_OLDER)
                          : 0;
    if (source) {
        begin(store, source, class_id, true);
    }
}

// Moves pages of that kind to the class until it has a chunk for the hand.
static bool take_from_others(struct store *store, uint32_t class_id, enum source_kind kind,
                             uint32_t tries, uint32_t looks) {
    struct space_room *room = store->room;
    memset(room->tried, 0, sizeof room->tried);
    room->avoid.count = 0;
    for (uint32_t i = 0; i < tries; i++) {
        uint32_t source =
            room->move.page ? room->move.from_class : choose_source(store, class_id, kind);
        if (!source) {
            return false;
        }
        if (!room->move.page && !begin(store, source, class_id, kind != SOURCE_FREE)) {
            continue;
        }
        // What is dead costs nothing but the looks: no item of the class itself has to go for it.
        bool is_dead = age_of(store, &store->slab.root->class[source])
                       >= store->proc->now_seconds - FRONTIER_DEAD;
        bool has_moved = advance(store, class_id, is_dead ? UINT32_MAX : looks);
        if (slab_take(&store->slab, store->proc, class_id)) {
            if (has_moved) {
                got_page(store, class_id);
            }
            return true;
        }
        if (!has_moved && room->move.page) {
            if (looks != UINT32_MAX) {
                return false;    // There is more to look at the next time.
            }
            space_move_cancel(store, &room->move);
        }
    }
    return false;
}

// Before anything is evicted: a chunk of a class up to twice as large that has plenty to spare.
static bool take_spare(struct store *store, uint32_t class_id) {
    uint32_t most = slab_chunk_bytes(&store->slab, class_id) * 2;
    for (uint32_t other = class_id + 1; other <= store->slab.root->classes; other++) {
        const struct slab_class *class = &store->slab.root->class[other];
        if (class->chunk_bytes > most) {
            return false;
        }
        if (SHARED_LOAD(class->free_chunks) * 4 > class->chunks_per_page
            && slab_take(&store->slab, store->proc, other)) {
            return true;
        }
    }
    return false;
}

static bool evict_own(struct store *store, uint32_t class_id) {
    return SHARED_LOAD(store->slab.root->class[class_id].pages) && space_evict(store, class_id)
           && slab_take(&store->slab, store->proc, class_id);
}

// Evicts in the next larger class that has pages. The fewer pages there are for all classes, the
// larger it may be.
static bool evict_larger(struct store *store, uint32_t class_id) {
    const struct slab_root *root = store->slab.root;
    uint32_t pages = SHARED_LOAD(root->pages_limit);
    uint32_t times = pages < BORROW_PAGES ? BORROW_TIMES_PAGES / pages : 2;
    uint64_t most = (uint64_t)slab_chunk_bytes(&store->slab, class_id) * times;
    for (uint32_t other = class_id + 1;
         other <= root->classes && root->class[other].chunk_bytes <= most; other++) {
        if (evict_own(store, other)) {
            return true;
        }
    }
    return false;
}

// A free chunk of any larger class, however large; else what such a class would evict.
static bool take_any_larger(struct store *store, uint32_t class_id) {
    const struct slab_root *root = store->slab.root;
    for (uint32_t other = class_id; other <= root->classes; other++) {
        if (SHARED_LOAD(root->class[other].pages) && slab_take(&store->slab, store->proc, other)) {
            return true;
        }
    }
    for (uint32_t other = class_id; other <= root->classes; other++) {
        if (evict_own(store, other)) {
            return true;
        }
    }
    return false;
}

// Lets the others come to where they give back what they were asked for. False when nobody is at
// work, or when so much time went into this that it cannot be that.
static bool nap(struct store *store) {
    struct space_room *room = store->room;
    uint32_t now = store->proc->now_seconds;
    if (room->naps_seconds != now) {
        room->naps_seconds = now;
        room->naps = 0;
    }
    if (room->naps >= NAPS_PER_SECOND || !slab_others_work(&store->slab, store->proc)) {
        return false;
    }
    room->naps++;
    struct timespec time = {.tv_nsec = NAP_NANOSECONDS};
    nanosleep(&time, NULL);
    return true;
}

// Before a store is refused: every page may hold chunks that others have set aside, or be on its
// way in their hands.
static bool take_at_last(struct store *store, uint32_t class_id, bool may_move) {
    for (uint32_t i = 0; i < LAST_TRIES; i++) {
        if (take_any_larger(store, class_id)) {
            return true;
        }
        // Who waits for this process in the same way gets what it has.
        slab_flush(&store->slab, store->proc);
        slab_ask_flush(&store->slab);
        slab_drain_cancel_all(&store->slab, store->proc);
        slab_drain_cancel_resting(&store->slab, store->proc);
        store->room->move.page = 0;
        memset(store->room->waiting, 0, sizeof store->room->waiting);
        if (may_move && take_from_others(store, class_id, SOURCE_ANY, SOURCES_TRIED, UINT32_MAX)) {
            return true;
        }
        if (i > 0 && !nap(store)) {
            return false;
        }
    }
    return false;
}

// The class has nothing to evict: a chunk of a larger class if it has few items, else a page of
// anybody.
static bool take_elsewhere(struct store *store, uint32_t class_id, bool has_few, bool may_move) {
    struct space_room *room = store->room;
    if (room->refused[class_id] && room->refused_seconds == store->proc->now_seconds) {
        room->refused[class_id]--;
        return false;
    }
    bool is_tight = SHARED_LOAD(store->slab.root->pages_limit) < BORROW_PAGES;
    if ((is_tight && has_few && evict_larger(store, class_id))
        || (may_move && take_from_others(store, class_id, SOURCE_ANY, SOURCES_TRIED, UINT32_MAX))
        || evict_larger(store, class_id)) {
        return true;
    }
    if (live_get(store->arena, LIVE_evictions_enabled)) {
        return take_at_last(store, class_id, may_move);
    }
    // Memory that is full and may not be emptied is not searched again for every refused item.
    room->refused_seconds = store->proc->now_seconds;
    room->refused[class_id] = SKIPPED_AFTER_REFUSAL;
    return false;
}

// Whether the class evicts this time without looking around first.
static bool skips_search(struct space_room *room, uint32_t class_id) {
    if (room->skips[class_id]) {
        room->skips[class_id]--;
        return true;
    }
    uint8_t next = room->skips_next[class_id];
    room->skips[class_id] = next;
    next = next ? (uint8_t)(next * 2) : 1;
    room->skips_next[class_id] = next < SKIPPED_SEARCHES_MAX ? next : SKIPPED_SEARCHES_MAX;
    return false;
}

bool space_room_take(struct store *store, uint32_t class_id, bool has_few) {
    struct space_room *room = store->room;
    bool may_move = live_get(store->arena, LIVE_slab_reassign);
    bool may_compare = may_move && live_get(store->arena, LIVE_slab_automove);
    if (((room->move.page && advance(store, class_id, LOOKS_AT_ONCE)) || settle(store, class_id))
        && slab_take(&store->slab, store->proc, class_id)) {
        got_page(store, class_id);
        return true;
    }
    bool skips_others = skips_search(room, class_id);
    if (!skips_others && may_move
        && take_from_others(store, class_id, SOURCE_FREE, 3, LOOKS_AT_ONCE * 8)) {
        return true;
    }
    if (take_spare(store, class_id)) {
        return true;
    }
    if (!skips_others && may_compare
        && take_from_others(store, class_id, SOURCE_OLDER, 2, LOOKS_AT_ONCE)) {
        return true;
    }
    return evict_own(store, class_id) || take_elsewhere(store, class_id, has_few, may_move);
}

void space_room_pace(struct store *store, uint32_t class_id) {
    struct space_move *move = &store->room->move;
    if (LIKELY(!move->page || move->to_class != class_id)) {
        return;
    }
    store->room->asked_seconds = store->proc->now_seconds;
    // From when half of what it has is used up, and so fast that the next page is there before it
    // is needed.
    const struct slab_class *classes = store->slab.root->class;
    if (SHARED_LOAD(classes[class_id].free_chunks) * 2 > classes[class_id].chunks_per_page) {
        return;
    }
    uint64_t looks = 4ull * SLAB_BATCH_CHUNKS * classes[move->from_class].chunks_per_page
                         / classes[class_id].chunks_per_page
                     + SLAB_BATCH_CHUNKS;
    if (advance(store, class_id, looks < LOOKS_AT_ONCE ? (uint32_t)looks : LOOKS_AT_ONCE)) {
        got_page(store, class_id);
    }
}

// Nobody has asked for a page for a while.
static bool is_idle(const struct store *store) {
    return store->room->asked_seconds + IDLE_SECONDS < store->proc->now_seconds;
}

void space_room_turn(struct store *store) {
    struct space_room *room = store->room;
    if (UNLIKELY(room->move.page) && is_idle(store)) {
        space_move_cancel(store, &room->move);
    }
    for (uint32_t i = 0; i < SLAB_DRAINS_MAX - 1; i++) {
        struct space_move *move = &room->waiting[i];
        if (UNLIKELY(move->page)) {
            if (!space_move_end(store, move) && is_idle(store)) {
                space_move_cancel(store, move);
            }
        }
    }
}

// The last use of what the class would evict next: of the items before the hand the one in the
// middle, FRONTIER_DEAD when most are dead, 0 when there is none.
static uint32_t frontier_of(struct store *store, uint32_t class_id) {
    const struct slab_class *class = &store->slab.root->class[class_id];
    uint32_t times[FRONTIER_SAMPLE];
    uint32_t found = 0;
    uint32_t dead = 0;
    uint32_t page = SHARED_LOAD(class->hand_page);
    uint32_t start = page ? SHARED_LOAD(class->hand_chunk) : 0;
    struct slab_window window;
    uint32_t owner;
    slab_page_window(&store->slab, page ? page : SHARED_LOAD(class->ring), &window, &owner);
    for (uint32_t i = 0; owner == class_id && i < FRONTIER_SAMPLE && i < window.count; i++) {
        uint32_t ref =
            slab_ref(&store->slab, window.page, (start + i) % window.count, window.chunk_bytes);
        const struct item *item = link_item(store, ref);
        uint32_t state = item_state_of(item);
        if (state == ITEM_PART) {
            uint32_t whole = SHARED_LOAD(item->time_seconds);
            if (whole == 0 || slab_page_of(&store->slab, whole) >= store->slab.root->pages_max) {
                continue;
            }
            item = link_item(store, whole);
            state = item_state_of(item);
        }
        if (!(state & ITEM_LINKED)) {
            continue;
        }
        uint32_t time = SHARED_LOAD(item->time_seconds);
        dead += link_is_dead(store, item, state);
        uint32_t at = found++;
        for (; at > 0 && times[at - 1] > time; at--) {
            times[at] = times[at - 1];
        }
        times[at] = time;
    }
    return !found ? 0 : dead * 2 > found ? FRONTIER_DEAD : times[found / 2];
}

uint32_t space_frontiers_step(struct store *store) {
    struct slab_root *root = store->slab.root;
    uint32_t now = store->proc->now_seconds;
    uint32_t youngest = 0;
    for (uint32_t id = 1; id <= root->classes; id++) {
        struct slab_class *class = &root->class[id];
        if (!SHARED_LOAD(class->pages)) {
            continue;
        }
        uint32_t frontier = frontier_of(store, id);
        SHARED_STORE(class->looked_seconds, now);
        SHARED_STORE(class->frontier_seconds, frontier);
        bool is_evicting = SHARED_LOAD(class->evicted_seconds) + AGE_SECONDS_MIN >= now;
        uint32_t age = frontier < now ? now - frontier : 0;
        if (is_evicting && frontier && (!youngest || age < youngest)) {
            youngest = age ? age : 1;
        }
    }
    SHARED_STORE(store->root->lifetime_seconds, youngest);
    return youngest;
}
