// The kernel shows zeroes where a page was given back, so only what is zero already may go.
#include "base/zeroes.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool is_zero(const char *page, uint64_t page_bytes) {
    return page[0] == 0 && memcmp(page, page + 1, page_bytes - 1) == 0;
}

uint64_t zeroes_give_back(uint64_t address, uint64_t bytes) {
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t given = 0;
    uint64_t first = (address + page_bytes - 1) / page_bytes * page_bytes;
    for (uint64_t at = first; at + page_bytes <= address + bytes; at += page_bytes) {
        char *page = (char *)(uintptr_t)at;
        if (is_zero(page, page_bytes) && madvise(page, page_bytes, MADV_DONTNEED) == 0) {
            given += page_bytes;
        }
    }
    return given;
}
