"""Drives the log of the flash tier without a store: an arena, files, records of bytes."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import COUNTERS

BLOCK = 4096
PAGE = 1 << 20
WBUF = 1 << 18
HEADER_BYTES = 12
COMPRESSED = 0x80000000
EPOCH_UNIX_SECONDS = 1_700_000_000


@ffi.callback("void(void *, struct proc *, uint32_t)")  # type: ignore[untyped-decorator]
def _repair(flash: Any, _proc: Any, dead_slot: int) -> None:
    lib.flash_buffers_repair(ffi.cast("struct flash *", flash), dead_slot)


class Log:
    """A flash tier in its own arena, and the keeper's handle on it."""

    def __init__(
        self,
        folder: Path,
        pages: Sequence[int] = (4,),
        page_bytes: int = PAGE,
        wbuf_bytes: int = WBUF,
        labels: Sequence[int] = (),
        avoid_direct: bool = False,
        names: Sequence[str] = (),
        is_sparse: bool = False,
        slots: int = 2,
        buffers: int = 0,
    ) -> None:
        names = names or [str(folder / f"log{number}") for number in range(len(pages))]
        self.names = names
        self.wbuf_bytes = wbuf_bytes
        self._kept = [ffi.new("char[]", name.encode()) for name in names]
        paths = ffi.new("struct flash_path[]", len(names))
        for number, name in enumerate(self._kept):
            paths[number].name = name
            paths[number].bytes = pages[number] * page_bytes + (page_bytes // 2)
            paths[number].label = labels[number] if labels else lib.FLASH_DEFAULT
        geometry = ffi.new("struct flash_geometry *")
        geometry.paths = paths
        geometry.path_count = len(names)
        geometry.page_bytes = page_bytes
        geometry.wbuf_bytes = wbuf_bytes
        geometry.item_bytes_hint = 1024
        geometry.index_bytes_max = 1 << 20
        geometry.avoid_direct = avoid_direct
        geometry.is_sparse = is_sparse
        geometry.buffers = buffers
        options = ffi.new("struct arena_options *")
        options.reserve_bytes = (1 << 20) + lib.flash_reserve_bytes(geometry, slots)
        options.slots = slots
        options.boot_unix_seconds = EPOCH_UNIX_SECONDS + 2
        out = ffi.new("struct arena **")
        assert lib.arena_create(options, out) == 0
        self.arena = out[0]
        made = ffi.new("struct flash **")
        failed = ffi.new("uint32_t *")
        self.status = lib.flash_create(self.arena, geometry, made, failed)
        self.errno = ffi.errno
        self.failed_path = int(failed[0])
        self.flash = made[0]
        self.procs: list[Any] = []
        # The keeper's own.
        self.proc = self.open_slot(0)

    def open_slot(self, slot: int) -> Any:
        """Takes a slot for the calling thread; who repairs it lets go of its buffer."""
        process = ffi.new("struct proc **")
        repair = ffi.NULL if self.flash == ffi.NULL else _repair
        opened = lib.proc_open(self.arena, slot, lib.PROC_WORKER, repair, self.flash, process)
        assert opened == 0
        self.procs.append(process[0])
        return process[0]

    def close_slot(self, proc: Any) -> None:
        self.procs.remove(proc)
        lib.proc_close(proc)

    def close(self) -> None:
        for proc in self.procs:
            lib.proc_close(proc)
        self.procs.clear()
        if self.flash != ffi.NULL:
            lib.flash_close(self.flash)
            self.flash = ffi.NULL
        lib.arena_close(self.arena)

    def __enter__(self) -> "Log":
        assert self.status == 0, (self.status, self.errno)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def page_count(self) -> int:
        return int(lib.flash_page_count(self.flash))

    def page(self, number: int) -> Any:
        out = ffi.new("struct flash_page_info *")
        lib.flash_page_read(self.flash, number, out)
        return out

    def states(self) -> list[int]:
        return [self.page(number).state for number in range(self.page_count)]

    def path(self, number: int) -> Any:
        out = ffi.new("struct flash_path_info *")
        lib.flash_path_read(self.flash, number, out)
        return out

    def open_page(self, bucket: int = lib.FLASH_DEFAULT, path: int = 0) -> int:
        return int(lib.flash_page_open(self.flash, self.proc, bucket, path))

    def place(self, address: int) -> tuple[int, int]:
        """Page and offset of an address."""
        units = int(lib.flash_page_bytes(self.flash)) // 16
        return address // units, address % units * 16

    def arm(self, kind: int, **fields: Any) -> None:
        """Arms a fault for all paths unless `fields` say otherwise; kind 0 takes it away."""
        fault = ffi.new("struct flash_fault *")
        fault.kind = kind
        fault.path = lib.FLASH_PATHS_MAX
        for name, value in fields.items():
            setattr(fault, name, value)
        lib.flash_fault_set(self.flash, fault)

    def write_all(
        self, images: Sequence[bytes], bucket: int = lib.FLASH_DEFAULT
    ) -> dict[int, bytes]:
        """Writes a record for each image, with as many buffers as needed; address to image."""
        written: dict[int, bytes] = {}
        buffer = self.free_buffer()
        rest = list(images)
        while rest:
            assert buffer.begin(bucket) == 0, "no page is free"
            while rest and (address := buffer.put(rest[0])) is not None:
                written[address] = rest.pop(0)
            if buffer.seal():
                assert buffer.write() == 0
                buffer.finish(0)
        return written

    def free_buffer(self) -> "Buffer":
        buffers = [Buffer(self, n) for n in range(lib.flash_buffer_count(self.flash))]
        return next(one for one in buffers if one.info().state == lib.FLASH_BUFFER_FREE)

    def scan(self, page: int) -> dict[int, bytes]:
        """All records that a scan of the page finds; address to image."""
        return dict(self.walk(page))

    def walk(self, page: int, errors_out: list[int] | None = None) -> Iterator[tuple[int, bytes]]:
        out = ffi.new("struct flash_scan **")
        assert lib.flash_scan_create(self.flash, out) == 0
        address = ffi.new("uint64_t *")
        try:
            if lib.flash_scan_begin(out[0], page) != 0:
                return
            while (status := lib.flash_scan_load(out[0])) != lib.PYMC_NOT_FOUND:
                if status != 0:
                    assert errors_out is not None, status
                    errors_out.append(status)
                while (record := lib.flash_scan_next(out[0], address)) != ffi.NULL:
                    raw = ffi.cast("char *", record)
                    sizes = struct.unpack_from("<I", bytes(ffi.buffer(raw, 8)), 4)[0]
                    whole = bytes(ffi.buffer(raw, sizes & ~COMPRESSED))
                    yield int(address[0]), whole[HEADER_BYTES:]
        finally:
            lib.flash_scan_destroy(out[0])

    def counters(self) -> dict[str, int]:
        values = ffi.new("uint64_t[]", len(COUNTERS))
        lib.meter_read(self.arena, 0, values)
        return dict(zip(COUNTERS, values, strict=True))

    def write_times(self) -> list[int]:
        counts = ffi.new("uint64_t[]", lib.FLASH_TIME_BUCKETS)
        lib.flash_write_times(self.flash, counts)
        return list(counts)


class Buffer:
    """A write buffer; `number` tells which of the tier's it is."""

    def __init__(self, log: Log, number: int = 0, proc: Any = None) -> None:
        self.log = log
        self.number = number
        self.proc = log.proc if proc is None else proc
        self.bucket = int(lib.FLASH_DEFAULT)

    def begin(self, bucket: int = lib.FLASH_DEFAULT) -> int:
        self.bucket = bucket
        return int(lib.flash_buffer_begin(self.log.flash, self.proc, self.number, bucket))

    def info(self) -> Any:
        out = ffi.new("struct flash_buffer_info *")
        lib.flash_buffer_read(self.log.flash, self.number, out)
        return out

    def put(
        self,
        image: bytes,
        compressed: bool = False,
        note: tuple[int, int] = (1, 0),
    ) -> int | None:
        """Adds a record; its address, None without room. `note`: order number, expiry."""
        place = self.take(HEADER_BYTES + len(image))
        if place is None:
            return None
        self.fill(place, image, compressed, note)
        lib.flash_place_give(self.log.flash, self.proc)
        return int(place.address)

    def take(self, record_bytes: int) -> Any:
        """A place for a record, in whichever buffer of the stream has room; None without any."""
        place = ffi.new("struct flash_place *")
        flash, proc = self.log.flash, self.proc
        return (
            place if lib.flash_place_take(flash, proc, self.bucket, record_bytes, place) else None
        )

    def fill(
        self, place: Any, image: bytes, compressed: bool = False, note: tuple[int, int] = (1, 0)
    ) -> None:
        record_bytes = HEADER_BYTES + len(image)
        sizes = record_bytes | (COMPRESSED if compressed else 0)
        ffi.memmove(place.memory, struct.pack("<III", 0, sizes, 0) + image, record_bytes)
        lib.flash_place_fill(self.log.flash, place, record_bytes, *note)

    @property
    def page(self) -> int:
        return int(self.info().page)

    def close(self) -> None:
        lib.flash_buffer_close(self.log.flash, self.number)

    def seal(self) -> int:
        if self.info().state == lib.FLASH_BUFFER_FILLING:
            self.close()
        return int(lib.flash_buffer_seal(self.log.flash, self.proc, self.number))

    def write(self) -> int:
        return int(lib.flash_buffer_write(self.log.flash, self.number))

    def finish(self, status: int) -> None:
        lib.flash_buffer_finish(self.log.flash, self.proc, self.number, status)

    def complete(self) -> int:
        """Seals, writes and finishes; what came of it."""
        assert self.seal() > 0
        status = self.write()
        self.finish(status)
        return status


EXPIRES, CLIENT_FLAGS, OWN_CAS = 4, 8, 16


def image_of(
    key: bytes,
    value: bytes,
    expiry_seconds: int = 0,
    flags: int = 0,
    cas: int = 77,
    stored: bytes | None = None,
) -> bytes:
    """An item's image as the store writes it."""
    is_own = cas >= 1 << 48
    state = EXPIRES * bool(expiry_seconds) | CLIENT_FLAGS * bool(flags) | OWN_CAS * is_own
    low, high = (5, 0) if is_own else (cas & 0xFFFFFFFF, cas >> 32)
    image = struct.pack("<IIIHH", 1000, len(value) << 8 | len(key), low, high, state)
    image += struct.pack("<I", expiry_seconds) if expiry_seconds else b""
    image += struct.pack("<I", flags) if flags else b""
    image += struct.pack("<Q", cas) if is_own else b""
    return image + key + (value if stored is None else stored)


def name_all(log: Log, written: dict[int, bytes]) -> None:
    """Lets the index name the records."""
    for number, (address, image) in enumerate(written.items()):
        hash_ = number * 0x9E3779B97F4A7C15 % 2**64
        record_bytes = HEADER_BYTES + len(image)
        assert lib.flash_insert(log.flash, log.proc, hash_, address, record_bytes) == 0
