// A worker's reads from flash: many under way at once, one per record however many wait for it.
//
// No locks: a reader belongs to one thread. Reads are begun during a turn, handed to the kernel
// together by flash_reader_submit(), and collected by flash_reader_reap() when flash_reader_fd() is
// readable. A fast device may be done before submit returns, so a turn ends with: submit; while
// flash_reader_has_done(), reap, serve, submit.
//
// A device may never answer. Each path has a depth and memory of its own, so that one takes nothing
// from the others. A read that the device has not answered within the setting ext_read_timeout is
// given up: who waits for it is woken, its result is LATE, its memory stays the device's until that
// is done with it, and the path is marked as late. While it is, reads of it are LATE at once and
// the device is left alone; no entry goes for that.
#pragma once

#include "base/log.h"
#include "flash/flash.h"

struct flash_reader;
struct flash_record;    // flash_record_inline.h

enum flash_reader_kind { FLASH_READER_AUTO, FLASH_READER_URING, FLASH_READER_THREADS };

struct flash_reader_options {
    int kind;          // FLASH_READER_AUTO tries io_uring first.
    uint32_t depth;    // Reads under way on each path at most; more wait their turn in the reader.
    uint32_t threads;         // Of each path, for FLASH_READER_THREADS.
    uint64_t memory_bytes;    // For what is being read and what was read and is not used up; a soft
                              // bound. Each path has an equal share.
    struct log *log;          // Borrowed; for lines about paths that become late. NULL: none.
};

enum flash_read_state { FLASH_READ_QUEUED, FLASH_READ_UNDER_WAY, FLASH_READ_DONE };
// REFUSED: the system had no memory or time for the read. That says nothing of the device or the
// record. LATE: the device does not answer. That says nothing of the record.
enum flash_read_result {
    FLASH_READ_GOOD,
    FLASH_READ_FAILED,
    FLASH_READ_CORRUPT,
    FLASH_READ_GONE,
    FLASH_READ_REFUSED,
    FLASH_READ_LATE
};

// One record on its way in. Valid while held.
struct flash_read {
    uint64_t address;
    uint64_t page_version;    // When it was begun: who uses the record checks that the page still
                              // has it.
    const struct flash_record *record;    // Whole and with a correct checksum when DONE and GOOD;
                                          // else NULL.
    uint32_t page;
    uint32_t holds;
    uint8_t state;
    uint8_t result;
};

// Somebody to be told of a read; embedded in what waits. Zero it first.
struct flash_waiter {
    struct flash_waiter *next;
    struct flash_waiter *previous;
    uint64_t ticket;    // These two are the reader's: its place among those that lack memory, how
                        // much that is.
    uint64_t lacked_bytes;
    bool is_waiting;
};

// Returns PYMC_OS_ERROR when the kernel has no io_uring for us (unless threads will do),
// PYMC_INVALID for bad options. Requires: called in the process and thread that will use the
// reader. Owns: the caller, until flash_reader_close().
int flash_reader_open(struct flash *flash, struct proc *proc,
                      const struct flash_reader_options *options, struct flash_reader **reader_out);
// Waits a moment for what the kernel still writes to; what it has not given back by then stays
// allocated, and what was given up is not waited for. NULL is allowed. Requires: no waiter waits.
void flash_reader_close(struct flash_reader *reader);
int flash_reader_kind(const struct flash_reader *reader);
// Becomes readable when reads are done. Edge-triggered use is enough; nothing has to be read from
// it.
int flash_reader_fd(const struct flash_reader *reader);

// The read of an entry's record: a new one, or the one that is there already (of the same page
// version). Holds it for the caller. It may be DONE already: nothing to wait for. NULL when memory
// is used up: give back other reads that are not needed yet (all could wait for each other), wait
// with flash_reader_wait(reader, NULL, ...) and try again.
struct flash_read *flash_reader_begin(struct flash_reader *reader, uint64_t entry);
// Gives a hold back; the last one gives the memory back.
void flash_reader_release(struct flash_reader *reader, struct flash_read *read);
// Puts the waiter on the list of the read, which is not DONE, or of those who lack memory (NULL; to
// be called when beginning a read has just failed, before the next try).
void flash_reader_wait(struct flash_reader *reader, struct flash_read *read,
                       struct flash_waiter *waiter);
// Takes a waiter off its list; nothing happens when it is on none.
void flash_reader_unwait(struct flash_reader *reader, struct flash_waiter *waiter);

// Hands what was begun to the kernel: at most one system call. Returns how many reads are not done
// yet.
uint32_t flash_reader_submit(struct flash_reader *reader);
// True when reaping would find something; costs two loads. Without it nothing is lost: the
// descriptor tells.
bool flash_reader_has_done(const struct flash_reader *reader);
// Collects what is done, checks it, gives up what is late, and returns the waiters of all reads
// that became done, then those for whom memory became free, chained by next, each oldest first.
// Take a waiter's next before you serve it: it may wait again. `now_us`: what CLOCK_MONOTONIC
// showed a moment ago, by which deadlines are judged.
struct flash_waiter *flash_reader_reap(struct flash_reader *reader, uint64_t now_us);
// When flash_reader_reap() has to be called though no read may be done: the next deadline.
// UINT64_MAX: never.
uint64_t flash_reader_due_us(const struct flash_reader *reader);

// What `stats` shows of this reader; also summed over processes by counters.
struct flash_reader_state {
    uint32_t reads_under_way;
    uint32_t reads_queued;
    uint32_t reads_given_up;    // Which the device still has.
    uint64_t memory_bytes;      // Theirs included.
};
void flash_reader_read_state(const struct flash_reader *reader, struct flash_reader_state *out);
