"""Drives the fingerprint index from tests: a small tier, handles on its slots, made-up hashes."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from pymc.core.arena import Arena
from pymc.core.ffi import ffi, lib
from pymc.core.flash import Flash, FlashGeometry, flash_reserve_bytes
from tests.support.memory_file import memory_files, occupied_bytes

MIB = 1 << 20
PAGE_BYTES = 2 * MIB
UNIT_BYTES = 16
UNITS_PER_PAGE = PAGE_BYTES // UNIT_BYTES
# An index for few records has this many buckets at the start.
START_BITS = 6
HASH_BITS = 21
# What the addresses of four pages need; the other 17 of 36 bits hold more of the hash.
ADDRESS_BITS = 19
SPARE_BITS = 36 - ADDRESS_BITS
BUCKET_BYTES = 128
OVERFLOW_BYTES = 64
CANDIDATES_MAX = int(lib.FLASH_CANDIDATES_MAX)
BUSY = int(lib.PYMC_BUSY)
NO_MEMORY = int(lib.PYMC_NO_MEMORY)


def hash_of(bucket: int, field: int) -> int:
    """A hash that leads to this one of the first buckets and has these bits in its entry.

    All hashes have the same spare bits.
    """
    return field << START_BITS | bucket | 0x5A5 << (START_BITS + HASH_BITS)


def address_of(entry: int) -> int:
    return entry & ((1 << ADDRESS_BITS) - 1)


def is_read(entry: int) -> bool:
    return bool(entry >> 41 & 1)


def most_bytes(entry: int) -> int:
    """At least as many bytes as the record has, by the entry's size class."""
    size_class = entry >> 36 & 31
    assert size_class > 0
    return (128 if size_class % 2 else 192) << ((size_class - 1) // 2)


class Tier:
    """An arena with a flash tier in it whose pages are all full; nobody looks at records."""

    def __init__(
        self,
        *,
        pages: int = 4,
        slots: int = 4,
        item_bytes_hint: int = 1 << 40,
        index_bytes_max: int = 8 * MIB,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pymc-index-")
        path = Path(self.folder.name, "log")
        self.geometry = FlashGeometry(
            paths=((str(path), pages * PAGE_BYTES, int(lib.FLASH_DEFAULT)),),
            page_bytes=PAGE_BYTES,
            wbuf_bytes=PAGE_BYTES,
            item_bytes_hint=item_bytes_hint,
            index_bytes_max=index_bytes_max,
            avoid_direct=True,
        )
        before = memory_files()
        self.arena = Arena.create(flash_reserve_bytes(self.geometry, slots) + 4 * MIB, slots)
        (self._memory_file,) = memory_files() - before
        self.flash = Flash(self.arena, self.geometry)
        self.pages = pages
        self.slots = slots
        with Handle(self, slots - 1) as handle:
            for page in range(pages):
                assert handle.open_page() == page

    def open(self, slot: int = 0) -> "Handle":
        return Handle(self, slot)

    @property
    def memory_bytes(self) -> int:
        """What the arena occupies, as the system counts it."""
        return occupied_bytes(self._memory_file)

    @property
    def bytes(self) -> int:
        return int(lib.flash_index_bytes(self.flash.pointer))

    @property
    def entries(self) -> int:
        return int(lib.flash_index_entries(self.flash.pointer))

    def page(self, page: int) -> Any:
        """A page's row as policies see it."""
        out = ffi.new("struct flash_page_info *")
        lib.flash_page_read(self.flash.pointer, page, out)
        return out

    def check(self) -> int:
        """Looks at everything; returns the number of entries."""
        return int(lib.flash_index_check(self.flash.pointer))

    def close(self) -> None:
        self.flash.close()
        self.arena.close()
        self.folder.cleanup()

    def __enter__(self) -> "Tier":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Handle:
    """A process slot that works on the index; it repairs after the dead."""

    def __init__(self, tier: Tier, slot: int) -> None:
        self.tier = tier
        self.slot = slot
        self.flash = tier.flash.pointer
        repair = ffi.cast("proc_repair", ffi.addressof(lib, "flash_index_repair"))
        out = ffi.new("struct proc **")
        status = lib.proc_open(
            tier.arena.pointer, slot, lib.PROC_WORKER, repair, ffi.cast("void *", self.flash), out
        )
        assert status == 0, status
        self.proc = out[0]
        self._found = ffi.new("uint64_t[]", CANDIDATES_MAX)

    def find(self, key_hash: int) -> list[int]:
        count = lib.flash_find(self.flash, self.proc, key_hash, self._found)
        return [int(self._found[i]) for i in range(count)]

    def insert(self, key_hash: int, address: int, record_bytes: int = 500) -> int:
        return int(lib.flash_insert(self.flash, self.proc, key_hash, address, record_bytes))

    def remove(self, key_hash: int, address: int) -> bool:
        return bool(lib.flash_remove(self.flash, self.proc, key_hash, address))

    def remove_all(self, key_hash: int) -> int:
        return int(lib.flash_remove_all(self.flash, self.proc, key_hash))

    def move(self, key_hash: int, start: int, end: int) -> bool:
        return bool(lib.flash_move(self.flash, self.proc, key_hash, start, end))

    def mark_read(self, key_hash: int, address: int) -> bool:
        return bool(lib.flash_mark_read(self.flash, self.proc, key_hash, address))

    def entry_at(self, key_hash: int, address: int) -> int:
        return int(lib.flash_entry_at(self.flash, self.proc, key_hash, address))

    def open_page(self) -> int:
        """Takes a free page and fills it at once."""
        page = int(lib.flash_page_open(self.flash, self.proc, lib.FLASH_DEFAULT, 0))
        lib.flash_page_close(self.flash, self.proc, page)
        return page

    def drain(self, page: int) -> None:
        lib.flash_page_drain(self.flash, self.proc, page)

    def free_page(self, page: int) -> None:
        lib.flash_page_free(self.flash, self.proc, page)

    def sweep_step(self, sweep: Any, buckets: int) -> bool:
        return bool(lib.flash_sweep_step(self.flash, self.proc, sweep, buckets))

    def sweep(self, buckets: int = 16) -> int:
        """A whole walk; returns how many entries went."""
        sweep = ffi.new("struct flash_sweep *")
        while self.sweep_step(sweep, buckets):
            pass
        return int(sweep.removed)

    def shrink_step(self, buckets: int = 1 << 20) -> bool:
        """Lets the index shrink; True while there is more to do."""
        return bool(lib.flash_index_shrink_step(self.flash, self.proc, buckets))

    def shrink(self, buckets: int = 1000) -> None:
        """Lets the index shrink as far as it wants to."""
        for _ in range(100_000):
            if not self.shrink_step(buckets):
                return
        raise AssertionError("shrinking never ends")

    def counter(self, name: str) -> int:
        """One of the slot's own counters."""
        return self.tier.arena.counters(self.slot)[name]

    def arm_fault(self, name: str, countdown: int = 1) -> None:
        lib.proc_arm_fault(self.proc, name.encode(), countdown)

    def repair(self, slot: int) -> bool:
        """Repairs after the slot's owner if it is dead."""
        return bool(lib.proc_repair_if_dead(self.proc, slot))

    def close(self) -> None:
        proc, self.proc = self.proc, ffi.NULL
        lib.proc_close(proc)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
