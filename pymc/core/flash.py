"""The flash tier: its files, pages and index as one process sees them."""

from enum import IntEnum
from typing import Any, NamedTuple

from pymc.core.arena import Arena
from pymc.core.errors import EXCEPTIONS, SystemCallError, check
from pymc.core.ffi import ffi, lib
from pymc.record import Record

PAGES_MAX = int(lib.FLASH_PAGES_MAX)
CHANCES_ENTRIES = int(lib.FLASH_CHANCES_ENTRIES)
PATHS_ALL = int(lib.FLASH_PATHS_MAX)
_TIME_BUCKETS = int(lib.FLASH_TIME_BUCKETS)


class Bucket(IntEnum):
    """What a page is for: the streams of records, and the labels of paths."""

    DEFAULT = lib.FLASH_DEFAULT
    COMPACT = lib.FLASH_COMPACT
    CHUNKED = lib.FLASH_CHUNKED
    LOW_TTL = lib.FLASH_LOW_TTL
    COLD_COMPACT = lib.FLASH_COLD_COMPACT
    OLD = lib.FLASH_OLD


# As ext_path names them.
BUCKET_OF_LABEL = {
    "default": Bucket.DEFAULT,
    "compact": Bucket.COMPACT,
    "lowttl": Bucket.LOW_TTL,
    "chunked": Bucket.CHUNKED,
    "coldcompact": Bucket.COLD_COMPACT,
    "old": Bucket.OLD,
}


class PageState(IntEnum):
    """Where a page is in its life."""

    FREE = lib.FLASH_PAGE_FREE
    OPEN = lib.FLASH_PAGE_OPEN
    FULL = lib.FLASH_PAGE_FULL
    DRAINING = lib.FLASH_PAGE_DRAINING
    BAD = lib.FLASH_PAGE_BAD


class Full(IntEnum):
    """What a file system without room still takes: see enum flash_full."""

    NO = lib.FLASH_NOT_FULL
    NEW = lib.FLASH_FULL_NEW
    ALL = lib.FLASH_FULL_ALL


class Wanted(IntEnum):
    """What the operator wants of a path: see enum flash_wanted."""

    JUDGED = lib.FLASH_WANTED_JUDGED
    OUT = lib.FLASH_WANTED_OUT
    IN = lib.FLASH_WANTED_IN


class Why(IntEnum):
    """Why a path is not simply in service: see enum flash_why."""

    NONE = lib.FLASH_WHY_NONE
    WRITES_IN_ROW = lib.FLASH_WHY_WRITES_IN_ROW
    WRITES = lib.FLASH_WHY_WRITES
    READS = lib.FLASH_WHY_READS
    CHECKSUMS = lib.FLASH_WHY_CHECKSUMS
    HAND = lib.FLASH_WHY_HAND
    LATE_READ = lib.FLASH_WHY_LATE_READ
    LATE_WRITE = lib.FLASH_WHY_LATE_WRITE
    NO_ROOM = lib.FLASH_WHY_NO_ROOM


# As logs and `stats extstore` tell it.
WHY_TEXTS = {
    Why.NONE: "ok",
    Why.WRITES_IN_ROW: "several writes in a row failed",
    Why.WRITES: "too many writes failed",
    Why.READS: "too many reads failed",
    Why.CHECKSUMS: "too many checksums are wrong",
    Why.HAND: "by hand",
    Why.LATE_READ: "a read is not answered",
    Why.LATE_WRITE: "a write is not answered",
    Why.NO_ROOM: "its file system is full",
}


class FaultKind(IntEnum):
    """What an armed fault does to an I/O (debug builds only)."""

    NONE = lib.FLASH_FAULT_NONE
    EIO = lib.FLASH_FAULT_EIO
    ENOSPC = lib.FLASH_FAULT_ENOSPC
    SHORT = lib.FLASH_FAULT_SHORT
    TORN = lib.FLASH_FAULT_TORN
    FLIP = lib.FLASH_FAULT_FLIP
    SLOW = lib.FLASH_FAULT_SLOW
    AGAIN = lib.FLASH_FAULT_AGAIN
    HANG = lib.FLASH_FAULT_HANG


class FlashGeometry(Record):
    """The files of the tier and its sizes; they never change."""

    # (name, bytes, label) of each.
    paths: tuple[tuple[str, int, int], ...]
    page_bytes: int
    wbuf_bytes: int
    item_bytes_hint: int
    index_bytes_max: int
    avoid_direct: bool = False
    is_sparse: bool = False

    def c_struct(self) -> tuple[Any, Any]:
        """The C struct, and what it points to, which must outlive it."""
        names = [ffi.new("char[]", name.encode()) for name, _bytes, _label in self.paths]
        paths = ffi.new("struct flash_path[]", len(self.paths))
        for path, name, (_name, path_bytes, label) in zip(paths, names, self.paths, strict=True):
            path.name, path.bytes, path.label = name, path_bytes, label
        made = ffi.new("struct flash_geometry *")
        made.paths = paths
        made.path_count = len(self.paths)
        made.page_bytes = self.page_bytes
        made.wbuf_bytes = self.wbuf_bytes
        made.item_bytes_hint = self.item_bytes_hint
        made.index_bytes_max = self.index_bytes_max
        made.avoid_direct = self.avoid_direct
        made.is_sparse = self.is_sparse
        return made, (paths, names)


class PageInfo(NamedTuple):
    """One page: see struct flash_page_info."""

    version: int
    written_bytes: int
    used_bytes: int
    newest_order: int
    expires_seconds: int
    objects_written: int
    objects: int
    objects_read: int
    state: PageState
    bucket: int
    label: int
    path: int
    is_writable: bool


class PathInfo(Record):
    """How one path stands, and what was counted of it: see struct flash_path_info."""

    reads: int
    read_errors: int
    write_errors: int
    slow_reads: int
    late_reads: int
    times_late: int
    bad_records: int
    full_writes: int
    why: Why
    since_seconds: int
    full: Full
    wanted: Wanted
    is_out: bool
    is_late: bool
    is_direct: bool
    is_allocated: bool


class FlashPathError(SystemCallError):
    """A file of the tier cannot be used; `path` is its number."""

    path: int = 0


def flash_reserve_bytes(geometry: FlashGeometry, slots: int) -> int:
    """Address space an arena needs for this tier."""
    made, _kept = geometry.c_struct()
    return int(lib.flash_reserve_bytes(made, slots))


class Flash:
    """The tier; made by the supervisor before the first fork, used by every process."""

    def __init__(self, arena: Arena, geometry: FlashGeometry) -> None:
        """Opens and empties the files.

        Raises FlashPathError (OSError) when a file cannot be used or another server has it;
        InvalidArgumentError and CoreMemoryError.
        """
        made, _kept = geometry.c_struct()
        out = ffi.new("struct flash **")
        failed_path = ffi.new("uint32_t *")
        status = lib.flash_create(arena.pointer, made, out, failed_path)
        if status in (lib.PYMC_OS_ERROR, lib.PYMC_BUSY):
            number = ffi.errno if status == lib.PYMC_OS_ERROR else 0
            error = FlashPathError(number, EXCEPTIONS[status].__name__)
            error.path = failed_path[0]
            raise error
        check(status, "flash_create")
        self.arena = arena
        self.geometry = geometry
        self.pointer = out[0]

    def close(self) -> None:
        """Closes the files; close() again does nothing."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.flash_close(pointer)

    @property
    def page_count(self) -> int:
        """Pages of all paths."""
        return int(lib.flash_page_count(self.pointer))

    @property
    def path_count(self) -> int:
        """Files or devices."""
        return int(lib.flash_path_count(self.pointer))

    @property
    def page_bytes(self) -> int:
        """Size of a page."""
        return int(lib.flash_page_bytes(self.pointer))

    @property
    def wbuf_bytes(self) -> int:
        """Size of a write buffer."""
        return int(lib.flash_wbuf_bytes(self.pointer))

    @property
    def index_bytes(self) -> int:
        """Memory that the index has taken."""
        return int(lib.flash_index_bytes(self.pointer))

    @property
    def index_entries(self) -> int:
        """Records that the index names."""
        return int(lib.flash_index_entries(self.pointer))

    @property
    def hash_bits(self) -> int:
        """Bits of a key's hash by which the index tells its entry from those of other keys."""
        return int(lib.flash_index_hash_bits(self.pointer))

    @property
    def flushed_entries(self) -> int:
        """Those of the entries that name a page with nothing but flushed records."""
        return int(lib.flash_flushed_entries(self.pointer))

    def pages_used(self) -> tuple[int, int]:
        """How many pages are not free, and the bytes that are wanted in them."""
        out = ffi.new("struct flash_pages_total *")
        lib.flash_pages_sum(self.pointer, out)
        return out.used, out.used_bytes

    def buffers_waiting(self) -> int:
        """Write buffers that take no more records and are not on the device yet."""
        out = ffi.new("struct flash_buffer_info *")
        waiting = 0
        for number in range(lib.flash_buffer_count(self.pointer)):
            lib.flash_buffer_read(self.pointer, number, out)
            waiting += bool(out.state != lib.FLASH_BUFFER_FREE and out.is_closed)
        return waiting

    def pages(self) -> list[PageInfo]:
        """All pages, by number."""
        out = ffi.new("struct flash_page_info *")
        return [self._page(number, out) for number in range(self.page_count)]

    def page(self, number: int) -> PageInfo:
        """One page."""
        return self._page(number, ffi.new("struct flash_page_info *"))

    def _page(self, number: int, out: Any) -> PageInfo:
        lib.flash_page_read(self.pointer, number, out)
        return PageInfo(
            out.version,
            out.written_bytes,
            out.used_bytes,
            out.newest_order,
            out.expires_seconds,
            out.objects_written,
            out.objects,
            out.objects_read,
            PageState(out.state),
            out.bucket,
            out.label,
            out.path,
            out.is_writable,
        )

    def path(self, number: int) -> PathInfo:
        """One path's health."""
        out = ffi.new("struct flash_path_info *")
        lib.flash_path_read(self.pointer, number, out)
        return PathInfo(
            out.reads,
            out.read_errors,
            out.write_errors,
            out.slow_reads,
            out.late_reads,
            out.times_late,
            out.bad_records,
            out.full_writes,
            Why(out.why),
            out.since_seconds,
            Full(out.full),
            Wanted(out.wanted),
            out.is_out,
            out.is_late,
            out.is_direct,
            out.is_allocated,
        )

    def want(self, path: int, wanted: Wanted) -> None:
        """What the operator wants of the path; the keeper finds it within a second."""
        lib.flash_path_want(self.pointer, path, wanted)

    def forget_writes(self, slot: int) -> None:
        """Nobody who had the slot is there any more, and so no write of theirs."""
        lib.flash_writing_forget(self.pointer, slot)

    def set_late(self, number: int, *, is_late: bool) -> bool:
        """Marks a path as late, or as answering again; whether that changed anything."""
        return bool(lib.flash_path_set_late(self.pointer, number, is_late))

    def set_fault(
        self,
        kind: FaultKind,
        *,
        on_reads: bool = False,
        on_writes: bool = False,
        path: int = PATHS_ALL,
        skip: int = 0,
        count: int = 0,
        slow_us: int = 0,
    ) -> None:
        """Lets `count` I/Os (0: all) fail after `skip` good ones, in all processes."""
        fault = ffi.new("struct flash_fault *")
        fault.kind, fault.path, fault.skip, fault.count = kind, path, skip, count
        fault.on_reads, fault.on_writes, fault.slow_us = on_reads, on_writes, slow_us
        lib.flash_fault_set(self.pointer, fault)

    def read_times(self) -> list[int]:
        """Reads from the device, counted by power of two of microseconds."""
        counts = ffi.new("uint64_t[]", _TIME_BUCKETS)
        lib.flash_read_times(self.pointer, counts)
        return list(counts)

    def write_times(self) -> list[int]:
        """Writes to the device, likewise."""
        counts = ffi.new("uint64_t[]", _TIME_BUCKETS)
        lib.flash_write_times(self.pointer, counts)
        return list(counts)
