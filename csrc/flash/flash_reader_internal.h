// A reader inside: its table of reads, its memory, and what a back end has to do.
#pragma once

#include "flash/flash_internal.h"
#include "flash/flash_reader.h"

// Memory of reads comes from spans, each cut into slots of one size: 1 KiB to 64 KiB.
#define FLASH_SPAN_SHIFT 16
#define FLASH_SLOT_SHIFT_MIN 10
#define FLASH_SLOT_SHIFTS (FLASH_SPAN_SHIFT - FLASH_SLOT_SHIFT_MIN + 1)

struct flash_memory_span {
    uint64_t free_slots;    // One bit per slot.
    uint32_t next;          // Spans with free slots of one size, and wholly free ones: number + 1.
    uint32_t previous;
    uint32_t slot_shift;    // 0 while no slot is taken.
};

struct flash_memory {
    char *base;    // One mapping, so that it can be registered with the kernel as one buffer.
    uint64_t bytes;
    struct flash_memory_span *spans;
    uint32_t span_count;
    uint32_t fresh;        // Spans from here on were never used.
    uint32_t free_span;    // Number + 1.
    uint32_t first[FLASH_SLOT_SHIFTS];
};

MUST_CHECK int flash_memory_open(struct flash_memory *memory, uint64_t bytes);
void flash_memory_close(struct flash_memory *memory);
// What a read of `bytes` is charged for.
uint64_t flash_memory_charge(uint64_t bytes);
// Aligned to FLASH_BLOCK_BYTES, or to `bytes` rounded up to a power of two if that is less; NULL
// when there is none. Reads too large for a slot, or coming when the spans are used up, are
// allocated.
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
    struct flash_reading *older;    // Of those under way on its path and not given up.
    struct flash_reading *newer;
    struct flash_waiter waiters;    // The head of their ring.
    char *memory;
    uint64_t page_offset;    // Where the read begins; the record begins `skip` bytes later.
    uint64_t file_offset;
    uint64_t begun_us;    // When it was started; later, when it was found not to have reached the
                          // device.
    uint64_t at_device_us;    // When the device got it, 0 before. Atomic: a thread may store it.
    int64_t result;           // Bytes, or -errno.
    uint32_t bytes;           // Asked of the device.
    uint32_t skip;
    uint32_t record_bytes_most;
    uint8_t path;
    bool is_in_table;
    bool is_given_up;    // DONE for all who held it; the device still has it.
};

struct flash_chain {
    struct flash_waiter *first;
    struct flash_waiter **end;
};

// What a path has of a reader.
struct flash_reader_path {
    struct flash_reading *queue_first;
    struct flash_reading *queue_last;
    struct flash_reading *oldest;    // Under way and not given up, in the order in which they were
                                     // started.
    struct flash_reading *newest;
    uint32_t under_way;    // At the device, with those that were given up.
    uint32_t given_up;
    uint64_t memory_used;
    uint64_t given_up_bytes;               // Of the memory used.
    struct flash_waiter memory_waiters;    // The head of their ring, by ticket.
    uint32_t passes;       // Waiters that were woken and may begin, though others still wait.
    bool was_logged;       // That it is late ...
    uint64_t logged_us;    // ... at this time.
};

// How reads get to the device. The table's thread calls; each read that was started is completed
// once, unless it is cancelled.
struct flash_reader_back {
    int (*open)(struct flash_reader *reader, const struct flash_reader_options *options);
    // Waits a moment until nothing is under way but what was given up, without completing it.
    // Returns false when the device still has some: then nothing of the reader may be freed.
    bool (*close)(struct flash_reader *reader);
    void (*start)(struct flash_reader *reader, struct flash_reading *reading);
    // Calls flash_reader_cancel() for all reads of the path that were started and did not reach the
    // device.
    void (*cancel)(struct flash_reader *reader, uint32_t path, struct flash_chain *woken);
    void (*submit)(struct flash_reader *reader);
    // Calls flash_reader_complete() for all that is done.
    void (*collect)(struct flash_reader *reader, struct flash_chain *woken);
    bool (*has_done)(const struct flash_reader *reader);
    int kind;
    bool uses_flash_io;    // Which counts errors and slow reads, and applies faults.
};
const struct flash_reader_back *flash_uring_back(void);
const struct flash_reader_back *flash_threads_back(void);

struct flash_uring;
struct flash_threads;

#define FLASH_READER_CHUNKS 24
// Under way on all paths together at most.
#define FLASH_READER_DEPTH_MAX 16384
// How long closing waits for the device; less than a stop of the server waits for its processes.
#define FLASH_READER_CLOSE_US 500000

struct flash_reader {
    struct flash *flash;
    struct proc *proc;
    const struct flash_reader_back *back;
    struct flash_uring *uring;
    struct flash_threads *threads;
    uint64_t *times;
    struct log *log;
    int event_fd;
    uint32_t depth;           // Of each path.
    uint32_t given_up_max;    // So many reads given up leave a path nothing to read with.
    uint32_t under_way;
    uint32_t queued;
    uint32_t given_up;
    uint32_t unsubmitted;    // Under way for the table, but the kernel had no room for them yet.
    // Bits of paths: with a queue, with reads to look after, with waiters for memory.
    uint64_t queued_paths;
    uint64_t timed_paths;
    uint64_t paths_short_of_memory;
    uint64_t spared_us;          // What was started before this moment ...
    uint64_t spared_until_us;    // ... is not given up before this one.
    struct flash_reader_path *paths;
    struct flash_reading **table;
    uint32_t table_shift;    // 64 - bits of its size.
    struct flash_reading *free;
    uint32_t in_use;    // Readings not on the free list.
    uint32_t chunk_count;
    struct flash_reading *chunks[FLASH_READER_CHUNKS];
    uint32_t readings;
    struct flash_memory memory;
    uint64_t memory_used;
    uint64_t memory_bound;    // Of each path.
    uint64_t ticket;
    uint64_t lacked_bytes;    // What the last refused read would have needed, ...
    uint32_t lacked_path;     // ... and of which path.
    bool is_signalled;
};

// A read that was started is done: `result` is the bytes read, or -errno.
void flash_reader_complete(struct flash_reader *reader, struct flash_reading *reading,
                           int64_t result, uint64_t now_us, struct flash_chain *woken);
// What a read that is done has brought: enum flash_read_result.
uint8_t flash_reading_judge(struct flash_reader *reader, const struct flash_reading *reading);
// A reading that one holds, without memory and not in the table. NULL: there are too many.
struct flash_reading *flash_reading_take(struct flash_reader *reader, uint64_t address,
                                         uint32_t page, uint64_t page_version);
bool flash_readings_grow(struct flash_reader *reader, uint32_t by);
// From here on others who want the record find it.
void flash_readings_put(struct flash_reader *reader, struct flash_reading *reading);
// Nobody holds the reading and no device writes to it.
void flash_reading_free(struct flash_reader *reader, struct flash_reading *reading);
// Gives its memory back, if it has any.
void flash_reading_give_memory(struct flash_reader *reader, struct flash_reading *reading);
// Gives up all reads that have met their deadlines, of which `due_us` is the first, and what waits
// behind them.
void flash_reader_give_up(struct flash_reader *reader, uint64_t due_us, uint64_t now_us,
                          struct flash_chain *woken);
// The same for what waits its turn on late paths.
void flash_reader_give_up_queued(struct flash_reader *reader, struct flash_chain *woken);
// The device is done with a read that was given up.
void flash_reader_take_back(struct flash_reader *reader, struct flash_reading *reading);
// A read that was started ends without having reached the device: it is late.
void flash_reader_cancel(struct flash_reader *reader, struct flash_reading *reading,
                         struct flash_chain *woken);
// Makes the descriptor readable, so that the reader's owner comes and reaps.
void flash_reader_signal(struct flash_reader *reader);
