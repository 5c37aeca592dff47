"""The ledger of the shared memory: what each room reserved, and how much of it is touched."""

from collections.abc import Callable
from typing import Any

from pymc.core.ffi import ffi, lib, text
from pymc.record import Record

HUGE_PAGE_BYTES = int(lib.ARENA_HUGE_PAGE_BYTES)
# What is looked at page by page in one room; 8,192 pages take a millisecond or two.
LOOK_BYTES = 32 << 20
# How long a measurement is good for, so that asking often costs little.
FRESH_SECONDS = 1.0


class Room(Record):
    """One room's part of the shared memory, all its rows together."""

    label: str
    reserved_bytes: int
    touched_bytes: int
    # Judged by samples, since it is too large to look at every page.
    is_estimate: bool


class Measured(Record):
    """The whole shared memory at one moment."""

    rooms: tuple[Room, ...]
    # What the kernel counts for it, swapped-out pages included; 0 when it cannot be asked.
    file_bytes: int

    @property
    def reserved_bytes(self) -> int:
        """Address space that rooms have."""
        return sum(room.reserved_bytes for room in self.rooms)

    @property
    def touched_bytes(self) -> int:
        """Memory that rooms have touched."""
        return sum(room.touched_bytes for room in self.rooms)

    @property
    def estimated_rooms(self) -> int:
        """In how many rooms not every page was looked at."""
        return sum(room.is_estimate for room in self.rooms)

    def touched(self, label: str) -> int:
        """What one room has touched; 0 for a room that is not there."""
        return next((room.touched_bytes for room in self.rooms if room.label == label), 0)


class Ledger:
    """Reads the ledger of one arena. Borrows it."""

    def __init__(self, pointer: Any, look_bytes: int = LOOK_BYTES) -> None:
        """Takes the arena's C handle."""
        self._pointer = pointer
        self._look_bytes = look_bytes
        self._measured: Measured | None = None
        self._measured_at = 0.0

    def rows(self) -> list[tuple[str, int, int]]:
        """Label, offset and bytes of each row, lowest offset first."""
        rows = ffi.new("struct arena_row[]", lib.ARENA_ROWS_MAX)
        count = lib.arena_ledger_read(self._pointer, rows)
        return [(text(row.label), row.offset, row.bytes) for row in rows[0:count]]

    def measure(self, clock: Callable[[], float]) -> Measured:
        """All rooms, measured now or up to a second ago; `clock` counts seconds."""
        now = clock()
        if self._measured is None or not 0 <= now - self._measured_at < FRESH_SECONDS:
            self._measured = self._measure()
            self._measured_at = now
        return self._measured

    def _measure(self) -> Measured:
        found: dict[str, Room] = {}
        is_estimate = ffi.new("bool *")
        for label, offset, size in self.rows():
            touched = lib.arena_touched_bytes(
                self._pointer, offset, size, self._look_bytes, is_estimate
            )
            earlier = found.get(label, Room(label, 0, 0, False))
            found[label] = Room(
                label,
                earlier.reserved_bytes + size,
                earlier.touched_bytes + touched,
                earlier.is_estimate or bool(is_estimate[0]),
            )
        file_bytes = int(lib.arena_file_bytes(self._pointer))
        return Measured(tuple(_settle(list(found.values()), file_bytes)), file_bytes)


def _settle(rooms: list[Room], file_bytes: int) -> list[Room]:
    """Where one room alone was judged by samples, it has what the others leave of the whole."""
    estimated = [room for room in rooms if room.is_estimate]
    if len(estimated) != 1 or not file_bytes:
        return rooms
    (last,) = estimated
    others = sum(room.touched_bytes for room in rooms if room is not last)
    rest = min(max(file_bytes - others, 0), last.reserved_bytes)
    exact = Room(last.label, last.reserved_bytes, rest, False)
    return [exact if room is last else room for room in rooms]
