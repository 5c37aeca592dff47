/* Mapping a trace and finding its largest key id. */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void trace_open(struct trace *t, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        die(EXIT_CODE_USAGE, "--replay %s: %s", path, strerror(errno));
    }
    size_t bytes = (size_t)status.st_size;
    if (!S_ISREG(status.st_mode) || bytes == 0 || bytes % sizeof *t->ids) {
        die(EXIT_CODE_USAGE, "--replay %s: want a file of 32-bit numbers", path);
    }
    void *ids = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (ids == MAP_FAILED) {
        die(EXIT_CODE_USAGE, "--replay %s: %s", path, strerror(errno));
    }
    close(fd);
    *t = (struct trace){.ids = ids, .count = bytes / sizeof *t->ids};
    for (uint64_t i = 0; i < t->count; i++) {
        if (trace_id(t, i) > t->id_max) {
            t->id_max = trace_id(t, i);
        }
    }
}
