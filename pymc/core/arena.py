"""The shared memory of one server: its clock, its live settings, its process slots."""

import time
from enum import IntEnum
from types import TracebackType
from typing import Any

from pymc.core.errors import check
from pymc.core.ffi import ffi, lib, text
from pymc.core.ledger import Ledger
from pymc.core.meter import COUNTER_INDEX, COUNTER_NAMES
from pymc.record import Record


class Role(IntEnum):
    """What the owner of a process slot does."""

    FREE = lib.PROC_FREE
    WORKER = lib.PROC_WORKER
    KEEPER = lib.PROC_KEEPER
    SUPERVISOR = lib.PROC_SUPERVISOR
    TOOL = lib.PROC_TOOL


class Note(IntEnum):
    """What the keeper is at, said where workers see it."""

    # A CrawlerState.
    CRAWLER = lib.NOTE_CRAWLER
    # 1 while a page is moved that somebody asked for.
    SLAB_MOVE = lib.NOTE_SLAB_MOVE


class SlotOwner(Record):
    """Who holds a process slot; pid 0 when nobody does, or when its owner was found dead."""

    pid: int
    role: Role
    generation: int


class SlotPulse(Record):
    """What tells whether a slot's owner goes on, and what it hinders; see csrc/shm/proc.h."""

    pid: int
    is_late: bool
    beats: int
    waits_for: int | None
    naps: int
    waited_us: int


class LargePages(Record):
    """What -L asked for and what it got, measured when the server started."""

    # hugetlb: from the system's pool; thp: the system's setting gave them; collapsed: only on
    # demand; none: there are small pages only.
    kind: str = "none"
    asked_bytes: int = 0
    got_bytes: int = 0


LIVE_NAMES: tuple[str, ...] = tuple(text(lib.live_name(i)) for i in range(lib.live_count()))
_LIVE_INDEX = {name: index for index, name in enumerate(LIVE_NAMES)}
_SLICE_BYTES = int(lib.ARENA_SLICE_BYTES_MAX)


class Arena:
    """A mapping of the shared memory. Made before the first fork; children inherit it."""

    def __init__(self, pointer: Any, slots: int) -> None:
        """Takes the C handle; use Arena.create()."""
        self.pointer = pointer
        self.slots = slots
        self.ledger = Ledger(pointer)
        # Written once, before the first fork.
        self.large_pages = LargePages()

    @classmethod
    def create(
        cls, reserve_bytes: int, slots: int, *, huge_pages: bool = False, hash_seed: int = 0
    ) -> "Arena":
        """Makes and maps the shared memory; its clock starts now.

        `hash_seed` is 64 bits that clients must not know: who does can choose keys that meet in
        one bucket.

        Raises SystemCallError when the system refuses, InvalidArgumentError for bad sizes.
        """
        options = ffi.new("struct arena_options *")
        options.reserve_bytes = reserve_bytes
        options.slots = slots
        options.huge_pages = huge_pages
        options.boot_ns = time.monotonic_ns()
        options.boot_unix_seconds = int(time.time())
        options.hash_seed = hash_seed
        out = ffi.new("struct arena **")
        check(lib.arena_create(options, out), "arena_create")
        return cls(out[0], slots)

    def close(self) -> None:
        """Unmaps; nothing else may be called afterwards, except close() again."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.arena_close(pointer)

    def __enter__(self) -> "Arena":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_hugetlb(self) -> bool:
        """True when all of it is huge pages that the system's pool gave for it."""
        return bool(lib.arena_is_hugetlb(self.pointer))

    @property
    def address_range(self) -> tuple[int, int]:
        """Where this process maps it: the first address, and the first behind it."""
        start = int(lib.arena_address(self.pointer))
        return start, start + max((row[1] + row[2] for row in self.ledger.rows()), default=0)

    def lock_memory(self) -> None:
        """Keeps this process's view from being paged out. Raises SystemCallError."""
        check(lib.arena_lock_memory(self.pointer), "mlock2")

    def take(self, offset: int, byte_count: int) -> None:
        """Takes memory for a range now, in huge pages where it can be. Raises SystemCallError."""
        for start in range(offset, offset + byte_count, _SLICE_BYTES):
            size = min(_SLICE_BYTES, offset + byte_count - start)
            check(lib.arena_take_slice(self.pointer, start, size), "arena_take_slice")

    def seconds(self) -> int:
        """The second the cache's own clock shows now; it starts at 2."""
        return int(lib.arena_seconds(self.pointer, time.monotonic_ns()))

    def seconds_until_tick(self) -> float:
        """How long until the cache's clock shows the next second; while it stands, a second."""
        return float(lib.arena_ns_until_tick(self.pointer, time.monotonic_ns())) / 1e9

    @property
    def epoch_unix_seconds(self) -> int:
        """Wall-clock second at which the cache's clock showed 0."""
        return int(lib.arena_epoch_unix_seconds(self.pointer))

    def shift_clock(self, delta_seconds: int) -> None:
        """Moves the cache's clock for all processes (debugtime)."""
        lib.arena_clock_shift(self.pointer, delta_seconds)

    def freeze_clock(self, frozen_seconds: int) -> None:
        """Stops the cache's clock at a second; 0 lets it run again."""
        lib.arena_clock_freeze(self.pointer, frozen_seconds)

    @property
    def flush_seconds(self) -> int:
        """The second of the latest flush_all on the cache's clock, 0 for none."""
        return int(lib.arena_flush_seconds(self.pointer))

    def live(self, name: str) -> int:
        """The present value of a live setting; KeyError for a name that is none."""
        return int(lib.live_read(self.pointer, _LIVE_INDEX[name]))

    def set_live(self, name: str, value: int) -> None:
        """Changes a live setting for all processes at once."""
        lib.live_write(self.pointer, _LIVE_INDEX[name], value)

    def note(self, note: Note) -> int:
        """What the note says; 0 in a fresh arena."""
        return int(lib.note_read(self.pointer, note))

    def set_note(self, note: Note, value: int) -> None:
        """Changes a note."""
        lib.note_write(self.pointer, note, value)

    def slot_owner(self, slot: int) -> SlotOwner:
        """Who holds the slot now."""
        return SlotOwner(
            lib.proc_slot_pid(self.pointer, slot),
            Role(lib.proc_slot_role(self.pointer, slot)),
            lib.proc_slot_generation(self.pointer, slot),
        )

    def pulse(self, slot: int) -> SlotPulse:
        """How the slot's owner does."""
        out = ffi.new("struct proc_pulse *")
        lib.proc_read_pulse(self.pointer, slot, out)
        waits_for = out.waits_for if out.waits_for < self.slots else None
        return SlotPulse(out.pid, out.is_late, out.beats, waits_for, out.naps, out.waited_us)

    def set_late(self, slot: int, is_late: bool) -> None:
        """Marks a slot that gets no new connections because its owner does not go on."""
        lib.proc_set_late(self.pointer, slot, is_late)

    def count_for(self, slot: int, name: str) -> None:
        """Counts one in another process's slot; only for what the supervisor alone counts."""
        lib.meter_add_for(self.pointer, slot, COUNTER_INDEX[name], 1)

    def counters(self, slot: int) -> dict[str, int]:
        """One slot's own counters since the server started, by name."""
        values = ffi.new("uint64_t[]", len(COUNTER_NAMES))
        lib.meter_read(self.pointer, slot, values)
        return dict(zip(COUNTER_NAMES, values, strict=True))
