// Kills the process at an armed fault point, as kill -9 from outside would.
#include "base/fault.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void fault_arm(struct fault *fault, const char *name, uint32_t countdown) {
    strncpy(fault->name, name, FAULT_NAME_BYTES - 1);
    fault->name[FAULT_NAME_BYTES - 1] = '\0';
    fault->countdown = countdown;
    fault->armed = countdown > 0;
}

void fault_reached(struct fault *fault, const char *name) {
    if (strcmp(fault->name, name) != 0 || --fault->countdown > 0) {
        return;
    }
    fault->armed = false;
    kill(getpid(), SIGKILL);
    pause();
}
