// The last words of a process that found a bug in itself.
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/check_inline.h"

// Without waiting for whoever reads standard error: what this process holds is waited for by all
// others.
void check_failed(const char *condition, const char *file, int line) {
    char text[512];
    int bytes =
        snprintf(text, sizeof text, "pymc: check failed: %s (%s:%d)\n", condition, file, line);
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (bytes > 0 && poll(&room, 1, 0) == 1) {
        size_t shown = (size_t)bytes < sizeof text ? (size_t)bytes : sizeof text - 1;
        ssize_t written = write(STDERR_FILENO, text, shown);
        (void)written;
    }
    abort();
}
