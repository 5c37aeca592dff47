// Memory that reads go into: slots of a few sizes cut from one mapping, so that taking one is a few
// instructions.
#include <sys/mman.h>

#include "flash/flash_reader_internal.h"

#define SPAN_BYTES (1ull << FLASH_SPAN_SHIFT)

int flash_memory_open(struct flash_memory *memory, uint64_t bytes) {
    uint64_t whole = (bytes + SPAN_BYTES - 1) & ~(SPAN_BYTES - 1);
    void *base = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return PYMC_NO_MEMORY;
    }
    struct flash_memory_span *spans = calloc(whole / SPAN_BYTES, sizeof(*spans));
    if (spans == NULL) {
        munmap(base, whole);
        return PYMC_NO_MEMORY;
    }
    *memory = (struct flash_memory){
        .base = base, .bytes = whole, .spans = spans, .span_count = (uint32_t)(whole / SPAN_BYTES)};
    return PYMC_OK;
}

void flash_memory_close(struct flash_memory *memory) {
    if (memory->base != NULL) {
        munmap(memory->base, memory->bytes);
        free(memory->spans);
        memory->base = NULL;
    }
}

static uint32_t slot_shift_of(uint64_t bytes) {
    uint32_t shift = bytes > 1 ? 64u - (uint32_t)__builtin_clzll(bytes - 1) : 0;
    return shift < FLASH_SLOT_SHIFT_MIN ? FLASH_SLOT_SHIFT_MIN : shift;
}

uint64_t flash_memory_charge(uint64_t bytes) {
    return bytes <= SPAN_BYTES ? 1ull << slot_shift_of(bytes) : bytes;
}

static void span_link(struct flash_memory *memory, uint32_t *list, uint32_t number) {
    struct flash_memory_span *span = &memory->spans[number];
    span->previous = 0;
    span->next = *list;
    if (span->next) {
        memory->spans[span->next - 1].previous = number + 1;
    }
    *list = number + 1;
}

static void span_unlink(struct flash_memory *memory, uint32_t *list, uint32_t number) {
    struct flash_memory_span *span = &memory->spans[number];
    if (span->next) {
        memory->spans[span->next - 1].previous = span->previous;
    }
    if (span->previous) {
        memory->spans[span->previous - 1].next = span->next;
    } else {
        *list = span->next;
    }
}

// A wholly free span, cut for this size. Returns its number + 1, 0 when there is none.
static uint32_t span_cut(struct flash_memory *memory, uint32_t shift) {
    uint32_t number;
    if (memory->free_span) {
        number = memory->free_span - 1;
        span_unlink(memory, &memory->free_span, number);
    } else if (memory->fresh < memory->span_count) {
        number = memory->fresh++;
    } else {
        return 0;
    }
    uint32_t slots = 1u << (FLASH_SPAN_SHIFT - shift);
    memory->spans[number].free_slots = slots == 64 ? ~0ull : (1ull << slots) - 1;
    memory->spans[number].slot_shift = shift;
    span_link(memory, &memory->first[shift - FLASH_SLOT_SHIFT_MIN], number);
    return number + 1;
}

static char *allocate(uint64_t bytes) {
    void *made = NULL;
    return posix_memalign(&made, FLASH_BLOCK_BYTES, bytes) == 0 ? made : NULL;
}

char *flash_memory_take(struct flash_memory *memory, uint64_t bytes) {
    if (UNLIKELY(bytes > SPAN_BYTES)) {
        return allocate(bytes);
    }
    uint32_t shift = slot_shift_of(bytes);
    uint32_t *list = &memory->first[shift - FLASH_SLOT_SHIFT_MIN];
    uint32_t found = *list ? *list : span_cut(memory, shift);
    if (UNLIKELY(!found)) {
        return allocate(1ull << shift);
    }
    struct flash_memory_span *span = &memory->spans[found - 1];
    uint32_t slot = (uint32_t)__builtin_ctzll(span->free_slots);
    span->free_slots &= span->free_slots - 1;
    if (!span->free_slots) {
        span_unlink(memory, list, found - 1);
    }
    return memory->base + (uint64_t)(found - 1) * SPAN_BYTES + ((uint64_t)slot << shift);
}

void flash_memory_give(struct flash_memory *memory, char *taken) {
    if (UNLIKELY(!flash_memory_has(memory, taken))) {
        free(taken);
        return;
    }
    uint64_t place = (uint64_t)(taken - memory->base);
    uint32_t number = (uint32_t)(place >> FLASH_SPAN_SHIFT);
    struct flash_memory_span *span = &memory->spans[number];
    uint32_t *list = &memory->first[span->slot_shift - FLASH_SLOT_SHIFT_MIN];
    uint64_t bit = 1ull << ((place & (SPAN_BYTES - 1)) >> span->slot_shift);
    PYMC_DEBUG_CHECK(!(span->free_slots & bit));
    if (!span->free_slots) {
        span_link(memory, list, number);
    }
    span->free_slots |= bit;
    uint32_t slots = 1u << (FLASH_SPAN_SHIFT - span->slot_shift);
    if (span->free_slots == (slots == 64 ? ~0ull : (1ull << slots) - 1)) {
        span_unlink(memory, list, number);
        span->slot_shift = 0;
        span_link(memory, &memory->free_span, number);
    }
}
