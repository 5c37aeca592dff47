"""The probation queues of a store handle, called as their owner would, and their memory."""

import os
from pathlib import Path
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Handle

SEGMENT_ENTRIES = 256
SEGMENT_BYTES = 1024
GROUP_BYTES = 4096


class Queues:
    """All queues of one arena; nobody else works there, so no lock is taken."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.lru = lib.store_lru(handle.store)

    def push(self, class_id: int, *refs: int) -> None:
        for ref in refs:
            lib.lru_push_locked(self.lru, class_id, ref)

    def pop(self, class_id: int) -> int:
        return int(lib.lru_pop_locked(self.lru, class_id))

    def pop_all(self, class_id: int) -> list[int]:
        """Everything in the queue, oldest first."""
        return [self.pop(class_id) for _ in range(self.length(class_id))]

    def length(self, class_id: int) -> int:
        return int(lib.lru_length(self.lru, class_id))

    def oldest(self, class_id: int) -> int:
        return int(lib.lru_oldest(self.lru, class_id))

    def clear(self, class_id: int) -> None:
        lib.lru_clear_locked(self.lru, class_id)

    def set_cap(self, class_id: int, entries: int) -> bool:
        return bool(lib.lru_set_cap_locked(self.lru, class_id, entries))

    def cap(self, class_id: int) -> int:
        return int(lib.lru_cap(self.lru, class_id))

    def target(self, class_id: int, slots: int, percent: int) -> int:
        return int(lib.lru_target(self.lru, class_id, slots, percent))

    def adapt(self, class_id: int, quarters: int, slots: int, percent: int) -> None:
        lib.lru_adapt(self.lru, class_id, quarters, slots, percent)

    def bytes(self) -> int:
        return int(lib.lru_bytes(self.lru))

    def release(self) -> None:
        """Gives back all memory without entries."""
        while lib.lru_release_step(self.lru):
            pass

    def peek(self, class_id: int, place: Any, ahead: int, count: int) -> list[int]:
        refs = ffi.new("uint32_t[]", count)
        found = lib.lru_peek(self.lru, class_id, place, ahead, refs, count)
        return list(refs[0:found])


def fit_probation(handle: Handle) -> None:
    """Fits queues and ghost to what is held, and gives their spare memory back."""
    while lib.space_fit_probation_step(handle.store):
        pass


def place(position: int = 0, segment: int = 0) -> Any:
    """A place for peek()."""
    return ffi.new("struct lru_place *", {"position": position, "segment": segment})


def arena_bytes() -> int:
    """What the system counts for the arenas of this process, each once."""
    total = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(link).startswith("/memfd:pymc"):
                total += os.stat(link).st_blocks * 512
        except FileNotFoundError:
            continue
    return total
