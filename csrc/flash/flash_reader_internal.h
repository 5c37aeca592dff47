// A reader inside: its table of reads, its memory, and what a back end has to do.
#pragma once

#include "flash/flash_internal.h"
#include "flash/flash_reader.h"

// Memory of reads comes from spans, each cut into slots of one size: 1 KiB to 64 KiB.
#define FLASH_SPAN_SHIFT 16
#define FLASH_SLOT_SHIFT_MIN 10
#define FLASH_SLOT_SHIFTS (FLASH_SPAN_SHIFT - FLASH_SLOT_SHIFT_MIN + 1)

struct flash_memory_span {
    uint64_t free_slots;        // One bit per slot.
    uint32_t next;              // Spans with free slots of one size, and wholly free ones: number + 1.
    uint32_t previous;
    uint32_t slot_shift;        // 0 while no slot is taken.
};

struct flash_memory {
    char *base;                 // One mapping, so that it can be registered with the kernel as one buffer.
    uint64_t bytes;
    struct flash_memory_span *spans;
    uint32_t span_count;
    uint32_t fresh;             // Spans from here on were never used.
    uint32_t free_span;         // Number + 1.
    uint32_t first[FLASH_SLOT_SHIFTS];
};

MUST_CHECK int flash_memory_open(struct flash_memory *memory, uint64_t bytes);
void flash_memory_close(struct flash_memory *memory);
// What a read of `bytes` is charged for.
uint64_t flash_memory_charge(uint64_t bytes);
// Aligned to FLASH_BLOCK_BYTES, or to `bytes` rounded up to a power of two if that is less; NULL when there is none.
// Reads too large for a slot, or coming when the spans are used up, are allocated.
char *flash_memory_take(struct flash_memory *memory, uint64_t bytes);
void flash_memory_give(struct flash_memory *memory, char *taken);
static inline bool flash_memory_has(const struct flash_memory *memory, const char *place) {
    return (uint64_t)(place - memory->base) < memory->bytes;
}

// A read with what its holders do not see.
struct flash_reading {
    struct flash_read seen;         // First, so that a pointer to one is a pointer to the other.
    struct flash_reading *chain;    // The next in its bucket of the table.
    struct flash_reading *next;     // In the queue, in a back end's list, or on the free list.
    struct flash_waiter waiters;    // The head of their ring.
    char *memory;
    uint64_t page_offset;           // Where the read begins; the record begins `skip` bytes later.
    uint64_t file_offset;
    uint64_t begun_us;              // When it was handed to the device.
    int64_t result;                 // Bytes, or -errno.
    uint32_t bytes;                 // Asked of the device.
    uint32_t skip;
    uint32_t record_bytes_most;
    uint8_t path;
    bool is_in_table;
};

struct flash_chain {
    struct flash_waiter *first;
    struct flash_waiter **end;
};

// How reads get to the device. The table's thread calls; each read that was started is completed once.
struct flash_reader_back {
    int (*open)(struct flash_reader *reader, const struct flash_reader_options *options);
    // Waits until nothing is under way, without completing it.
    void (*close)(struct flash_reader *reader);
    void (*start)(struct flash_reader *reader, struct flash_reading *reading);
    void (*submit)(struct flash_reader *reader);
    // Calls flash_reader_complete() for all that is done.
    void (*collect)(struct flash_reader *reader, struct flash_chain *woken);
    bool (*has_done)(const struct flash_reader *reader);
    int kind;
    bool uses_flash_io;             // Which counts errors and slow reads, and applies faults.
};
const struct flash_reader_back *flash_uring_back(void);
const struct flash_reader_back *flash_threads_back(void);

struct flash_uring;
struct flash_threads;

#define FLASH_READER_CHUNKS 24

struct flash_reader {
    struct flash *flash;
    struct proc *proc;
    const struct flash_reader_back *back;
    struct flash_uring *uring;
    struct flash_threads *threads;
    uint64_t *times;
    int event_fd;
    uint32_t depth;
    uint32_t under_way;
    uint32_t queued;
    uint32_t unsubmitted;           // Under way for the table, but the kernel had no room for them yet.
    struct flash_reading *queue_first;
    struct flash_reading *queue_last;
    struct flash_reading **table;
    uint32_t table_shift;           // 64 - bits of its size.
    struct flash_reading *free;
    uint32_t in_use;                // Readings not on the free list.
    uint32_t chunk_count;
    struct flash_reading *chunks[FLASH_READER_CHUNKS];
    uint32_t readings;
    struct flash_memory memory;
    uint64_t memory_used;
    uint64_t memory_bound;
    struct flash_waiter starving;   // The head of their ring, by ticket.
    uint64_t ticket;
    uint64_t lacked_bytes;          // What the last refused read would have needed.
    uint32_t passes;                // Starving ones that were woken and may begin, though others still starve.
    bool is_signalled;
};

// A read that was started is done: `result` is the bytes read, or -errno.
void flash_reader_complete(struct flash_reader *reader, struct flash_reading *reading, int64_t result, uint64_t now_us,
                           struct flash_chain *woken);
// Makes the descriptor readable, so that the reader's owner comes and reaps.
void flash_reader_signal(struct flash_reader *reader);
