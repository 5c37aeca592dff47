// Slab structures in the arena and the operations for the store.
//
//   page area:  | page 0 (never used) | page 1 | page 2 | ...   one page = one class = equal chunks
//   reference:  (offset in the page area) / unit_bytes, 32 bits, 0 = none
//   chunk:      free: the first 4 bytes are the next free chunk of the same page; the rest belongs
//               to the store
//   magazine:   per process and class, a handful of free chunks that only this process touches
//
// A chunk is at any moment in exactly one place: a page's free list, the part of a page never
// carved, a magazine, a process's hand, or the store's structures. The hand holds one chunk at
// most: it comes out of a magazine into the hand and goes through the hand back into one. While it
// moves on it is for an instant in two places; the hand yields to the magazine by repair here, and
// to the store's structures by the store's own repair (link_txn_inline.h).
#pragma once

#include "base/racy_inline.h"
#include "shm/lock_inline.h"
#include "slab/slab.h"

#define SLAB_PAGE_SHIFT 20
#define SLAB_MAGAZINE_CHUNKS 15
#define SLAB_BATCH_CHUNKS 8
#define SLAB_DRAINS_MAX 4
#define SLAB_CLASS_MASK 0x7fffu
#define SLAB_DRAINING 0x8000u    // In page_class: chunks given back go to the page at once.

enum slab_page_state { SLAB_PAGE_FREE, SLAB_PAGE_ACTIVE, SLAB_PAGE_DRAINING };

// All under LOCK_CLASS of its class; a free page's under LOCK_PAGES.
struct slab_page {
    uint16_t class_id;
    uint16_t state;
    uint32_t free_head;    // First chunk of the page's free list.
    uint32_t free_count;
    uint32_t carved;            // Chunks below this index have been handed out at least once.
    uint32_t next, previous;    // All pages of the class, a ring; for free pages `next` is the pool
                                // list.
    uint32_t partial_next;    // Pages with something to take, 0 ends the list; a page is on it when
                              // `is_partial`.
    uint32_t partial_previous;
    uint8_t is_partial;
    uint8_t is_released;    // The system has its memory back.
    uint16_t drainer;       // While it drains: the slot that empties it, + 1.
};

struct CACHE_ALIGNED slab_class {
    uint64_t lock;               // LOCK_CLASS
    uint32_t chunk_bytes;        // Written once.
    uint32_t chunks_per_page;    // Written once.
    uint32_t pages;
    uint32_t draining;
    uint32_t ring;         // Any page of the class, 0 for none.
    uint32_t partial;      // First page with something to take.
    uint32_t hand_page;    // Where the eviction hand stands.
    uint32_t hand_chunk;
    uint64_t free_chunks;
    int64_t borrowed_bytes;    // Atomic: what items of this class hold in chunks of larger classes.
    uint64_t unlisted_looks;    // Chunks at which the hand looks for items that left probation's
                                // queue unexamined.
    // Hints for whoever looks for a page to take; written without the lock.
    uint32_t frontier_seconds;    // Last use of what would be evicted next; 0: nobody knows.
    uint32_t looked_seconds;      // When somebody looked for that.
    uint32_t evicted_seconds;     // When the class last evicted.
    uint32_t opened_at;           // What pages_opened was when the class last got a page.
    uint64_t newest_number;       // About the order number of the newest item.
};

struct slab_root {
    uint64_t area_offset;
    uint64_t pages_offset;
    uint64_t page_class_offset;
    uint64_t local_offset;    // struct slab_local of slot 0.
    uint32_t pages_max;
    uint32_t unit_shift;
    uint32_t classes;
    uint32_t slots;                 // Written once.
    uint32_t flush_epoch;           // Atomic; processes flush their magazines when it moved.
    CACHE_ALIGNED uint64_t lock;    // LOCK_PAGES
    uint32_t pool;                  // List of free pages.
    uint32_t pool_count;
    uint32_t pages_begun;    // Pages 1 to this one were used at least once.
    uint32_t pages_used;
    uint32_t pages_limit;     // Atomic.
    uint32_t pages_opened;    // Counts pages that were given to a class.
    struct slab_class class[SLAB_CLASSES_MAX];
};

struct slab_magazine {
    uint32_t count;
    uint32_t refs[SLAB_MAGAZINE_CHUNKS];
};

enum slab_step { SLAB_STEP_NONE, SLAB_STEP_LIST, SLAB_STEP_CARVE };

// What a process is doing to one page; written before the commit store, so that a repairer knows
// whether it happened.
struct slab_intent {
    uint32_t step;    // enum slab_step: which word of the page commits.
    uint32_t class_id;
    uint32_t page;
    uint32_t commit_value;
    uint32_t free_count_after;
    uint32_t magazine_slot;    // Whose magazine the chunks come from or go to, and how many it has
                               // then.
    uint32_t magazine_count_after;
};

// A process's own part. Only the owner writes, but for magazines of an owner that rests: see
// slab_rest().
struct CACHE_ALIGNED slab_local {
    uint64_t turn;     // Lock word: who holds it may use the magazines of an owner that rests now
                       // and then.
    uint32_t rests;    // Set once the owner has begun to give the turn away.
    uint32_t hand;     // The chunk in hand, 0 for none.
    struct slab_intent intent;
    uint32_t flush_epoch_seen;
    uint32_t draining_pages[SLAB_DRAINS_MAX];    // The pages this process empties, 0 for none.
    struct slab_magazine magazine[SLAB_CLASSES_MAX];
};

// Process-local handle: addresses and what follows from the classes' sizes, no state.
struct slab {
    char *area;
    struct slab_root *root;
    struct slab_page *pages;
    uint16_t *page_class;
    char *locals;
    struct slab_local *own;    // The process's own part; NULL until slab_enter().
    uint32_t unit_shift;
    uint8_t magazine_most[SLAB_CLASSES_MAX];    // Chunks that a magazine may hold.
};

struct slab_geometry {
    uint32_t pages_max;
    uint32_t class_count;
    const uint32_t *chunk_bytes;    // Ascending.
};

// How much address space slab_create() reserves; also what unit it will choose.
uint64_t slab_reserve_bytes(const struct slab_geometry *geometry, uint32_t slots);

MUST_CHECK int slab_create(struct arena *arena, const struct slab_geometry *geometry);
void slab_attach(struct arena *arena, struct slab *slab);
// From now on the handle works for this process.
void slab_enter(struct slab *slab, const struct proc *proc);

static inline char *slab_chunk(const struct slab *slab, uint32_t ref) {
    return slab->area + ((uint64_t)ref << slab->unit_shift);
}
static inline uint32_t slab_page_of(const struct slab *slab, uint32_t ref) {
    return (uint32_t)(((uint64_t)ref << slab->unit_shift) >> SLAB_PAGE_SHIFT);
}
static inline uint32_t slab_class_of(const struct slab *slab, uint32_t ref) {
    return SHARED_LOAD(slab->page_class[slab_page_of(slab, ref)]) & SLAB_CLASS_MASK;
}
static inline uint32_t slab_chunk_bytes(const struct slab *slab, uint32_t class_id) {
    return slab->root->class[class_id].chunk_bytes;
}
static inline uint32_t slab_ref(const struct slab *slab, uint32_t page, uint32_t chunk,
                                uint32_t chunk_bytes) {
    return (uint32_t)((((uint64_t)page << SLAB_PAGE_SHIFT) + (uint64_t)chunk * chunk_bytes)
                      >> slab->unit_shift);
}
static inline struct slab_local *slab_local(const struct slab *slab, uint32_t slot_index) {
    return (struct slab_local *)(slab->locals + (uint64_t)slot_index * sizeof(struct slab_local));
}

// Fills the process's magazine from the class's pages, opening a page when the limit allows.
// Returns false when there is nothing. Locks: LOCK_CLASS, LOCK_PAGES.
bool slab_refill(struct slab *slab, struct proc *proc, uint32_t class_id);

// How many chunks go into a magazine, or out of it, at once.
static inline uint32_t slab_batch(const struct slab *slab, uint32_t class_id) {
    return (slab->magazine_most[class_id] + 1u) / 2;
}

// Empties half of a magazine, or all of it, into the pages. Locks: LOCK_CLASS.
void slab_give_back(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t keep);

// Empties a hand: something else names the chunk for good. Requires: it is the caller's own, or its
// owner is dead.
static inline void slab_let_go(struct slab_local *local) {
    SHARED_DECIDE(local->hand, 0);
}

// Takes a chunk into the hand and returns it; 0 when the magazine is empty and cannot be filled.
// Requires: the hand is empty. Crash: the chunk is in the magazine or in hand; never lost.
static inline uint32_t slab_take(struct slab *slab, struct proc *proc, uint32_t class_id) {
    struct slab_local *local = slab->own;
    struct slab_magazine *magazine = &local->magazine[class_id];
    uint32_t count = magazine->count;
    if (UNLIKELY(count == 0)) {
        if (!slab_refill(slab, proc, class_id)) {
            return 0;
        }
        count = magazine->count;
    }
    PYMC_DEBUG_CHECK(!local->hand);
    uint32_t ref = magazine->refs[count - 1];
    SHARED_DECIDE(local->hand, ref);
    FAULT_POINT(proc, "slab.take.named");
    SHARED_DECIDE(magazine->count, count - 1);
    return ref;
}

// Takes a chunk of the caller's own structures in hand, which cease to name it right after.
// Requires: the hand is empty. Crash: both name it; the caller's repair says who yields.
static inline void slab_hold(const struct slab *slab, uint32_t ref) {
    struct slab_local *local = slab->own;
    PYMC_DEBUG_CHECK(!local->hand);
    SHARED_DECIDE(local->hand, ref);
}

// Gives the chunk in hand back. Requires: nothing else names it, and it no longer looks like an
// item.
static inline void slab_give(struct slab *slab, struct proc *proc) {
    struct slab_local *local = slab->own;
    uint32_t ref = local->hand;
    uint16_t page_class = SHARED_LOAD(slab->page_class[slab_page_of(slab, ref)]);
    uint32_t class_id = page_class & SLAB_CLASS_MASK;
    struct slab_magazine *magazine = &local->magazine[class_id];
    uint32_t most = slab->magazine_most[class_id];
    if (UNLIKELY(magazine->count >= most)) {
        slab_give_back(slab, proc, class_id, most - slab_batch(slab, class_id));
    }
    uint32_t count = magazine->count;
    SHARED_STORE(magazine->refs[count], ref);
    SHARED_DECIDE(magazine->count, count + 1);
    FAULT_POINT(proc, "slab.give.both");
    // Before the magazine gives it on to its page: a repairer looks for it in the magazine.
    slab_let_go(local);
    if (UNLIKELY(page_class & SLAB_DRAINING)) {
        slab_give_back(slab, proc, class_id, count);
    }
}

// A run of neighbouring chunks of one page.
struct slab_window {
    uint32_t page;
    uint32_t first_chunk;
    uint32_t count;
    uint32_t chunk_bytes;
};

// Moves the class's hand on by at most `chunks` chunks and says which it passed; count 0 when the
// class has none. Locks: the caller holds LOCK_CLASS.
void slab_hand_locked(struct slab *slab, uint32_t class_id, uint32_t chunks,
                      struct slab_window *out);

// The carved part of one page: what a scan has to look at. count 0 for pages of no class. No lock.
void slab_page_window(const struct slab *slab, uint32_t page, struct slab_window *out,
                      uint32_t *class_out);

// The page of the class with the most free chunks among those that have some, and how many; 0 when
// none has. Locks: LOCK_CLASS.
uint32_t slab_emptiest(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t *free_out);
// The page that the eviction hand visits next, and those behind it; returns how many. Locks:
// LOCK_CLASS.
uint32_t slab_pages_ahead(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t *pages,
                          uint32_t most);

// Starts to drain a page of the class: what is given back to it stays there. Returns false when the
// page is not the class's or not at rest, or when this process drains SLAB_DRAINS_MAX pages
// already. Crash: whoever takes the slot next gives the page back to its class. Locks: LOCK_CLASS.
bool slab_drain_begin(struct slab *slab, struct proc *proc, uint32_t class_id, uint32_t page);
// When all of a draining page's chunks are back: hands it to class `to_class` (0: the pool).
// Returns false until then. While classes have more pages than they may, it stays in the pool all
// the same.
bool slab_drain_end(struct slab *slab, struct proc *proc, uint32_t page, uint32_t to_class);
// Gives up draining: the page serves its class again. Does nothing to a page that another process
// drains by now.
void slab_drain_cancel(struct slab *slab, struct proc *proc, uint32_t page);
void slab_drain_cancel_all(struct slab *slab, struct proc *proc);
// Gives the pages back to their classes that processes which rest have begun to drain. Locks:
// LOCK_TURN_OTHER, LOCK_CLASS. Crash: a page may still be named by who began; that says nothing.
void slab_drain_cancel_resting(struct slab *slab, struct proc *proc);
// Whether another process has not given its turn away: it may hold chunks that it was asked for. A
// hint.
bool slab_others_work(const struct slab *slab, const struct proc *proc);
// Whether this process drains the page, for that class. No lock: it stays so until this process
// ends it.
static inline bool slab_drains_page(const struct slab *slab, const struct proc *proc,
                                    uint32_t page_index, uint32_t class_id) {
    const struct slab_page *page = &slab->pages[page_index];
    return SHARED_LOAD(page->state) == SLAB_PAGE_DRAINING
           && SHARED_LOAD(page->drainer) == proc->slot_index + 1
           && SHARED_LOAD(page->class_id) == class_id;
}

// An owner that rests lets others take chunks out of its magazines; it wakes before it uses them
// again. Owners that never rest keep their magazines to themselves. Locks: LOCK_TURN, held from
// waking to resting.
void slab_rest(struct slab *slab, struct proc *proc);
void slab_wake(struct slab *slab, struct proc *proc);
// From now on the magazines are the owner's alone. `is_awake`: it has rested, and is awake now;
// else it takes the turn first, as who follows a dead owner does.
void slab_end_rest(struct slab *slab, struct proc *proc, bool is_awake);
// Puts the chunks of one class back into their pages: those of this process, and of all that rest.
// Locks: LOCK_TURN_OTHER, LOCK_CLASS.
void slab_collect(struct slab *slab, struct proc *proc, uint32_t class_id);

// Restores what a dead process may have left half done under slab locks and frees these locks, then
// lets others at the magazines again that it was at, its own among them. What is in its hand
// afterwards is in no magazine. Takes no lock.
void slab_repair(struct slab *slab, struct proc *self, uint32_t dead_slot_index);

// Walks all lists; aborts on a contradiction. Requires: nobody else works in the arena.
void slab_check(const struct slab *slab);
