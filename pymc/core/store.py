"""A process's handle on the store: its slot, the operations tests need, its limit and counters."""

from collections.abc import Sequence
from enum import IntEnum
from types import TracebackType
from typing import Any

from pymc.core.arena import Arena, Role
from pymc.core.errors import check
from pymc.core.ffi import ffi, lib
from pymc.core.flash import Flash
from pymc.core.meter import CLASS_COUNTER_NAMES, COUNTER_INDEX, COUNTER_NAMES
from pymc.record import Record

CLASSES_MAX = int(lib.SLAB_CLASSES_MAX)


class Outcome(IntEnum):
    """What an operation on a key came to, or ROOM_MADE on its way there; never an error."""

    HIT = lib.STORE_HIT
    MISS = lib.STORE_MISS
    MISS_EXPIRED = lib.STORE_MISS_EXPIRED
    MISS_FLUSHED = lib.STORE_MISS_FLUSHED
    STORED = lib.STORE_STORED
    NOT_STORED = lib.STORE_NOT_STORED
    EXISTS = lib.STORE_EXISTS
    NOT_FOUND = lib.STORE_NOT_FOUND
    DELETED = lib.STORE_DELETED
    TOUCHED = lib.STORE_TOUCHED
    TOO_LARGE = lib.STORE_TOO_LARGE
    NO_MEMORY = lib.STORE_NO_MEMORY
    NON_NUMERIC = lib.STORE_NON_NUMERIC
    ROOM_MADE = lib.STORE_ROOM_MADE


class Geometry(Record):
    """The sizes a store is made with; they never change, except the limit up to its maximum."""

    limit_bytes: int
    limit_bytes_max: int
    chunk_bytes: tuple[int, ...]
    bucket_start: int
    connections_max: int = 0  # 0: as many as are usual.

    def c_struct(self) -> Any:
        """The C struct, and the array it points to, which must outlive it."""
        sizes = ffi.new("uint32_t[]", self.chunk_bytes)
        made = ffi.new("struct store_geometry *")
        made.limit_bytes = self.limit_bytes
        made.limit_bytes_max = self.limit_bytes_max
        made.class_count = len(self.chunk_bytes)
        made.chunk_bytes = sizes
        made.bucket_start = self.bucket_start
        made.connections_max = self.connections_max
        return made, sizes


def store_reserve_bytes(geometry: Geometry, slots: int) -> int:
    """Address space an arena needs for a store of this geometry."""
    made, _sizes = geometry.c_struct()
    return int(lib.store_reserve_bytes(made, slots))


def format_store(arena: Arena, geometry: Geometry) -> None:
    """Makes the store in a fresh arena. Raises CoreMemoryError or InvalidArgumentError."""
    made, _sizes = geometry.c_struct()
    check(lib.store_create(arena.pointer, made), "store_create")


class Store:
    """The store as one process sees it; open it in the process that will use it."""

    def __init__(self, arena: Arena, slot: int, role: Role, flash: Flash | None = None) -> None:
        """Takes the slot, repairs what a dead predecessor left. Borrows both. Raises BusyError."""
        self.arena = arena
        flash_pointer = flash.pointer if flash else ffi.NULL
        self.slot = slot
        out = ffi.new("struct store **")
        check(lib.store_open(arena.pointer, flash_pointer, slot, role, out), "store_open")
        self.pointer = out[0]
        self._proc = lib.store_proc(self.pointer)
        self.set_now(arena.seconds())

    def close(self) -> None:
        """Gives the slot back; close() again does nothing."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.store_close(pointer)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def set_now(self, now_seconds: int) -> None:
        """Sets the second that operations take for the present."""
        lib.proc_set_now(self._proc, now_seconds)

    def turn(self) -> None:
        """Does what is due at a wake-up: a scheduled flush, chunks that others asked for."""
        lib.store_turn(self.pointer)

    def rest(self) -> None:
        """Until wake() others may take free chunks that this process has set aside."""
        lib.store_rest(self.pointer)

    def wake(self) -> None:
        """Before anything but reading is done again."""
        lib.store_wake(self.pointer)

    def beat(self) -> None:
        """Tells the watchdog that this process goes on."""
        lib.proc_beat(self._proc)

    def count(self, name: str, by: int = 1) -> None:
        """Adds to one of this process's counters."""
        lib.meter_add(self._proc, COUNTER_INDEX[name], by)

    def note_system_event(self, text: str) -> None:
        """Tells clients of `watch sysevents`, if there are any: the words behind `type=`."""
        line = text.encode("ascii")
        lib.store_note_text(self.pointer, lib.WATCH_SYSEVENTS, line, len(line))

    def arm_fault(self, name: str, countdown: int = 1) -> None:
        """Lets this process die at a fault point (debug builds only)."""
        lib.proc_arm_fault(self._proc, name.encode("ascii"), countdown)

    def repair_if_dead(self, slot: int) -> bool:
        """Gives back what the dead owner of a slot left; True when there was one."""
        return bool(lib.store_reclaim_slot(self.pointer, slot))

    def set_limit(self, limit_bytes: int) -> None:
        """Sets the memory for items and index. InvalidArgumentError above the geometry's."""
        check(lib.store_set_limit(self.pointer, limit_bytes), "store_set_limit")

    def put(self, key: bytes, value: bytes, *, flags: int = 0, expiry_seconds: int = 0) -> Outcome:
        """Stores a value; `expiry_seconds` is on the cache's clock, 0 for never."""
        write = ffi.new("struct store_write *")
        key_bytes = ffi.from_buffer("char[]", key)
        write.key = key_bytes
        write.key_bytes = len(key)
        write.mode = lib.STORE_SET
        write.client_flags = flags
        write.expiry_seconds = expiry_seconds
        write.value_bytes = len(value)
        result = ffi.new("struct store_result *")
        outcome = lib.store_put(self.pointer, write, ffi.from_buffer("char[]", value), result)
        return Outcome(outcome)

    def read(self, key: bytes, place_bytes: int = 1 << 20) -> bytes | None:
        """The value of a key, None on a miss. For tests and tools."""
        place = ffi.new("char[]", place_bytes)
        out = ffi.new("struct store_read *")
        outcome = lib.store_read_value(self.pointer, key, len(key), place, place_bytes, out)
        return bytes(ffi.buffer(place, out.value_bytes)) if outcome == Outcome.HIT else None

    def counters(self) -> dict[str, int]:
        """The process counters summed over all slots, since the last reset."""
        values = ffi.new("uint64_t[]", len(COUNTER_NAMES))
        lib.store_counters_read(self.pointer, values)
        return dict(zip(COUNTER_NAMES, ffi.unpack(values, len(COUNTER_NAMES)), strict=True))

    def class_counters(self, class_id: int) -> dict[str, int]:
        """One slab class's counters summed over all slots, since the last reset."""
        values = ffi.new("uint64_t[]", len(CLASS_COUNTER_NAMES))
        lib.class_counters_read(self.pointer, class_id, values)
        counts = ffi.unpack(values, len(CLASS_COUNTER_NAMES))
        return dict(zip(CLASS_COUNTER_NAMES, counts, strict=True))

    def class_counters_total(self, classes: int) -> dict[str, int]:
        """The counters of classes 1 to `classes` together."""
        values = ffi.new("uint64_t[]", len(CLASS_COUNTER_NAMES))
        lib.class_counters_sum(self.pointer, 1, classes, values)
        counts = ffi.unpack(values, len(CLASS_COUNTER_NAMES))
        return dict(zip(CLASS_COUNTER_NAMES, counts, strict=True))

    def reset_counters(self) -> None:
        """Lets counting start at 0 again (`stats reset`)."""
        lib.store_counters_reset(self.pointer)

    def flush_all(self) -> None:
        """Makes all items stored until now invisible."""
        lib.store_flush_all(self.pointer, 0)

    def check(self) -> int:
        """Walks everything, aborts on a contradiction; the number of items. Needs a quiet arena."""
        return int(lib.store_check(self.pointer))


def class_mask(classes: Sequence[int] | None) -> Any:
    """The C bit mask of slab classes; NULL, which means all, for None."""
    if classes is None:
        return ffi.NULL
    words = [0] * ((CLASSES_MAX + 63) // 64)
    for class_id in classes:
        words[class_id // 64] |= 1 << (class_id % 64)
    return ffi.new("uint64_t[]", words)
