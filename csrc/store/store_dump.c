// Dumps of live items: walks that write a line for each (metadump, mgdump, cachedump).
//
// A dump of keys goes through the index in the order of the reversed bits of the hash. Whatever the
// number of buckets is, each bucket has one interval of that order; when it splits or is merged it
// has a half or the double of it. So a cursor that is a place in this order stays true while the
// index grows and shrinks: who is there all the time is named once, whether its bucket splits, its
// chunk moves or its value is replaced meanwhile.
#include "base/bits_inline.h"
#include "link/link_find_inline.h"
#include "store/store_dump_inline.h"

// So often a bucket that changes meanwhile is looked at again before it is locked.
#define LOOKS_MAX 8
#define POSITION_BITS 64

struct dump {
    struct store *store;
    const uint64_t *class_mask;
    int kind;
    char *place;
    uint32_t place_bytes;
    uint32_t used;
    uint32_t lines;
    uint32_t looks;    // Entries and buckets that were looked at.
};

// Part of the order: both ends belong to it.
struct span {
    uint64_t first;
    uint64_t last;
    bool is_whole;    // All that the bucket has.
};

static bool is_wanted(const struct dump *dump, uint32_t class_id) {
    return !dump->class_mask || (dump->class_mask[class_id / 64] >> class_id % 64 & 1);
}

static bool has_room(const struct dump *dump) {
    return dump->used + STORE_DUMP_LINE_BYTES_MAX <= dump->place_bytes;
}

// Writes an item's line, unless it is dead. What was torn by a writer is found out by the bucket's
// version.
static void put_item(struct dump *dump, const struct item *item, uint32_t class_id) {
    struct store *store = dump->store;
    uint32_t state = item_state_of(item);
    if ((state & (ITEM_LINKED | ITEM_PART)) != ITEM_LINKED || link_is_dead(store, item, state)) {
        return;
    }
    char key[256];
    struct store_dump_entry entry = {
        .key = key,
        .key_bytes = item_key_bytes(SHARED_LOAD(item->sizes)),
        .state = state,
        .class_id = class_id,
        .time_seconds = SHARED_LOAD(item->time_seconds),
        .expiry_seconds = item_expiry(item, state),
        .client_flags = item_client_flags(item, state),
        .cas = link_cas_of(store, item, state),
        .value_bytes = item_value_bytes(item, state),
        .item_bytes = item_total_bytes(item, state),
    };
    racy_copy(key, item_key(item, state), entry.key_bytes);
    dump->used += store_dump_line(store, &entry, dump->kind, dump->place + dump->used);
    dump->lines++;
}

// Writes the lines of a chain's items in the span; false when there is no room for all of them.
static bool put_chain(struct dump *dump, const struct bucket *bucket, const struct span *span) {
    const struct index *index = &dump->store->index;
    for (uint32_t depth = 0; bucket && depth < INDEX_CHAIN_MAX; depth++) {
        for (uint32_t slot = 0; slot < INDEX_SLOTS; slot++) {
            if (!SHARED_LOAD(bucket->tags[slot])) {
                continue;
            }
            uint32_t ref = SHARED_LOAD(bucket->refs[slot]);
            uint32_t class_id = slab_class_of(&dump->store->slab, ref);
            dump->looks++;
            if (!is_wanted(dump, class_id)) {
                continue;
            }
            if (UNLIKELY(!span->is_whole)) {
                uint64_t at = bits_reversed(index->hash_of(index->hash_context, ref));
                if (at < span->first || at > span->last) {
                    continue;
                }
            }
            if (UNLIKELY(!has_room(dump))) {
                return false;
            }
            put_item(dump, link_item(dump->store, ref), class_id);
        }
        bucket = index_next(index, bucket);
    }
    return true;
}

// Cuts the span to what the bucket `home` of `count` has of it.
static void fit_to_bucket(struct span *span, uint32_t home, uint32_t count) {
    uint32_t bits = 32 - (uint32_t)__builtin_clz(count);
    uint32_t half = 1u << (bits - 1);
    // Its other half is no bucket of its own yet.
    bits -= home < half && home + half >= count;
    uint64_t first = bits_reversed(home);
    uint64_t last = bits ? first | UINT64_MAX >> bits : UINT64_MAX;
    span->is_whole = span->first == first && span->last >= last;
    span->last = span->last < last ? span->last : last;
}

// The buckets after next, and what the next one has, are on their way while this one is looked at.
static void prefetch_ahead(const struct store *store, const struct span *span) {
    uint64_t width = span->last - span->first + 1;
    const struct bucket *next =
        &store->index.buckets[index_home(&store->index, bits_reversed(span->last + 1))];
    for (uint32_t slot = 0; slot < INDEX_SLOTS - 1; slot++) {
        if (SHARED_LOAD(next->tags[slot])) {
            __builtin_prefetch(link_item(store, SHARED_LOAD(next->refs[slot])));
        }
    }
    __builtin_prefetch(
        &store->index.buckets[index_home(&store->index, bits_reversed(span->last + 1 + width))]);
}

// Takes no lock. Returns false when the bucket changed meanwhile.
static bool look(struct dump *dump, struct span *span, bool *fits_out) {
    struct store *store = dump->store;
    struct table_root *root = store->index.root;
    uint64_t hash = bits_reversed(span->first);
    uint64_t resizes = SHARED_ACQUIRE(root->grow_lock);
    uint32_t count_before = SHARED_ACQUIRE(root->bucket_count);
    uint32_t home = table_home_of(hash, count_before);
    struct bucket *bucket = &store->index.buckets[home];
    uint64_t version = SHARED_ACQUIRE(bucket->word);
    if (lock_is_held(version)) {
        uint32_t rounds_left = lock_rounds_max(store->proc);
        lock_wait_bounded(store->proc, &bucket->word, &rounds_left);
        return false;
    }
    fit_to_bucket(span, home, count_before);
    prefetch_ahead(store, span);
    *fits_out = put_chain(dump, bucket, span);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    // A bucket that was merged away reads as zeroes: then nothing may have been merged meanwhile.
    return SHARED_LOAD(bucket->word) == version && index_home(&store->index, hash) == home
           && (version || (!lock_is_held(resizes) && SHARED_LOAD(root->grow_lock) == resizes));
}

// The same under the lock. Returns false when another process holds the bucket.
static bool look_locked(struct dump *dump, struct span *span, bool *fits_out) {
    struct store *store = dump->store;
    struct bucket *bucket = index_lock(&store->index, store->proc, bits_reversed(span->first));
    if (UNLIKELY(!bucket)) {
        return false;
    }
    fit_to_bucket(span, (uint32_t)(bucket - store->index.buckets),
                  SHARED_LOAD(store->index.root->bucket_count));
    *fits_out = put_chain(dump, bucket, span);
    index_unlock(store->proc, bucket, false);
    return true;
}

// Writes the lines of the bucket at the cursor and moves it on; false when they do not fit into
// what room there is, or another process holds the bucket. When they do not fit into all of the
// place, it takes as large a part of the bucket as does.
static bool dump_bucket(struct dump *dump, uint64_t *position) {
    struct span span = {.first = *position, .last = UINT64_MAX};
    uint32_t used = dump->used;
    uint32_t lines = dump->lines;
    uint32_t changes = 0;
    bool fits = false;
    dump->looks++;
    for (uint32_t i = 0; !fits && i < LOOKS_MAX + POSITION_BITS; i++) {
        uint64_t end = span.last;
        dump->used = used;
        dump->lines = lines;
        if (changes == LOOKS_MAX) {
            if (!look_locked(dump, &span, &fits)) {
                return false;    // It is the next one again in the next step.
            }
        } else if (!look(dump, &span, &fits)) {
            count(dump->store->proc, COUNTER_read_retries, 1);
            fits = false;
            span.last = end;
            changes++;
            continue;
        }
        if (!fits && used) {
            break;
        }
        if (!fits) {
            span.last = span.first + (span.last - span.first) / 2;
        }
    }
    if (!fits && used) {
        dump->used = used;
        dump->lines = lines;
        return false;
    }
    *position = span.last + 1;
    return true;
}

static bool dump_index(struct dump *dump, struct space_cursor *cursor, uint32_t chunks) {
    bool goes_on = true;
    while (goes_on && dump->looks < chunks && dump_bucket(dump, &cursor->position)) {
        goes_on = cursor->position != 0;    // Behind the last place comes the first.
    }
    return goes_on;
}

// Page by page, in the order in which chunks were handed out.
static bool dump_pages(struct dump *dump, struct space_cursor *cursor, uint32_t chunks) {
    struct store *store = dump->store;
    uint32_t pages = SHARED_LOAD(store->slab.root->pages_begun);
    cursor->page = cursor->page ? cursor->page : 1;
    for (; cursor->page <= pages && chunks > 0 && has_room(dump); chunks--) {
        struct slab_window window;
        uint32_t class_id;
        slab_page_window(&store->slab, cursor->page, &window, &class_id);
        if (!is_wanted(dump, class_id) || cursor->chunk >= window.count) {
            cursor->page++;
            cursor->chunk = 0;
            continue;
        }
        uint32_t ref = slab_ref(&store->slab, cursor->page, cursor->chunk++, window.chunk_bytes);
        struct link_locked locked;
        if (link_lock_ref(store, ref, &locked)) {
            put_item(dump, locked.item, locked.class_id);
            link_unlock(store, &locked, false);
        }
    }
    return cursor->page <= pages;
}

uint32_t store_dump_step(struct store *store, struct space_cursor *cursor, int kind,
                         uint32_t chunks, const uint64_t *class_mask, char *place,
                         uint32_t place_bytes, bool *more_out) {
    struct dump dump = {.store = store,
                        .class_mask = class_mask,
                        .kind = kind,
                        .place = place,
                        .place_bytes = place_bytes};
    *more_out = kind == STORE_DUMP_CACHE ? dump_pages(&dump, cursor, chunks)
                                         : dump_index(&dump, cursor, chunks);
    cursor->items_seen += dump.lines;
    return dump.used;
}
