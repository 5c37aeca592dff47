// Noting an event in the process's own ring.
#include <time.h>

#include "watch/watch_internal.h"

// Readers are to look when so much of a ring is new: what follows until they do has to fit into the
// rest.
#define RIPE_PARTS 4

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

struct writing {
    char *data;
    uint64_t mask;    // The ring's bytes - 1.
    uint64_t at;
};

// Copies bytes to the ring, also around its end.
static void put(struct writing *to, const void *bytes, uint32_t count_bytes) {
    if (count_bytes == 0) {
        return;    // Then there may be no place that they come from.
    }
    uint64_t place = to->at & to->mask;
    uint64_t room = to->mask + 1 - place;
    uint64_t first = count_bytes < room ? count_bytes : room;
    racy_write(to->data + place, bytes, first);
    if (UNLIKELY(first < count_bytes)) {
        racy_write(to->data, (const char *)bytes + first, count_bytes - first);
    }
    to->at += count_bytes;
}

static struct watch_record record_of(const struct watch_event *event, uint32_t class) {
    uint32_t key_bytes =
        event->key_bytes < WATCH_KEY_BYTES_MAX ? event->key_bytes : WATCH_KEY_BYTES_MAX;
    uint32_t text_bytes =
        event->text_bytes < WATCH_TEXT_BYTES_MAX ? event->text_bytes : WATCH_TEXT_BYTES_MAX;
    uint32_t bytes =
        (uint32_t)sizeof(struct watch_record) + (event->address ? 16 : 0) + key_bytes + text_bytes;
    return (struct watch_record){.bytes = (uint16_t)((bytes + 7) & ~7u),
                                 .kind = event->kind,
                                 .class_number = (uint8_t)__builtin_ctz(class),
                                 .connection = event->connection,
                                 .size_bytes = event->size_bytes,
                                 .ttl_seconds = event->ttl_seconds,
                                 .idle_seconds = event->idle_seconds,
                                 .text_bytes = (uint16_t)text_bytes,
                                 .port = event->port,
                                 .key_bytes = (uint8_t)key_bytes,
                                 .status = event->status,
                                 .command = event->command,
                                 .class_id = event->class_id,
                                 .family = event->family,
                                 .is_datagram = event->is_datagram,
                                 .is_fetched = event->is_fetched,
                                 .has_address = event->address != NULL};
}

void watch_note(struct watch *watch, uint32_t class, const struct watch_event *event) {
    struct watch_root *root = watch->root;
    struct proc *proc = watch->proc;
    struct watch_ring *ring = watch_ring_at(proc->arena, root, proc->slot_index);
    struct watch_record record = record_of(event, class);
    struct writing to = {.data = watch_data_at(proc->arena, root, proc->slot_index),
                         .mask = root->ring_bytes - 1,
                         .at = ring->written};
    uint64_t begin = to.at;
    uint64_t end = begin + record.bytes;
    SHARED_STORE(ring->reserved, end);
    // A full fence: readers of the number see what was reserved before it was taken, and readers
    // of what is overwritten now see it too.
    record.gid = SHARED_ADD(root->gid, 1, ACQ_REL);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    record.time_us = now_us();
    uint32_t *seq = &ring->class_seq[record.class_number];
    record.class_seq = *seq;
    SHARED_STORE(*seq, *seq + 1);
    put(&to, &record, sizeof record);
    if (record.has_address) {
        put(&to, event->address, 16);
    }
    put(&to, event->key, record.key_bytes);
    put(&to, event->text, record.text_bytes);
    uint64_t part_bytes = root->ring_bytes / WATCH_MARKS;
    uint64_t part = begin / part_bytes;
    if (UNLIKELY(part != ring->marks[part % WATCH_MARKS] / part_bytes)) {
        SHARED_STORE(ring->marks[part % WATCH_MARKS], begin);
    }
    SHARED_RELEASE(ring->written, end);
    watch->is_ripe = end - watch->told > root->ring_bytes / RIPE_PARTS;
    count(proc, COUNTER_log_worker_written, 1);
}

void watch_told(struct watch *watch) {
    watch->is_ripe = false;
    watch->told = watch_ring_at(watch->proc->arena, watch->root, watch->proc->slot_index)->written;
}

void watch_note_text(struct watch *watch, uint32_t class, const char *text, uint32_t text_bytes) {
    if (watch_wants(watch, class)) {
        watch_note(
            watch, class,
            &(struct watch_event){.kind = WATCH_TEXT, .text = text, .text_bytes = text_bytes});
    }
}
