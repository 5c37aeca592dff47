// Forks without the interpreter's own preparations, which repair locks that other threads had: there are none, and the
// memory that they write to would be each child's own.
#include "base/child.h"

#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

static void set_action(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void become_child(pid_t parent) {
    static const int USUAL[] = {SIGCHLD, SIGTERM, SIGHUP, SIGUSR2};
    static const int IGNORED[] = {SIGINT, SIGUSR1, SIGPIPE};
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    // It may have ended before that.
    if (getppid() != parent) {
        _exit(1);
    }
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

int32_t child_fork(void) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        become_child(parent);
    }
    return (int32_t)child;
}
