// Access to the notes.
#include "shm/notes.h"

#include "base/check_inline.h"
#include "shm/arena_internal.h"

int64_t note_read(const struct arena *arena, enum note note) {
    PYMC_CHECK(note < NOTE_COUNT);
    return SHARED_LOAD(arena->header->notes[note]);
}

void note_write(struct arena *arena, enum note note, int64_t value) {
    PYMC_CHECK(note < NOTE_COUNT);
    SHARED_STORE(arena->header->notes[note], value);
}
