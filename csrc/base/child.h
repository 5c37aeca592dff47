// A process of the server begins: the fork, and what the child is before anything else of it runs.
#pragma once

#include <stdint.h>

// How much more likely than its parent the child is to be killed when memory runs out, in thousandths of all memory.
#define CHILD_OOM_SCORE 100

// Forks the calling process, which has to have one thread. Returns the child's id, 0 in the child, -1 with errno.
// The child is killed when its parent ends, even by SIGKILL; signals mean to it what they usually do, but that SIGINT,
// which reaches a terminal's whole group, SIGUSR1 and SIGPIPE are ignored; it blocks none.
int32_t child_fork(void);
