/* Fatal errors and checked memory for the load generator. */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void die(enum exit_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}

void *allocate(size_t count, size_t bytes) {
    void *block = calloc(count ? count : 1, bytes ? bytes : 1);
    if (!block) {
        die(EXIT_CODE_USAGE, "out of memory");
    }
    return block;
}

void *reallocate(void *block, size_t bytes) {
    void *moved = realloc(block, bytes);
    if (!moved) {
        die(EXIT_CODE_USAGE, "out of memory");
    }
    return moved;
}
