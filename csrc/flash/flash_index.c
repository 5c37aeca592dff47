// Looking up, adding, removing and moving entries of the fingerprint index.
#include "flash/flash_index.h"

#include "flash/flash_index_internal.h"

// So often a look-up looks without the lock; then it takes it, so that nobody keeps it from ending.
#define LOOKS_OPTIMISTIC 8

// Home bucket and version of the look `round`. Without the lock, or with it: then the version names
// this process.
static struct flash_home *look_begin(struct flash *flash, struct proc *proc, uint64_t hash,
                                     uint32_t round, uint64_t *version_out) {
    for (uint32_t tries = round; LIKELY(tries < LOOKS_OPTIMISTIC); tries++) {
        uint32_t number = flash_home_number(flash->index, hash);
        struct flash_home *home = flash_home_at(flash, number);
        uint64_t version = SHARED_ACQUIRE(home->words[0]);
        if (UNLIKELY(lock_is_held(version))) {
            lock_wait(proc, &home->words[0]);
        } else if (UNLIKELY(!version)) {
            // Memory that was given back and comes anew has this version too: no answer may rest on
            // it.
            flash_index_unlock(proc, flash_index_lock(flash, proc, hash), true);
        } else if (LIKELY(flash_home_number(flash->index, hash) == number)) {
            *version_out = version;
            return home;
        }
    }
    struct flash_home *home = flash_index_lock(flash, proc, hash);
    *version_out = SHARED_LOAD(home->words[0]);
    count(proc, COUNTER_optimistic_locked, 1);
    return home;
}

// Ends the look; true when what was seen is whole.
static bool look_ends(struct proc *proc, struct flash_home *home, uint64_t version) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (LIKELY(SHARED_LOAD(home->words[0]) == version)) {
        if (UNLIKELY(lock_is_held(version))) {
            flash_index_unlock(proc, home, false);
        }
        return true;
    }
    count(proc, COUNTER_read_retries, 1);
    return false;
}

uint32_t flash_find(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t *out) {
    uint64_t wanted = flash_fingerprint(flash->index, hash);
    for (uint32_t round = 0;; round++) {
        uint64_t version;
        struct flash_home *home = look_begin(flash, proc, hash, round, &version);
        struct flash_span span = flash_span_of(home);
        uint32_t found = 0;
        uint32_t depth = 0;
        do {
            for (uint32_t bits = flash_match(span, flash->index->fingerprint_mask, wanted); bits;
                 bits &= bits - 1) {
                uint64_t entry = SHARED_LOAD(span.words[__builtin_ctz(bits)]);
                if (entry && found < FLASH_CANDIDATES_MAX) {
                    out[found++] = entry;
                }
            }
        } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
        if (look_ends(proc, home, version)) {
            return found;
        }
    }
}

// The slot of an address in a chain, NULL when it is not there.
static uint64_t *find_slot(const struct flash *flash, struct flash_home *home, uint64_t hash,
                           uint64_t address) {
    const struct flash_index_root *root = flash->index;
    uint64_t mask = root->fingerprint_mask | flash->address_mask;
    uint64_t wanted = flash_fingerprint(root, hash) | address;
    struct flash_span span = flash_span_of(home);
    uint32_t depth = 0;
    do {
        for (uint32_t bits = flash_match(span, mask, wanted); bits; bits &= bits - 1) {
            uint64_t *slot = &span.words[__builtin_ctz(bits)];
            // Hash bits and address may all be 0: then empty slots look like it.
            if (SHARED_LOAD(*slot)) {
                return slot;
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
    return NULL;
}

uint64_t flash_entry_at(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address) {
    for (uint32_t round = 0;; round++) {
        uint64_t version;
        struct flash_home *home = look_begin(flash, proc, hash, round, &version);
        uint64_t *slot = find_slot(flash, home, hash, address);
        uint64_t entry = slot ? SHARED_LOAD(*slot) : 0;
        if (look_ends(proc, home, version)) {
            return entry;
        }
    }
}

struct flash_home *flash_index_lock_number(struct flash *flash, struct proc *proc,
                                           uint32_t number) {
    struct flash_home *home = flash_home_at(flash, number);
    // Named before it is taken, so that a repairer knows where to look.
    SHARED_RELEASE(flash_local(flash, proc->slot_index)->table.held, number + 1);
    lock_take(proc, &home->words[0], LOCK_FLASH);
    return home;
}

struct flash_home *flash_index_lock(struct flash *flash, struct proc *proc, uint64_t hash) {
    // Each time around is a split or a merge of this very bucket.
    for (;;) {
        uint32_t number = flash_home_number(flash->index, hash);
        struct flash_home *home = flash_index_lock_number(flash, proc, number);
        if (LIKELY(flash_home_number(flash->index, hash) == number)) {
            return home;
        }
        flash_index_unlock(proc, home, false);
    }
}

static void count_in(struct flash *flash, uint64_t address) {
    struct flash_page *page = &flash->pages[flash_address_page(flash, address)];
    SHARED_ADD(page->objects, 1, RELEASE);
}

static void count_out(struct flash *flash, uint64_t entry) {
    struct flash_page *page =
        &flash->pages[flash_address_page(flash, flash_entry_address(flash, entry))];
    if (entry & FLASH_READ_BIT) {
        SHARED_SUB(page->objects_read, 1, RELEASE);
    }
    SHARED_SUB(page->objects, 1, RELEASE);
}

int flash_put(struct flash *flash, struct proc *proc, struct flash_home *home, uint64_t entry,
              bool counts) {
    struct flash_span span = flash_span_of(home);
    uint32_t bits = flash_match(span, UINT64_MAX, 0);
    for (uint32_t depth = 0; !bits && flash_span_next(flash, &span); depth++) {
        bits = flash_match(span, UINT64_MAX, 0);
        // Readers look no further than this.
        if (!bits && depth == TABLE_CHAIN_MAX - 2) {
            return PYMC_TOO_LARGE;
        }
    }
    uint32_t taken = bits ? 0 : table_overflow_take(&flash->table, proc);
    if (!bits && !taken) {
        return PYMC_NO_MEMORY;
    }
    if (counts) {
        count_in(flash, flash_entry_address(flash, entry));
        FAULT_POINT(proc, "flash.index.insert.counted");
    }
    if (bits) {
        SHARED_RELEASE(span.words[__builtin_ctz(bits)], entry);
        FAULT_POINT(proc, "flash.index.insert.stored");
        return PYMC_OK;
    }
    uint64_t *last = flash_span_last(span);
    uint64_t *words = flash_overflow_at(flash, taken - 1)->words;
    SHARED_STORE(words[0], *last);
    SHARED_STORE(words[1], entry);
    FAULT_POINT(proc, "flash.index.chain.before");
    SHARED_RELEASE(*last, FLASH_LINK | (taken - 1));
    FAULT_POINT(proc, "flash.index.chain.after");
    SHARED_RELEASE(flash_local(flash, proc->slot_index)->table.overflow_taken, 0);
    return PYMC_OK;
}

// A chain that readers would not follow any further loses an entry of its last bucket. Only chosen
// keys, or millions of equal hashes, make one; so what goes need not be chosen with care. Its
// record is dead weight until its page goes.
static void drop_last(struct flash *flash, struct proc *proc, struct flash_home *home) {
    struct flash_span span = flash_span_of(home);
    for (uint32_t depth = 0; depth < TABLE_CHAIN_MAX && flash_span_next(flash, &span); depth++) {
    }
    flash_take_out(flash, proc, &span.words[flash_span_first(span)]);
    count(proc, COUNTER_ext_chain_full, 1);
}

// Entries of a locked chain that a look-up of the hash would find.
static uint32_t count_alike(const struct flash *flash, struct flash_home *home, uint64_t hash) {
    uint64_t wanted = flash_fingerprint(flash->index, hash);
    struct flash_span span = flash_span_of(home);
    uint32_t alike = 0;
    uint32_t depth = 0;
    do {
        for (uint32_t bits = flash_match(span, flash->index->fingerprint_mask, wanted); bits;
             bits &= bits - 1) {
            alike += span.words[__builtin_ctz(bits)] != 0;
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
    return alike;
}

int flash_insert(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address,
                 uint32_t record_bytes) {
    PYMC_DEBUG_CHECK(record_bytes <= FLASH_RECORD_BYTES_MAX);
    PYMC_DEBUG_CHECK(flash_address_page(flash, address) < flash->root->page_count);
    uint64_t entry = flash_fingerprint(flash->index, hash)
                     | (uint64_t)flash_size_class(record_bytes) << FLASH_SIZE_SHIFT | address;
    struct flash_home *home = flash_index_lock(flash, proc, hash);
    if (UNLIKELY(count_alike(flash, home, hash) >= FLASH_CANDIDATES_MAX)) {
        flash_index_unlock(proc, home, false);
        return PYMC_BUSY;
    }
    int status = flash_put(flash, proc, home, entry, true);
    bool is_full = status == PYMC_TOO_LARGE;
    if (UNLIKELY(is_full)) {
        drop_last(flash, proc, home);
        status = flash_put(flash, proc, home, entry, true);
    }
    flash_index_unlock(proc, home, status == PYMC_OK || is_full);
    if (status == PYMC_OK) {
        flash_count_entries(flash, proc, !is_full);
    }
    return status;
}

void flash_take_out(struct flash *flash, struct proc *proc, uint64_t *slot) {
    uint64_t entry = *slot;
    SHARED_RELEASE(*slot, 0);
    FAULT_POINT(proc, "flash.index.remove.cleared");
    count_out(flash, entry);
}

// Moves entries from the last bucket of the chain into holes before it; false while it keeps more
// than one.
static bool pull_forward(struct flash *flash, struct proc *proc, struct flash_home *home,
                         struct flash_span last) {
    uint32_t full = ~flash_match(last, UINT64_MAX, 0) & ((1u << FLASH_OVERFLOW_WORDS) - 1);
    struct flash_span span = flash_span_of(home);
    do {
        uint32_t holes = flash_match(span, UINT64_MAX, 0);
        for (; holes && (full & (full - 1)); holes &= holes - 1, full &= full - 1) {
            uint64_t *from = &last.words[__builtin_ctz(full)];
            // In both places for an instant; a repairer removes the second.
            SHARED_RELEASE(span.words[__builtin_ctz(holes)], *from);
            FAULT_POINT(proc, "flash.index.pull.copied");
            SHARED_RELEASE(*from, 0);
        }
    } while ((full & (full - 1)) && flash_span_next(flash, &span) && span.words != last.words);
    return !(full & (full - 1));
}

void flash_compact(struct flash *flash, struct proc *proc, struct flash_home *home) {
    struct table_local *local = &flash_local(flash, proc->slot_index)->table;
    for (uint32_t buckets = 0; buckets < TABLE_CHAIN_MAX; buckets++) {
        struct flash_span before = flash_span_of(home);
        struct flash_span last = before;
        if (!flash_span_next(flash, &last)) {
            return;
        }
        uint32_t depth = 0;
        for (struct flash_span next = last;
             depth++ < TABLE_CHAIN_MAX && flash_span_next(flash, &next); last = next) {
            before = last;
        }
        if (!pull_forward(flash, proc, home, last)) {
            return;
        }
        uint32_t full = ~flash_match(last, UINT64_MAX, 0) & ((1u << FLASH_OVERFLOW_WORDS) - 1);
        uint64_t *link = flash_span_last(before);
        SHARED_RELEASE(local->overflow_taken, (uint32_t)(*link & ~FLASH_LINK) + 1);
        FAULT_POINT(proc, "flash.index.detach.named");
        // The link's slot takes the only entry that is left.
        SHARED_RELEASE(*link, full ? last.words[__builtin_ctz(full)] : 0);
        FAULT_POINT(proc, "flash.index.detach.done");
        table_overflow_give(&flash->table, proc, local);
    }
}

bool flash_remove(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address) {
    struct flash_home *home = flash_index_lock(flash, proc, hash);
    uint64_t *slot = find_slot(flash, home, hash, address);
    if (slot) {
        flash_take_out(flash, proc, slot);
        flash_compact(flash, proc, home);
    }
    flash_index_unlock(proc, home, slot != NULL);
    if (slot) {
        flash_count_entries(flash, proc, -1);
    }
    return slot != NULL;
}

static uint64_t chances(const struct flash_index_root *root) {
    int64_t entries = SHARED_LOAD(root->table.entries);
    return entries > 0 ? (uint64_t)entries / FLASH_CHANCES_ENTRIES : 0;
}

uint32_t flash_remove_all(struct flash *flash, struct proc *proc, uint64_t hash) {
    // Each entry of another key that the index holds may have these bits; see
    // FLASH_CHANCES_ENTRIES.
    count(proc, COUNTER_ext_index_chances, chances(flash->index));
    uint64_t found[FLASH_CANDIDATES_MAX];
    // Nobody but the caller adds entries for the key, so what is not there will not come.
    if (LIKELY(!flash_find(flash, proc, hash, found))) {
        return 0;
    }
    uint64_t wanted = flash_fingerprint(flash->index, hash);
    uint32_t removed = 0;
    struct flash_home *home = flash_index_lock(flash, proc, hash);
    struct flash_span span = flash_span_of(home);
    uint32_t depth = 0;
    do {
        for (uint32_t bits = flash_match(span, flash->index->fingerprint_mask, wanted); bits;
             bits &= bits - 1) {
            uint64_t *slot = &span.words[__builtin_ctz(bits)];
            if (*slot) {
                flash_take_out(flash, proc, slot);
                removed++;
            }
        }
    } while (flash_span_next(flash, &span) && depth++ < TABLE_CHAIN_MAX);
    if (removed) {
        flash_compact(flash, proc, home);
    }
    flash_index_unlock(proc, home, removed != 0);
    flash_count_entries(flash, proc, -(int64_t)removed);
    return removed;
}

bool flash_move(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t from, uint64_t to) {
    PYMC_DEBUG_CHECK(flash_address_page(flash, to) < flash->root->page_count);
    struct flash_home *home = flash_index_lock(flash, proc, hash);
    uint64_t *slot = find_slot(flash, home, hash, from);
    if (slot) {
        uint64_t entry = *slot;
        count_in(flash, to);
        FAULT_POINT(proc, "flash.index.move.counted");
        SHARED_RELEASE(*slot, (entry & ~(FLASH_READ_BIT | flash->address_mask)) | to);
        FAULT_POINT(proc, "flash.index.move.stored");
        count_out(flash, entry);
    }
    flash_index_unlock(proc, home, slot != NULL);
    return slot != NULL;
}

bool flash_mark_read(struct flash *flash, struct proc *proc, uint64_t hash, uint64_t address) {
    uint64_t entry = flash_entry_at(flash, proc, hash, address);
    if (!entry || (entry & FLASH_READ_BIT)) {
        return entry != 0;
    }
    struct flash_home *home = flash_index_lock(flash, proc, hash);
    uint64_t *slot = find_slot(flash, home, hash, address);
    bool was_read = slot && (*slot & FLASH_READ_BIT);
    if (slot && !was_read) {
        struct flash_page *page = &flash->pages[flash_address_page(flash, address)];
        SHARED_ADD(page->objects_read, 1, RELEASE);
        FAULT_POINT(proc, "flash.index.mark.counted");
        SHARED_RELEASE(*slot, *slot | FLASH_READ_BIT);
    }
    flash_index_unlock(proc, home, slot && !was_read);
    return was_read;
}
