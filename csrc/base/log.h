// Lines for standard error that never wait for whoever reads it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The longest line; longer ones are cut. As much as a pipe takes as a whole.
#define LOG_LINE_BYTES_MAX 4096

struct log;

// Opens a log on a descriptor, which is borrowed and is best one that does not block; on others
// each write is preceded by a look whether there is room. `name` stands in the lines of a log that
// was stamped (copied; at most 31 bytes). Returns NULL without memory. Owns: the caller, until
// log_close().
struct log *log_open(int fd, const char *name);
// One last try to write what is kept, then the end; NULL is allowed.
void log_close(struct log *log);

// Says that from now on lines begin with this time (UTC) and the log's name.
void log_stamp(struct log *log, uint64_t unix_ns);

// Writes one line, without its end, at once; keeps it while the descriptor takes nothing, within a
// bound. Above that lines are dropped, and their number is said once there is room. Lines come out
// whole and in order. NULL is allowed. Crash: what is kept is gone.
void log_line(struct log *log, const char *text, uint32_t bytes);
// Tries to write what is kept.
void log_flush(struct log *log);
// Lines that were dropped since the start, whether that was said or not.
uint64_t log_dropped(const struct log *log);
