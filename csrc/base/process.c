// Forks without the interpreter's own preparations, which repair locks that other threads had:
// there are none, and the memory that they write to would be each child's own.
#include "base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/status.h"

#define OOM_SCORE_MAX 1000

static void set_action(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

// When memory runs out one of the children is to be killed, which is replaced, and not the parent,
// whose end is the server's. Who changed its user may not open its own file unless it says that it
// may be dumped.
static void raise_oom_score(void) {
    int was_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    if (was_dumpable != 1) {
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
    int file = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16] = "";
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) {
        int score = atoi(text) + PROCESS_OOM_SCORE;
        int bytes =
            snprintf(text, sizeof text, "%d", score < OOM_SCORE_MAX ? score : OOM_SCORE_MAX);
        // Without it the kernel judges by the memory alone.
        ssize_t written = pwrite(file, text, (size_t)bytes, 0);
        (void)written;
    }
    if (file >= 0) {
        close(file);
    }
    if (was_dumpable != 1) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

static void become_child(pid_t parent) {
    static const int USUAL[] = {SIGCHLD, SIGTERM, SIGUSR2};
    static const int IGNORED[] = {SIGINT, SIGHUP, SIGUSR1, SIGPIPE};
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    // It may have ended before that.
    if (getppid() != parent) {
        _exit(1);
    }
    raise_oom_score();
    for (size_t i = 0; i < sizeof USUAL / sizeof USUAL[0]; i++) {
        set_action(USUAL[i], SIG_DFL);
    }
    for (size_t i = 0; i < sizeof IGNORED / sizeof IGNORED[0]; i++) {
        set_action(IGNORED[i], SIG_IGN);
    }
    // Until here they were blocked, as in the parent.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int32_t process_fork(void) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        become_child(parent);
    }
    return (int32_t)child;
}

void process_allow_core_dumps(void) {
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

void process_hide_memory(void) {
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int process_give_up_privileges(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? PYMC_OK : PYMC_OS_ERROR;
}

int process_lock_memory(void) {
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0 ? PYMC_OK : PYMC_OS_ERROR;
}
