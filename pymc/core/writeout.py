"""Write-out and compaction as the keeper drives them: batches, scans and sweeps, each in steps."""

from typing import Any

from pymc.core.errors import check
from pymc.core.ffi import ffi, lib
from pymc.core.flash import Bucket, Flash
from pymc.core.store import CLASS_COUNTER_NAMES, Store
from pymc.record import Record

STATUS_GOOD = int(lib.PYMC_OK)
_CLASS_PLACES = tuple(CLASS_COUNTER_NAMES.index(name) for name in ("evicted", "cmd_set"))


class Batch:
    """A write buffer and whose records are in it: fill, seal, write in any thread, commit."""

    def __init__(self, store: Store) -> None:
        """Takes the memory of one write buffer. Raises CoreMemoryError."""
        out = ffi.new("struct store_batch **")
        check(lib.store_batch_create(store.pointer, out), "store_batch_create")
        self.pointer = out[0]
        self._buffer = lib.store_batch_buffer(self.pointer)
        self._result = ffi.new("struct store_commit_result *")

    def close(self) -> None:
        """Gives the memory back. Must not be under way to the device."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.store_batch_destroy(pointer)

    def begin(self, bucket: Bucket) -> bool:
        """Begins to fill for a stream; False when no page is free."""
        status = lib.store_batch_begin(self.pointer, bucket)
        if status == lib.PYMC_NOT_FOUND:
            return False
        check(status, "store_batch_begin")
        return True

    @property
    def records(self) -> int:
        """Records in it."""
        return int(lib.store_batch_records(self.pointer))

    @property
    def page(self) -> int:
        """The page it goes to."""
        return int(lib.flash_buffer_page(self._buffer))

    def seal(self) -> int:
        """Ends filling; the bytes to write, 0 when there are none (it may begin again then)."""
        return int(lib.store_batch_seal(self.pointer))

    def write(self) -> int:
        """Writes what was sealed, in any thread; the status that commit() wants."""
        return int(lib.flash_buffer_write(self._buffer))

    def commit(self, status: int) -> "Committed":
        """Lets the index name the records, when they were written; it may begin again."""
        out = self._result
        lib.store_batch_commit(self.pointer, status, out)
        return Committed(out.linked, out.changed, out.no_memory)


class Committed(Record):
    """What became of a batch's records."""

    linked: int
    # Wasted, since the item changed meanwhile.
    changed: int
    # The index had no room.
    no_memory: int


class WriteOutStep(Record):
    """What a step of write-out found. `full_bucket` is -1, or the stream that needs a batch."""

    full_bucket: int
    examined: int
    added: int
    added_bytes: int
    is_ahead: bool


class WriteOut:
    """Copies items that will be evicted next into batches, one open batch per stream."""

    def __init__(self, store: Store) -> None:
        """Knows no batch yet."""
        self._store = store
        self._batches = ffi.new("struct store_batch *[]", len(Bucket))
        self._rules = ffi.new("struct store_admission *")
        self._result = ffi.new("struct store_writeout_result *")
        self._ahead: dict[int, Any] = {}

    def set_batch(self, bucket: int, batch: Batch | None) -> None:
        """The batch that a stream's records go to; None for none."""
        self._batches[bucket] = batch.pointer if batch else ffi.NULL

    def set_rules(
        self,
        *,
        item_bytes_min: int,
        idle_seconds_min: int,
        ttl_seconds_min: int,
        low_ttl_seconds: int,
        compress_bytes_min: int,
        unread_percent: int,
    ) -> None:
        """What may go to flash in the steps that follow: see struct store_admission."""
        rules = self._rules
        rules.item_bytes_min = item_bytes_min
        rules.idle_seconds_min = idle_seconds_min
        rules.ttl_seconds_min = ttl_seconds_min
        rules.low_ttl_seconds = low_ttl_seconds
        rules.compress_bytes_min = compress_bytes_min
        rules.unread_percent = unread_percent

    def forget(self, class_id: int) -> None:
        """Looks at the items of the class from the start again."""
        self._ahead.pop(class_id, None)

    def step(self, class_id: int, ahead_chunks: int, chunks: int) -> WriteOutStep:
        """Looks at up to `chunks` items of a class, as far as `ahead_chunks` of each kind."""
        ahead = self._ahead.get(class_id)
        if ahead is None:
            ahead = self._ahead[class_id] = ffi.new("struct store_ahead *")
        out = self._result
        lib.store_writeout_step(
            self._store.pointer,
            self._batches,
            class_id,
            ahead,
            self._rules,
            ahead_chunks,
            chunks,
            out,
        )
        return WriteOutStep(
            out.full_bucket, out.examined, out.added, out.added_bytes, bool(out.is_ahead)
        )


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
        self._rules = ffi.new("struct store_compaction *")
        self._result = ffi.new("struct store_compact_result *")

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
        """Forgets a record that waits for room in a batch."""
        lib.store_compact_stop(self._store.pointer)

    def compact(self, batch: Batch | None, records: int, *, read_only: bool) -> "CompactStep":
        """Goes through up to `records` records and copies into the batch what is rescued."""
        out = self._result
        self._rules.read_only = read_only
        place = batch.pointer if batch else ffi.NULL
        lib.store_compact_step(self._store.pointer, self.pointer, place, self._rules, records, out)
        return CompactStep(
            bool(out.needs_batch),
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

    needs_batch: bool
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
        return bool(lib.store_flash_page_is_dead(self._store.pointer, page))

    def take_out(self, path: int) -> None:
        """Takes a path out of service."""
        lib.flash_path_take_out(self._flash, self._proc, path)

    def begin_sweep(self) -> None:
        """The next steps begin a walk over the index."""
        self._sweep = ffi.new("struct flash_sweep *")

    def sweep(self, buckets: int) -> bool:
        """Looks at some buckets of the index; True while the walk is not complete."""
        return bool(lib.flash_sweep_step(self._flash, self._proc, self._sweep, buckets))

    @property
    def swept_entries(self) -> int:
        """Entries that this walk has removed."""
        return int(self._sweep.removed)


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
        written = lib.store_flash_dump_step(
            self._store.pointer,
            self._scan.pointer,
            self._kind,
            self._place,
            self.PLACE_BYTES,
            self._more,
        )
        return bytes(ffi.buffer(self._place, written)), bool(self._more[0])
