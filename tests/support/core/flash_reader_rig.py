"""Drives a reader from tests: a tier on one file, records of known bytes, the loop around it."""

import os
import random
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pymc.core.arena import Arena
from pymc.core.ffi import ffi, lib
from pymc.core.flash import Flash, FlashGeometry, flash_reserve_bytes
from pymc.core.meter import COUNTER_NAMES
from tests.support.deadline import WAIT_SECONDS

KIB = 1024
MIB = 1024 * KIB
UNIT_BYTES = 16
BLOCK_BYTES = 4096
HEADER_BYTES = 12
KINDS = {"io_uring": lib.FLASH_READER_URING, "threads": lib.FLASH_READER_THREADS}


def size_class(record_bytes: int) -> int:
    """The class of an index entry: 128, 192, 256, 384, ... bytes."""
    for number in range(1, 32):
        half, is_even = divmod(number - 1, 2)
        if (96 << (half + 1) if is_even else 128 << half) >= record_bytes:
            return number
    raise ValueError(record_bytes)


def entry_of(address: int, record_bytes: int) -> int:
    return address | size_class(record_bytes) << 36


@dataclass(frozen=True)
class Record:
    """A record: its index entry, its bytes behind the header, its place in the file."""

    entry: int
    body: bytes
    file_offset: int
    page: int


class Rig:
    """An arena, a process slot and a tier on one file; what is written goes there at once."""

    def __init__(
        self,
        path: Path,
        pages: int = 4,
        page_bytes: int = 256 * KIB,
        wbuf_bytes: int = 64 * KIB,
        avoid_direct: bool = False,
        more_paths: int = 0,
    ) -> None:
        """`pages` of each path; those after the first are `path`1, `path`2, ..."""
        self.page_bytes = page_bytes
        self.path_count = 1 + more_paths
        names = [f"{path}{number or ''}" for number in range(self.path_count)]
        paths = tuple((name, pages * page_bytes, lib.FLASH_DEFAULT) for name in names)
        geometry = FlashGeometry(paths, page_bytes, wbuf_bytes, 256, MIB, avoid_direct)
        self.arena = Arena.create(flash_reserve_bytes(geometry, 2) + 16 * MIB, 2)
        out = ffi.new("struct proc **")
        status = lib.proc_open(self.arena.pointer, 0, lib.PROC_WORKER, ffi.NULL, ffi.NULL, out)
        assert status == 0
        self.proc = out[0]
        self.tier = Flash(self.arena, geometry)
        self.flash = self.tier.pointer
        self.readers: list[Reader] = []
        self.file = os.open(path, os.O_RDWR)

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        os.close(self.file)
        self.tier.close()
        lib.proc_close(self.proc)
        self.arena.close()

    def __enter__(self) -> "Rig":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, bodies: Sequence[bytes]) -> list[Record]:
        """Writes one record per body, in as many buffers as that takes."""
        written: list[Record] = []
        left = list(reversed(bodies))
        while left:
            self.begin_buffer()
            while left and self._add(left[-1], written):
                left.pop()
            self.write_buffer()
        return written

    def begin_buffer(self) -> None:
        assert lib.flash_buffer_begin(self.flash, self.proc, 0, lib.FLASH_DEFAULT) == 0

    def write_buffer(self) -> None:
        lib.flash_buffer_close(self.flash, 0)
        if lib.flash_buffer_seal(self.flash, self.proc, 0):
            status = lib.flash_buffer_write(self.flash, 0)
            assert status == 0
            lib.flash_buffer_finish(self.flash, self.proc, 0, status)

    def _add(self, body: bytes, written: list[Record]) -> bool:
        record_bytes = HEADER_BYTES + len(body)
        taken = ffi.new("struct flash_place *")
        if not lib.flash_place_take(self.flash, self.proc, lib.FLASH_DEFAULT, record_bytes, taken):
            return False
        ffi.memmove(taken.memory + 4, record_bytes.to_bytes(4, "little"), 4)
        ffi.memmove(taken.memory + HEADER_BYTES, body, len(body))
        lib.flash_place_fill(self.flash, taken, record_bytes, 1, 0)
        lib.flash_place_give(self.flash, self.proc)
        address = int(taken.address)
        place = address * UNIT_BYTES
        page = place // self.page_bytes
        written.append(Record(entry_of(address, record_bytes), body, place, page))
        return True

    def write_random(self, count: int, sizes: tuple[int, int], seed: int = 1) -> list[Record]:
        source = random.Random(seed)
        return self.write([source.randbytes(source.randint(*sizes)) for _ in range(count)])

    def drop_page(self, page: int) -> None:
        lib.flash_page_drain(self.flash, self.proc, page)
        lib.flash_page_free(self.flash, self.proc, page)

    def reader(self, kind: str, **changes: Any) -> "Reader":
        made = Reader(self, kind, **changes)
        self.readers.append(made)
        return made

    def fault(self, kind: int, **changes: int) -> None:
        fault = ffi.new("struct flash_fault *")
        fault.kind, fault.on_reads, fault.path = kind, True, lib.FLASH_PATHS_MAX
        for name, value in changes.items():
            setattr(fault, name, value)
        lib.flash_fault_set(self.flash, fault)

    def counters(self) -> dict[str, int]:
        values = ffi.new("uint64_t[]", len(COUNTER_NAMES))
        lib.meter_read(self.arena.pointer, 0, values)
        return dict(zip(COUNTER_NAMES, values, strict=True))

    def path_state(self, path: int = 0) -> Any:
        out = ffi.new("struct flash_path_info *")
        lib.flash_path_read(self.flash, path, out)
        return out

    def path_of(self, record: Record) -> int:
        return int(self.page_info(record.page).path)

    def page_info(self, page: int) -> Any:
        out = ffi.new("struct flash_page_info *")
        lib.flash_page_read(self.flash, page, out)
        return out

    def read_times(self) -> list[int]:
        counts = ffi.new("uint64_t[]", int(lib.FLASH_TIME_BUCKETS))
        lib.flash_read_times(self.flash, counts)
        return list(counts)


class Reader:
    """A reader and the loop around it: an edge-triggered epoll set with its descriptor."""

    def __init__(self, rig: Rig, kind: str, **changes: Any) -> None:
        self.rig = rig
        options = ffi.new("struct flash_reader_options *")
        options.kind, options.depth, options.threads = KINDS[kind], 32, 2
        options.memory_bytes = MIB
        for name, value in changes.items():
            setattr(options, name, value)
        out = ffi.new("struct flash_reader **")
        assert lib.flash_reader_open(rig.flash, rig.proc, options, out) == 0
        self.reader = out[0]
        self.epoll = select.epoll()
        self.epoll.register(int(lib.flash_reader_fd(self.reader)), select.EPOLLIN | select.EPOLLET)
        self.waiters: dict[int, tuple[Any, Any]] = {}
        self.met: list[Any] = []

    def close(self) -> None:
        reader, self.reader = self.reader, ffi.NULL
        lib.flash_reader_close(reader)
        self.epoll.close()

    def begin(self, record: Record | int) -> Any:
        """A held read, or None when memory is short."""
        entry = record.entry if isinstance(record, Record) else record
        read = lib.flash_reader_begin(self.reader, entry)
        return None if read == ffi.NULL else read

    def submit(self) -> int:
        return int(lib.flash_reader_submit(self.reader))

    def release(self, read: Any) -> None:
        lib.flash_reader_release(self.reader, read)

    def wait(self, read: Any, name: Any) -> Any:
        """Waits for the read, or for memory (None); reap() will say `name`."""
        waiter = ffi.new("struct flash_waiter *")
        self.waiters[int(ffi.cast("uintptr_t", waiter))] = (waiter, name)
        lib.flash_reader_wait(self.reader, ffi.NULL if read is None else read, waiter)
        return waiter

    def unwait(self, waiter: Any) -> None:
        lib.flash_reader_unwait(self.reader, waiter)
        del self.waiters[int(ffi.cast("uintptr_t", waiter))]

    def reap(self, now_us: int = 0) -> list[Any]:
        """The names of those who were woken; no deadline is met unless a time is given."""
        names = []
        waiter = lib.flash_reader_reap(self.reader, now_us)
        while waiter != ffi.NULL:
            following = waiter.next
            assert not waiter.is_waiting
            names.append(self.waiters.pop(int(ffi.cast("uintptr_t", waiter)))[1])
            waiter = following
        return names

    def due_us(self) -> int:
        """When the first read will have met its deadline."""
        return int(lib.flash_reader_due_us(self.reader))

    def reap_some(self) -> list[Any]:
        """Sleeps until the descriptor says that somebody is woken."""
        deadline = time.monotonic() + WAIT_SECONDS
        names, self.met = self.met, []
        while not names:
            if not lib.flash_reader_has_done(self.reader):
                assert self.epoll.poll(max(0.0, deadline - time.monotonic())), "nothing is done"
            names = self.reap()
        return names

    def reap_all(self, count: int) -> list[Any]:
        names: list[Any] = []
        while len(names) < count:
            names += self.reap_some()
        assert len(names) == count
        return names

    def finish(self, read: Any) -> None:
        """Lets the read become done; others woken meanwhile are for the next reap_some()."""
        if read.state == lib.FLASH_READ_DONE:
            return
        self.wait(read, read)
        self.submit()
        met, self.met = self.met, []
        while read.state != lib.FLASH_READ_DONE:
            met += self.reap_some()
        met.remove(read)
        self.met = met

    def result(self, record: Record | int) -> int:
        """Reads and releases; how it went."""
        read = self.begin(record)
        self.finish(read)
        result = int(read.result)
        assert (read.record != ffi.NULL) == (result == lib.FLASH_READ_GOOD)
        self.release(read)
        return result

    def state(self) -> Any:
        out = ffi.new("struct flash_reader_state *")
        lib.flash_reader_read_state(self.reader, out)
        return out

    def is_idle(self) -> bool:
        state = self.state()
        return not (state.reads_under_way or state.reads_queued or state.memory_bytes)


def body_of(read: Any, record: Record) -> bytes:
    """What was read in the place of the record's body."""
    start = ffi.cast("char *", read.record) + HEADER_BYTES
    return bytes(ffi.buffer(start, len(record.body)))
