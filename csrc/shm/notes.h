// Notes: words by which workers and keeper tell each other what the keeper is at.
#pragma once

#include <stdint.h>

#include "shm/arena.h"

// Each is 0 in a fresh arena. What the numbers mean is Python's to say.
enum note { NOTE_CRAWLER, NOTE_SLAB_MOVE, NOTE_COUNT };

// Own synchronization: one atomic word. A process that dies leaves the note as it is.
int64_t note_read(const struct arena *arena, enum note note);
void note_write(struct arena *arena, enum note note, int64_t value);
