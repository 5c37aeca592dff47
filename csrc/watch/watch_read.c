// Reading all rings as one stream, in the order of the events' numbers.
#include <stdio.h>
#include <stdlib.h>

#include "watch/watch_internal.h"

// So often a writer in the middle of a record is looked at again; it is done in a fraction of that.
#define BUSY_LOOKS 200
// A writer that stands still within a record holds the stream up for so many calls at most.
#define HELD_CALLS_MAX 50
#define SNAPSHOTS_MAX 100

struct cursor {
    uint64_t position;
    uint64_t limit;                       // What was written when this call began.
    uint32_t class_seq[WATCH_CLASSES];    // Of the next event of each class ...
    bool knows_seq;                       // ... if that is known.
    bool has_record;
    struct watch_record record;    // At the position, if has_record.
};

struct watch_reader {
    struct watch_root *root;
    struct proc *proc;
    uint32_t place;    // In root->readers.
    uint32_t classes;
    uint64_t first_gid;    // Events up to this number happened before.
    uint64_t safe_gid;     // All events up to this number are there to be read.
    uint32_t held_calls;
    uint64_t missed;    // Not yet told of.
    uint32_t slots;
    struct cursor cursors[];
};

static struct watch_ring *ring_of(const struct watch_reader *reader, uint32_t slot) {
    return watch_ring_at(reader->proc->arena, reader->root, slot);
}

// Copies bytes out of a ring. Returns false when they were, or may have been, overwritten.
static bool copy_out(const struct watch_reader *reader, uint32_t slot, uint64_t position, void *to,
                     uint32_t bytes) {
    const struct watch_ring *ring = ring_of(reader, slot);
    const char *data = watch_data_at(reader->proc->arena, reader->root, slot);
    uint64_t ring_bytes = reader->root->ring_bytes;
    uint64_t place = position & (ring_bytes - 1);
    uint64_t first = bytes < ring_bytes - place ? bytes : ring_bytes - place;
    racy_copy(to, data + place, first);
    racy_copy((char *)to + first, data, bytes - first);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return SHARED_LOAD(ring->reserved) - position <= ring_bytes;
}

// Where the ring's writer is now, and the numbers that belong to that place.
static void begin_here(const struct watch_reader *reader, uint32_t slot, struct cursor *cursor) {
    const struct watch_ring *ring = ring_of(reader, slot);
    for (uint32_t i = 0; i < SNAPSHOTS_MAX && !cursor->knows_seq; i++) {
        cursor->position = SHARED_ACQUIRE(ring->written);
        for (uint32_t class = 0; class < WATCH_CLASSES; class ++) {
            cursor->class_seq[class] = SHARED_LOAD(ring->class_seq[class]);
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        cursor->knows_seq = SHARED_LOAD(ring->reserved) == cursor->position;
    }
}

// What the cursor stood at is gone: it goes on at the first known beginning of a record in the
// newer half of the ring.
static void overtaken(const struct watch_reader *reader, uint32_t slot, struct cursor *cursor) {
    const struct watch_ring *ring = ring_of(reader, slot);
    uint64_t written = SHARED_ACQUIRE(ring->written);
    uint64_t best = written;
    for (uint32_t i = 0; i < WATCH_MARKS; i++) {
        uint64_t mark = SHARED_LOAD(ring->marks[i]);
        if (mark > cursor->position && mark < best
            && written - mark <= reader->root->ring_bytes / 2) {
            best = mark;
        }
    }
    cursor->position = best;
    cursor->limit = cursor->limit > best ? cursor->limit : best;
}

// Loads the record at the cursor; false when there is none up to its limit.
static bool load(struct watch_reader *reader, uint32_t slot, struct cursor *cursor) {
    struct watch_record *record = &cursor->record;
    while (!cursor->has_record && cursor->position < cursor->limit) {
        bool is_there = copy_out(reader, slot, cursor->position, record, sizeof *record);
        bool can_be = is_there && record->bytes >= 8 && record->bytes % 8 == 0
                      && record->bytes <= WATCH_RECORD_BYTES_MAX
                      && record->class_number < WATCH_CLASSES;
        if (UNLIKELY(!can_be)) {
            overtaken(reader, slot, cursor);
        } else if (UNLIKELY(record->kind == WATCH_NOTHING)) {
            cursor->position += record->bytes;
        } else {
            cursor->has_record = true;
        }
    }
    return cursor->has_record;
}

// Notes how far each ring is. Returns the number up to which the stream can go on now.
static uint64_t find_limits(struct watch_reader *reader) {
    uint64_t gid = SHARED_ACQUIRE(reader->root->gid);
    bool is_held = false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t slot = 0; slot < reader->slots; slot++) {
        const struct watch_ring *ring = ring_of(reader, slot);
        uint64_t reserved = SHARED_ACQUIRE(ring->reserved);
        uint64_t written = SHARED_ACQUIRE(ring->written);
        for (uint32_t look = 0; look < BUSY_LOOKS && written < reserved; look++) {
            written = SHARED_ACQUIRE(ring->written);
        }
        is_held |= written < reserved;
        reader->cursors[slot].limit = written;
    }
    reader->held_calls = is_held ? reader->held_calls + 1 : 0;
    if (!is_held || reader->held_calls > HELD_CALLS_MAX) {
        reader->safe_gid = gid;
    }
    return reader->safe_gid;
}

// The ring with the lowest number up to `gid`; UINT32_MAX for none.
static uint32_t next_slot(struct watch_reader *reader, uint64_t gid) {
    uint32_t best = UINT32_MAX;
    for (uint32_t slot = 0; slot < reader->slots; slot++) {
        struct cursor *cursor = &reader->cursors[slot];
        if ((cursor->has_record || cursor->position < cursor->limit) && load(reader, slot, cursor)
            && cursor->record.gid <= gid) {
            gid = cursor->record.gid;
            best = slot;
        }
    }
    return best;
}

// Counts what was lost of the record's class since the last one.
static void note_missed(struct watch_reader *reader, struct cursor *cursor, bool was_slow) {
    uint32_t class = cursor->record.class_number;
    uint32_t missed = cursor->record.class_seq - cursor->class_seq[class];
    if (UNLIKELY(missed && cursor->knows_seq)) {
        reader->missed += missed;
        count(reader->proc, was_slow ? COUNTER_log_watcher_skipped : COUNTER_log_worker_dropped,
              missed);
    }
    cursor->class_seq[class] = cursor->record.class_seq + 1;
}

static char *put_missed(struct watch_reader *reader, char *at) {
    if (LIKELY(!reader->missed)) {
        return at;
    }
    at += snprintf(at, WATCH_LINE_BYTES_MAX, "skipped=%llu\n", (unsigned long long)reader->missed);
    reader->missed = 0;
    return at;
}

// Puts the record's line, if it is wanted and still there.
static char *put_record(struct watch_reader *reader, uint32_t slot, bool was_slow, char *at) {
    struct cursor *cursor = &reader->cursors[slot];
    const struct watch_record *record = &cursor->record;
    char tail[WATCH_RECORD_BYTES_MAX];
    uint32_t tail_bytes =
        record->bytes > sizeof *record ? record->bytes - (uint32_t)sizeof *record : 0;
    bool is_wanted =
        (reader->classes >> record->class_number & 1) && record->gid > reader->first_gid;
    if (!is_wanted) {
        // Passed over, not missed.
        cursor->class_seq[record->class_number] = record->class_seq + 1;
        return at;
    }
    if (UNLIKELY((record->has_address ? 16u : 0) + record->key_bytes + record->text_bytes
                 > tail_bytes)
        || !copy_out(reader, slot, cursor->position + sizeof *record, tail, tail_bytes)
        || SHARED_LOAD(ring_of(reader, slot)->reserved) - cursor->position
               > reader->root->ring_bytes) {
        return at;    // It counts as missed when the next one of its class is met.
    }
    note_missed(reader, cursor, was_slow);
    at = put_missed(reader, at);
    count(reader->proc, COUNTER_log_watcher_sent, 1);
    return watch_put_line(at, record, tail);
}

uint32_t watch_reader_lines(struct watch_reader *reader, char *place, uint32_t room_bytes,
                            bool was_slow) {
    uint64_t gid = find_limits(reader);
    char *at = place;
    while (room_bytes - (uint32_t)(at - place) >= WATCH_LINE_BYTES_MAX) {
        uint32_t slot = next_slot(reader, gid);
        if (slot == UINT32_MAX) {
            break;
        }
        at = put_record(reader, slot, was_slow, at);
        struct cursor *cursor = &reader->cursors[slot];
        cursor->position += cursor->record.bytes;
        cursor->has_record = false;
    }
    return (uint32_t)(at - place);
}

// Takes a free place in the list of who watches; UINT32_MAX when there is none.
static uint32_t take_place(struct watch_root *root, uint32_t slot_index, uint32_t classes) {
    uint64_t mine = (uint64_t)classes << WATCH_CLASSES_SHIFT | (slot_index + 1);
    for (uint32_t i = 0; i < WATCH_READERS_MAX; i++) {
        uint64_t expected = 0;
        if (SHARED_CAS(root->readers[i], &expected, mine, ACQ_REL)) {
            return i;
        }
    }
    return UINT32_MAX;
}

int watch_reader_open(struct proc *proc, uint32_t classes, struct watch_reader **reader_out) {
    struct watch_root *root = watch_root_of(proc->arena);
    if (!root) {
        return PYMC_INVALID;
    }
    struct watch_reader *reader = calloc(1, sizeof *reader + root->slots * sizeof(struct cursor));
    if (!reader) {
        return PYMC_NO_MEMORY;
    }
    uint32_t place = take_place(root, proc->slot_index, classes);
    if (place == UINT32_MAX) {
        free(reader);
        return PYMC_BUSY;
    }
    *reader = (struct watch_reader){
        .root = root, .proc = proc, .place = place, .classes = classes, .slots = root->slots};
    for (uint32_t slot = 0; slot < reader->slots; slot++) {
        begin_here(reader, slot, &reader->cursors[slot]);
    }
    reader->first_gid = reader->safe_gid = SHARED_ACQUIRE(root->gid);
    watch_recount(root);
    count(proc, COUNTER_log_watchers, 1);
    *reader_out = reader;
    return PYMC_OK;
}

void watch_reader_close(struct watch_reader *reader) {
    if (reader) {
        SHARED_RELEASE(reader->root->readers[reader->place], 0);
        watch_recount(reader->root);
        count(reader->proc, COUNTER_log_watchers, (uint64_t)-1);
        free(reader);
    }
}
