// What a process of the server asks of the system for itself, first of all how it begins.
#pragma once

#include <stdint.h>

// How much more likely than its parent the child is to be killed when memory runs out, in
// thousandths of all memory.
#define PROCESS_OOM_SCORE 100

// Forks the calling process, which has to have one thread. Returns the child's id, 0 in the child,
// -1 with errno. The child is killed when its parent ends, even by SIGKILL; signals mean to it what
// they usually do, but that SIGINT, which reaches a terminal's whole group, SIGUSR1 and SIGPIPE are
// ignored, and so is SIGHUP: who has something to read again asks for it. It blocks none.
int32_t process_fork(void);

// Lets this process dump core although it changed its user.
void process_allow_core_dumps(void);

// Keeps the memory of this process, and of those it forks, out of core files and from other
// processes of its user: it holds secrets.
void process_hide_memory(void);

// From here on no program that this process or a child of it starts can gain rights, as by a
// set-user-id file. Returns PYMC_OK, or PYMC_OS_ERROR with errno.
int process_give_up_privileges(void);

// Keeps this process in RAM, each page once it is touched. Returns PYMC_OK, or PYMC_OS_ERROR with
// errno.
int process_lock_memory(void);
