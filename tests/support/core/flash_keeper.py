"""A flash tier whose keeper does one step at a time: full buffers, compaction, page drops."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_cache import FlashCache, Log

KIB = 1 << 10
ALL = 1 << 30
# Small enough that pages wrap many times, large enough for a value of some kilobytes.
TINY_LOG = Log(
    pages=6,
    page_bytes=64 * KIB,
    wbuf_bytes=16 * KIB,
    index_bytes_max=1 << 20,
    kind=int(lib.FLASH_READER_THREADS),
    threads=1,
    avoid_direct=True,
)


@dataclass(frozen=True, slots=True)
class Admission:
    """What may go to flash: see struct space_admission."""

    item_bytes_min: int = 0
    idle_seconds_min: int = 0
    ttl_seconds_min: int = 0
    low_ttl_seconds: int = 0
    compress_bytes_min: int = 0
    unread_percent: int = 100
    active_too: bool = True


ADMIT_ALL = Admission()
ADMIT_COMPRESSED = Admission(compress_bytes_min=64)


@dataclass(slots=True)
class Compacted:
    """What a compaction did."""

    rescued: int = 0
    dropped: int = 0
    dead: int = 0


class FlashKeeper(FlashCache):
    """Buffers that took records wait, filling, until `commit()` writes them."""

    def __init__(self, folder: Path, log: Log = TINY_LOG, **wants: Any) -> None:
        super().__init__(folder, log, **wants)
        # False: what finds no free page stays in memory.
        self.may_drop = True
        self.examined: dict[str, int] = {}

    def close(self) -> None:
        self.commit()
        super().close()

    def __enter__(self) -> "FlashKeeper":
        return self

    # Write-out

    def fill(self, admission: Admission = ADMIT_ALL, classes: range | None = None) -> int:
        """Copies the items of these classes into write buffers; how many records."""
        rules = ffi.new("struct space_admission *")
        for name in Admission.__dataclass_fields__:
            setattr(rules, name, getattr(admission, name))
        added = 0
        result = ffi.new("struct tier_writeout_result *")
        self.examined = {}
        for class_id in classes or range(1, len(self.cache.shape.chunk_bytes) + 1):
            ahead = ffi.new("struct tier_ahead *")
            while True:
                lib.tier_writeout_step(self.keeper.store, class_id, ahead, rules, ALL, ALL, result)
                added += result.added
                for name in ("too_small", "too_young", "too_short_lived", "never_read"):
                    self.examined[name] = self.examined.get(name, 0) + getattr(result, name)
                for name in ("too_large", "clean", "examined"):
                    self.examined[name] = self.examined.get(name, 0) + getattr(result, name)
                if result.full_bucket < 0:
                    assert result.is_ahead
                    break
                if not self.begin(result.full_bucket):
                    break
        return added

    def commit(self, buffers: int = ALL) -> int:
        """Writes the buffers that were begun first; how many records were lost by that."""
        begun = [
            (row.begun, number)
            for number, row in enumerate(self.buffers())
            if row.state != lib.FLASH_BUFFER_FREE
        ]
        lost = 0
        for _begun, number in sorted(begun)[:buffers]:
            if self.buffers()[number].state == lib.FLASH_BUFFER_FILLING:
                lib.flash_buffer_close(self.flash, number)
            lost += self.write_buffer(number)
        return lost

    def write_out(self, admission: Admission = ADMIT_ALL) -> int:
        """Fills and commits; how many records are on flash for that."""
        added = self.fill(admission)
        return added - self.commit()

    def exile(self, admission: Admission = ADMIT_ALL) -> int:
        """Writes all out and keeps nothing of it in memory; how many items went."""
        self.write_out(admission)
        return self.drop_memory_copies()

    def leave(self, idle_seconds: int = 0, chunks: int = ALL) -> int:
        """Lets idle items that are on flash too leave memory; how many went."""
        cursor = ffi.new("struct space_cursor *")
        while lib.tier_leave_step(self.keeper.store, cursor, chunks, idle_seconds):
            pass
        return int(cursor.items_reclaimed)

    def begin(self, bucket: int) -> bool:
        """Lets a buffer take records of the stream; False without a page for it."""
        lib.flash_streams_wanted(self.flash)
        while True:
            rows = self.buffers()
            free = [n for n, row in enumerate(rows) if row.state == lib.FLASH_BUFFER_FREE]
            if not free:
                self.commit(1)
                continue
            status = lib.flash_buffer_begin(self.flash, self.keeper.proc, free[0], bucket)
            if status != lib.PYMC_NOT_FOUND:
                assert status == 0
                return True
            if not self.may_drop:
                return False
            self.make_room()

    # Pages

    def states(self, state: int) -> list[int]:
        """Numbers of the pages in this state, the oldest first."""
        rows = self.pages()
        found = [page for page, row in enumerate(rows) if row.state == state]
        return sorted(found, key=lambda page: int(rows[page].version))

    def in_use(self) -> list[int]:
        """Numbers of the pages that hold records, the oldest first."""
        rows = self.pages()
        wanted = (lib.FLASH_PAGE_FULL, lib.FLASH_PAGE_OPEN)
        found = [page for page, row in enumerate(rows) if row.state in wanted]
        return sorted(found, key=lambda page: int(rows[page].version))

    def make_room(self) -> None:
        """Frees the pages that drain, else the oldest one, whatever is in it."""
        if self.states(lib.FLASH_PAGE_DRAINING):
            self.sweep()
            return
        self.commit()
        self.drop_page(self.in_use()[0])

    def drain(self, page: int) -> None:
        lib.flash_page_drain(self.flash, self.keeper.proc, page)

    def sweep(self) -> int:
        """Goes over the whole index and frees the pages that were draining; entries that went."""
        self.commit()
        draining = self.states(lib.FLASH_PAGE_DRAINING)
        sweep = ffi.new("struct flash_sweep *")
        while lib.flash_sweep_step(self.flash, self.keeper.proc, sweep, 16):
            pass
        for page in draining:
            assert self.pages()[page].objects == 0
            lib.flash_page_free(self.flash, self.keeper.proc, page)
        return int(sweep.removed)

    def compact(self, page: int, *, read_only: bool = False) -> Compacted:
        """Rescues what the rule wants from the page and leaves it draining.

        Where there is no free page, or a piece cannot be read, the rest is given up or, if nothing
        may be dropped, the page stays.
        """
        self.commit()
        lib.flash_page_close(self.flash, self.keeper.proc, page)
        out = ffi.new("struct flash_scan **")
        assert lib.flash_scan_create(self.flash, out) == 0
        scan = out[0]
        lib.tier_compact_stop(self.keeper.store)
        total = Compacted()
        is_whole = lib.flash_scan_begin(scan, page) == 0 and self._scan(scan, read_only, total)
        lib.tier_compact_stop(self.keeper.store)
        lib.flash_scan_destroy(scan)
        if is_whole or self.may_drop:
            self.drain(page)
        return total

    def _scan(self, scan: Any, read_only: bool, total: Compacted) -> bool:
        rules = ffi.new("struct tier_compaction *", {"read_only": read_only})
        result = ffi.new("struct tier_compact_result *")
        store = self.keeper.store
        while True:
            lib.tier_compact_step(store, scan, lib.FLASH_COMPACT, rules, 16, result)
            for name in Compacted.__dataclass_fields__:
                setattr(total, name, getattr(total, name) + getattr(result, name))
            if result.needs_buffer:
                # Not at the cost of the page that is being rescued.
                may_drop, self.may_drop = self.may_drop, False
                has_room = self.begin(lib.FLASH_COMPACT)
                self.may_drop = may_drop
                if not has_room:
                    return False
            elif result.needs_load:
                status = lib.flash_scan_load(scan)
                if status != 0:
                    return bool(status == lib.PYMC_NOT_FOUND)

    def dump(self, kind: int) -> bytes:
        """Lines of the items that are on flash only, from all pages."""
        out = ffi.new("struct flash_scan **")
        assert lib.flash_scan_create(self.flash, out) == 0
        place = ffi.new("char[]", 4096)
        more = ffi.new("bool *")
        lines = b""
        for page in self.in_use():
            if lib.flash_scan_begin(out[0], page) != 0:
                continue
            while lib.flash_scan_load(out[0]) == 0:
                more[0] = True
                while more[0]:
                    used = lib.tier_dump_step(
                        self.keeper.store, out[0], kind, place, len(place), more
                    )
                    lines += bytes(ffi.buffer(place, used))
        lib.flash_scan_destroy(out[0])
        return lines

    def memory_dump(self, kind: int) -> bytes:
        """Lines of the live items that are in memory."""
        cursor = ffi.new("struct space_cursor *")
        place = ffi.new("char[]", 1 << 16)
        more = ffi.new("bool *", True)
        lines = b""
        while more[0]:
            used = lib.store_dump_step(
                self.keeper.store, cursor, kind, ALL, ffi.NULL, place, len(place), more
            )
            lines += bytes(ffi.buffer(place, used))
        return lines

    # Checking

    def check(self) -> int:
        """Aborts on a contradiction in memory or in the index; how many items are in memory."""
        entries = self.entries()
        assert entries == lib.flash_index_entries(self.flash)
        per_page = [row.objects for row in self.pages()]
        assert sum(per_page) == entries, (per_page, entries)
        return self.worker.check()

    def flash_fault(self, kind: int, **wants: Any) -> None:
        """Lets I/Os fail (debug builds); FLASH_FAULT_NONE ends it."""
        fault = ffi.new("struct flash_fault *", {"kind": kind, "path": lib.FLASH_PATHS_MAX})
        for name, value in wants.items():
            setattr(fault, name, value)
        lib.flash_fault_set(self.flash, fault)
