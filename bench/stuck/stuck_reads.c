// Preloaded into a server: reads of files whose name ends in ".stuck" hang while a file "<name>.on"
// is there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENDING ".stuck"

// The name of the file that lets reads of `fd` hang; false for files that never do.
static bool trigger_of(int fd, char *name, size_t room) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, room - sizeof ".on");
    size_t ending = strlen(ENDING);
    if (length < (ssize_t)ending || memcmp(name + length - ending, ENDING, ending) != 0) {
        return false;
    }
    strcpy(name + length, ".on");
    return true;
}

static void hang_if_told(int fd) {
    char name[PATH_MAX];
    const struct timespec rest = {.tv_nsec = 10000000};
    while (trigger_of(fd, name, sizeof name) && access(name, F_OK) == 0) {
        nanosleep(&rest, NULL);
    }
}

ssize_t pread(int fd, void *memory, size_t bytes, off_t offset) {
    ssize_t (*real)(int, void *, size_t, off_t) =
        (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    hang_if_told(fd);
    return real(fd, memory, bytes, offset);
}

ssize_t pread64(int fd, void *memory, size_t bytes, off64_t offset) {
    return pread(fd, memory, bytes, offset);
}
