"""Write-out and compaction as the keeper drives them: buffers, scans and sweeps, each in steps."""

from enum import IntEnum
from typing import Any

from pymc.core.errors import check
from pymc.core.ffi import ffi, lib
from pymc.core.flash import Bucket, Flash
from pymc.core.meter import CLASS_COUNTER_NAMES
from pymc.core.store import Store
from pymc.record import Record

STATUS_GOOD = int(lib.PYMC_OK)
# Nothing went wrong, but what the buffer holds will never be read.
STATUS_PAGE_GONE = int(lib.PYMC_NOT_FOUND)
# Lost or not, what makes room counts as a direct reclaim.
_CLASS_PLACES = tuple(CLASS_COUNTER_NAMES.index(name) for name in ("direct_reclaims", "cmd_set"))


class BufferState(IntEnum):
    """Where a write buffer is in its life."""

    FREE = lib.FLASH_BUFFER_FREE
    FILLING = lib.FLASH_BUFFER_FILLING
    SEALED = lib.FLASH_BUFFER_SEALED


class BufferInfo(Record):
    """One write buffer: see struct flash_buffer_info."""

    number: int
    state: BufferState
    bucket: int
    page: int
    path: int
    filled_bytes: int
    is_closed: bool
    is_page_gone: bool


class WriteBuffers:
    """The keeper's side of the write buffers: begin, seal, write in any thread, finish."""

    def __init__(self, store: Store, flash: Flash) -> None:
        """Borrows both."""
        self._store = store.pointer
        self._proc = lib.store_proc(store.pointer)
        self._flash = flash.pointer
        self._info = ffi.new("struct flash_buffer_info *")
        self.count = int(lib.flash_buffer_count(flash.pointer))
        self.wake_fd = int(lib.flash_wake_fd(flash.pointer))

    def read(self) -> list[BufferInfo]:
        """All of them."""
        return [self.read_one(number) for number in range(self.count)]

    def read_one(self, number: int) -> BufferInfo:
        """One of them."""
        out = self._info
        lib.flash_buffer_read(self._flash, number, out)
        return BufferInfo(
            number,
            BufferState(out.state),
            out.bucket,
            out.page,
            out.path,
            out.filled_bytes,
            bool(out.is_closed),
            bool(out.is_page_gone),
        )

    def wanted(self) -> frozenset[int]:
        """Streams for which a record found no buffer since the last call."""
        bits = int(lib.flash_streams_wanted(self._flash))
        return frozenset(bucket for bucket in Bucket if bits >> bucket & 1)

    def begin(self, number: int, bucket: int) -> bool:
        """Lets a free buffer take records of a stream; False when no page is free."""
        status = lib.flash_buffer_begin(self._flash, self._proc, number, bucket)
        if status == lib.PYMC_NOT_FOUND:
            return False
        check(status, "flash_buffer_begin")
        return True

    def close(self, number: int) -> None:
        """It takes no more records."""
        lib.flash_buffer_close(self._flash, number)

    def seal(self, number: int) -> int:
        """The bytes to write; 0 while somebody still fills it, and when nothing was put in."""
        return int(lib.flash_buffer_seal(self._flash, self._proc, number))

    def write(self, number: int) -> tuple[int, int]:
        """Writes what was sealed, in any thread: status and errno."""
        status = int(lib.flash_buffer_write(self._flash, number))
        return status, ffi.errno if status == lib.PYMC_OS_ERROR else 0

    def finish(self, number: int, status: int) -> int:
        """Frees it after the write; after an error, how many records were lost."""
        return int(lib.tier_buffer_finish(self._store, number, status))

    def release(self, kept: int) -> int:
        """Gives memory of free buffers back, all but `kept` of them; how many were."""
        return int(lib.flash_buffers_release(self._flash, kept))


class WriteOutStep(Record):
    """What a step found. `full_bucket` is -1, or the stream whose buffers have no room."""

    full_bucket: int
    examined: int
    added: int
    is_ahead: bool


class WriteOut:
    """Copies items that will be evicted next to flash, or those that are idle for long."""

    def __init__(self, store: Store) -> None:
        """Begins with the first item of each class."""
        self._store = store
        self._rules = ffi.new("struct space_admission *")
        self._result = ffi.new("struct tier_writeout_result *")
        self._ahead: dict[tuple[int, bool], Any] = {}

    def forget(self, class_id: int, *, is_aged: bool) -> None:
        """Looks at the items of the class from the start again."""
        self._ahead.pop((class_id, is_aged), None)

    def step(
        self, class_id: int, ahead_chunks: int, chunks: int, idle_seconds: int | None
    ) -> WriteOutStep:
        """Looks at up to `chunks` items of a class, as far as `ahead_chunks` of each kind.

        With `idle_seconds`, copies those that nobody has read for so long, however often they were
        read before.
        """
        is_aged = idle_seconds is not None
        ahead = self._ahead.get((class_id, is_aged))
        if ahead is None:
            ahead = self._ahead[class_id, is_aged] = ffi.new("struct tier_ahead *")
        lib.space_admission_now(self._store.pointer, self._rules)
        self._rules.idle_seconds_min = idle_seconds or 0
        self._rules.active_too = is_aged
        out = self._result
        lib.tier_writeout_step(
            self._store.pointer, class_id, ahead, self._rules, ahead_chunks, chunks, out
        )
        return WriteOutStep(out.full_bucket, out.examined, out.added, bool(out.is_ahead))


class ClassCounts:
    """Reads of each class the few counters that write-out decides on, quickly."""

    def __init__(self, store: Store) -> None:
        """Borrows the store."""
        self._store = store
        self._values = ffi.new("uint64_t[]", len(CLASS_COUNTER_NAMES))

    def read(self, class_id: int) -> tuple[int, int]:
        """Items evicted and items stored."""
        values = self._values
        lib.class_counters_read(self._store.pointer, class_id, values)
        evicted, stored = _CLASS_PLACES
        return values[evicted], values[stored]


class Scan:
    """A page read back in pieces: load() in any thread, then compact() until it wants more."""

    def __init__(self, store: Store, flash: Flash) -> None:
        """Takes the memory of a piece. Raises CoreMemoryError."""
        self._store = store
        out = ffi.new("struct flash_scan **")
        check(lib.flash_scan_create(flash.pointer, out), "flash_scan_create")
        self.pointer = out[0]
        self._rules = ffi.new("struct tier_compaction *")
        self._result = ffi.new("struct tier_compact_result *")

    def close(self) -> None:
        """Gives the memory back. Must not be loading."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.flash_scan_destroy(pointer)

    def begin(self, page: int) -> bool:
        """Begins with a page's first record; False when it is neither open nor full.

        Who compacts calls stop() before.
        """
        status = lib.flash_scan_begin(self.pointer, page)
        if status == lib.PYMC_NOT_FOUND:
            return False
        check(status, "flash_scan_begin")
        return True

    def load(self) -> "Loaded":
        """Reads the next piece; may run in any thread."""
        status = lib.flash_scan_load(self.pointer)
        is_good, is_end = status == lib.PYMC_OK, status == lib.PYMC_NOT_FOUND
        read_bytes = int(lib.flash_scan_loaded_bytes(self.pointer)) if is_good else 0
        return Loaded(is_good, is_end, read_bytes)

    def stop(self) -> None:
        """Forgets a record that waits for a write buffer."""
        lib.tier_compact_stop(self._store.pointer)

    def compact(self, bucket: int, records: int, *, read_only: bool) -> "CompactStep":
        """Goes through up to `records` records and copies to the stream what is rescued."""
        out = self._result
        self._rules.read_only = read_only
        lib.tier_compact_step(self._store.pointer, self.pointer, bucket, self._rules, records, out)
        return CompactStep(
            bool(out.needs_buffer),
            bool(out.needs_load),
            out.rescued,
            out.dropped,
            out.dead,
            out.rescued_bytes,
        )


class Loaded(Record):
    """How reading a piece ended; neither good nor at the end means an error of the device."""

    is_good: bool
    is_end: bool
    read_bytes: int


class CompactStep(Record):
    """What a step of compaction did, and what it needs before the next one."""

    needs_buffer: bool
    needs_load: bool
    rescued: int
    dropped: int
    dead: int
    rescued_bytes: int


class FlashPages:
    """What the keeper alone does to pages: drain, free, take a path out, and sweep the index."""

    def __init__(self, store: Store, flash: Flash) -> None:
        """Borrows both."""
        self._store = store
        self._flash = flash.pointer
        self._proc = lib.store_proc(store.pointer)
        self._sweep = ffi.new("struct flash_sweep *")

    def close(self, page: int) -> None:
        """An open page takes no more records."""
        lib.flash_page_close(self._flash, self._proc, page)

    def drain(self, page: int) -> None:
        """Reads of the page miss from now on; its entries go with the next whole sweep."""
        lib.flash_page_drain(self._flash, self._proc, page)

    def free(self, page: int) -> None:
        """The page, which has no entries, may be used again."""
        lib.flash_page_free(self._flash, self._proc, page)

    def is_dead(self, page: int) -> bool:
        """True when all its records are expired or flushed."""
        return bool(lib.tier_page_is_dead(self._store.pointer, page))

    def take_out(self, path: int) -> None:
        """Takes a path out of service."""
        lib.flash_path_take_out(self._flash, self._proc, path)

    def begin_sweep(self) -> None:
        """The next steps begin a walk over the index."""
        self._sweep = ffi.new("struct flash_sweep *")

    def sweep(self, buckets: int) -> bool:
        """Looks at some buckets of the index; True while the walk is not complete."""
        return bool(lib.flash_sweep_step(self._flash, self._proc, self._sweep, buckets))


class FlashDump:
    """Lines for items on one page after the other, for `lru_crawler metadump`."""

    PLACE_BYTES = 32768

    def __init__(self, store: Store, scan: Scan, kind: int) -> None:
        """Borrows both; the scan has begun and loaded a piece."""
        self._store = store
        self._scan = scan
        self._kind = kind
        self._place = ffi.new("char[]", self.PLACE_BYTES)
        self._more = ffi.new("bool *", True)

    def step(self) -> tuple[bytes, bool]:
        """The next lines, and whether the loaded piece has more."""
        written = lib.tier_dump_step(
            self._store.pointer,
            self._scan.pointer,
            self._kind,
            self._place,
            self.PLACE_BYTES,
            self._more,
        )
        return bytes(ffi.buffer(self._place, written)), bool(self._more[0])
