#!/usr/bin/env python3
"""Measures what a device or file system can do for the flash tier, and recommends pymc's settings.

    scripts/flash_device.py /mnt/nvme0               a directory: in a file that is removed after
    scripts/flash_device.py /dev/nvme0n1             a block device: reads only
    scripts/flash_device.py /dev/nvme0n1 --write --rewrite-in-place
                                                     also writes: each block gets back what it held

Sequential writes of 4 MiB and random reads of 4 KiB at depth 1 and 32, with O_DIRECT where the
file system has it. Data is never destroyed: a file that is there is not touched, and a device is
written only when nobody uses it, with the bytes just read from it. Run it while nothing else does.

Exit codes: 0 measured, 2 usage or not possible here (the message says why).
"""

import argparse
import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import random
import stat
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
GIB = 2**30
BLOCK_BYTES = 4096
SECTOR_BYTES = 512
WRITE_BYTES = 4 * MIB
DEEP = 32
FILE_BYTES_MAX = 2 * GIB
FILE_BYTES_MIN = 16 * MIB
PAGE_BYTES = 64 * MIB
PAGES_MAX = 65535  # of the flash tier
IO_URING_SETUP = 425  # the same number on every architecture
BLKGETSIZE64 = 0x80081272
READ_WORKERS_MAX = 8


class DeviceError(Exception):
    """It cannot be measured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a device or file system can do. Rates are 0 where they were not measured."""

    path: str
    is_block_device: bool
    room_bytes: int  # the device's size, or what is free in the file system
    direct: bool  # O_DIRECT works
    sector_reads: bool  # reads of 512 bytes work with O_DIRECT
    io_uring: bool  # the kernel lets us have one
    write_bytes_per_second: float
    reads_per_second: float  # depth 1
    deep_reads_per_second: float  # depth 32


@dataclass(frozen=True, slots=True)
class Advice:
    """One option of pymc, and why."""

    option: str
    why: str


def _page_mib(room_bytes: int) -> int:
    """The smallest page, of 64 MiB or more, of which the tier needs no more than it can have."""
    page_bytes = PAGE_BYTES
    while room_bytes // page_bytes > PAGES_MAX:
        page_bytes *= 2
    return page_bytes // MIB


def _size(measured: Measured) -> Advice | None:
    page_bytes = _page_mib(measured.room_bytes) * MIB
    share = 1.0 if measured.is_block_device else 0.9
    size = int(measured.room_bytes * share) // page_bytes * page_bytes
    if size < 2 * page_bytes:
        return None
    name = measured.path if measured.is_block_device else str(Path(measured.path) / "pymc.flash")
    why = "the whole device" if measured.is_block_device else "nine tenths of what is free"
    return Advice(f"ext_path={name}:{size // MIB}m", why)


def _depth(measured: Measured) -> Advice:
    """Reads under way per worker: how many the device does at once, doubled, as a power of two.

    Not below 32: the tool's own deep reads are slower than a fast device.
    """
    if not measured.reads_per_second:
        return Advice("ext_io_depth=64", "the default")
    at_once = measured.deep_reads_per_second / measured.reads_per_second
    depth = 32
    while depth < 2 * at_once and depth < 256:
        depth *= 2
    return Advice(f"ext_io_depth={depth}", f"depth {DEEP} reads {at_once:.1f} times as much as 1")


def _engine(measured: Measured) -> list[Advice]:
    if measured.io_uring:
        return [Advice("ext_engine=io_uring", "the kernel allows it")]
    threads = Advice("ext_threads=8", "each has one read under way")
    return [Advice("ext_engine=threads", "io_uring is not allowed here"), threads]


def _write_buffer(measured: Measured) -> Advice:
    if measured.write_bytes_per_second >= 2 * GIB:
        return Advice("ext_wbuf_size=8", "so fast a device gains from larger writes")
    return Advice("ext_wbuf_size=4", "the default; large enough for this device")


def _compact_rate(measured: Measured) -> Advice:
    """A third of the writes: as much again is read for it, and new items come first."""
    if not measured.write_bytes_per_second:
        return Advice("ext_compact_rate=0", "writes were not measured: no limit, the default")
    rate = max(1, int(measured.write_bytes_per_second / 3 / MIB))
    return Advice(f"ext_compact_rate={rate}", "a third of the sequential write rate, in MiB/s")


def recommend(measured: Measured) -> list[Advice]:
    """pymc's options for this device, in the order in which they must stand; empty: too small."""
    size = _size(measured)
    if size is None:
        return []
    page_mib = _page_mib(measured.room_bytes)
    found = []
    if page_mib * MIB != PAGE_BYTES:
        found.append(Advice(f"ext_page_size={page_mib}", f"at most {PAGES_MAX} pages"))
    found += [_write_buffer(measured), size, _depth(measured), *_engine(measured)]
    return [*found, _compact_rate(measured)]


def cautions(measured: Measured) -> list[str]:
    """What to know about this device before it is used."""
    found = []
    if not measured.direct:
        found.append("no O_DIRECT here: reads go through the page cache, beside pymc's own memory")
    elif not measured.sector_reads:
        found.append(f"reads must be multiples of {BLOCK_BYTES} bytes; 512 do not work")
    if measured.deep_reads_per_second and measured.deep_reads_per_second < 5000:
        found.append("few random reads a second: the tier answers slowly from this device")
    if not recommend(measured):
        found.append(f"too little room: two pages of {PAGE_BYTES // MIB} MiB at least")
    return found


def report(measured: Measured) -> str:
    """All of it, for people."""

    def rate(value: float, unit: str) -> str:
        return f"{value:,.0f} {unit}" if value else "not measured"

    lines = [
        f"{measured.path}: {measured.room_bytes / GIB:.1f} GiB "
        + ("block device" if measured.is_block_device else "free"),
        f"  O_DIRECT                   {'yes' if measured.direct else 'no'}",
        f"  reads of 512 bytes         {'yes' if measured.sector_reads else 'no'}",
        f"  io_uring                   {'yes' if measured.io_uring else 'no'}",
        f"  sequential writes, 4 MiB   {rate(measured.write_bytes_per_second / MIB, 'MiB/s')}",
        f"  random reads, depth 1      {rate(measured.reads_per_second, '/s')}",
        f"  random reads, depth {DEEP}     {rate(measured.deep_reads_per_second, '/s')} at least",
    ]
    lines += [f"careful: {text}" for text in cautions(measured)]
    advice = recommend(measured)
    if advice:
        lines.append("recommended:")
        lines += [f"  {item.option:32} {item.why}" for item in advice]
        lines.append("  pymc -o " + ",".join(item.option for item in advice))
    return "\n".join(lines)


def _buffer(size: int) -> mmap.mmap:
    """Memory aligned to a page, as O_DIRECT wants it."""
    return mmap.mmap(-1, size)


def _open(path: str, flags: int) -> tuple[int, bool]:
    """The descriptor, and whether it is O_DIRECT. Raises DeviceError."""
    for direct in (os.O_DIRECT, 0):
        try:
            return os.open(path, flags | direct | os.O_CLOEXEC), bool(direct)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise DeviceError(f"{path} is in use (mounted, or part of an array)") from None
            if error.errno != errno.EINVAL:
                raise DeviceError(f"{path}: {error.strerror}") from None
    raise DeviceError(f"{path} cannot be opened")


def _write_rate(descriptor: int, size: int, seconds: float, in_place: bool) -> tuple[float, int]:
    """Bytes per second written from the start on, and how far that came.

    With `in_place`, each piece is read first and gets back what it held; only writes are timed.
    """
    buffer = _buffer(WRITE_BYTES)
    if not in_place:
        buffer[:] = random.Random(1).randbytes(WRITE_BYTES)
    written = 0
    spent = 0.0
    while written + WRITE_BYTES <= size and spent < seconds:
        if in_place and os.preadv(descriptor, [buffer], written) != WRITE_BYTES:
            break
        before = time.monotonic()
        if os.pwritev(descriptor, [buffer], written) != WRITE_BYTES:
            raise DeviceError("a write was cut short")
        spent += time.monotonic() - before
        written += WRITE_BYTES
    before = time.monotonic()
    os.fsync(descriptor)
    spent += time.monotonic() - before
    return (written / spent if spent else 0.0), written


def _read_for(descriptor: int, size: int, seconds: float, seed: int, counts: list[int]) -> None:
    """Random reads, one after the other; appends how many there were."""
    buffer = _buffer(BLOCK_BYTES)
    source = random.Random(seed)
    blocks = size // BLOCK_BYTES
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        os.preadv(descriptor, [buffer], source.randrange(blocks) * BLOCK_BYTES)
        count += 1
    counts.append(count)


def _read_in_threads(job: tuple[int, int, float, int, int]) -> int:
    """One process's part: preadv lets go of the interpreter's lock while the device works."""
    descriptor, size, seconds, threads, seed = job
    counts: list[int] = []
    running = [
        threading.Thread(target=_read_for, args=(descriptor, size, seconds, seed + at, counts))
        for at in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if len(counts) != threads:
        raise DeviceError("the device did not answer every read")
    return sum(counts)


def _read_rate(descriptor: int, size: int, seconds: float, depth: int) -> float:
    """Random reads per second with `depth` under way, shared by as many processes as help."""
    workers = min(depth, os.cpu_count() or 1, READ_WORKERS_MAX)
    share = depth // workers
    jobs = [(descriptor, size, seconds, share, worker * share) for worker in range(workers)]
    # Forked, because the descriptor is inherited.
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        return sum(pool.map(_read_in_threads, jobs, chunksize=1)) / seconds


def _sector_reads(descriptor: int, direct: bool) -> bool:
    if not direct:
        return False
    try:
        return os.preadv(descriptor, [memoryview(_buffer(BLOCK_BYTES))[:SECTOR_BYTES]], 512) == 512
    except OSError:
        return False


def io_uring_allowed() -> bool:
    """Tells whether the kernel gives this process an io_uring."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)
    descriptor = libc.syscall(IO_URING_SETUP, 1, parameters)
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True


def _device_bytes(descriptor: int) -> int:
    (size,) = struct.unpack("Q", fcntl.ioctl(descriptor, BLKGETSIZE64, bytes(8)))
    return int(size)


@contextmanager
def _own_file(directory: str) -> Iterator[str]:
    descriptor, name = tempfile.mkstemp(prefix="flash-device-", dir=directory)
    os.close(descriptor)
    try:
        yield name
    finally:
        os.unlink(name)


def measure_directory(path: str, seconds: float) -> Measured:
    """Measures the file system that holds the directory `path`, in a file that is removed after."""
    path = os.path.abspath(path)
    told = os.statvfs(path)
    room = told.f_bavail * told.f_frsize
    size = min(FILE_BYTES_MAX, room // 4) // WRITE_BYTES * WRITE_BYTES
    if size < FILE_BYTES_MIN:
        raise DeviceError(f"{path}: {room // MIB} MiB free; {4 * FILE_BYTES_MIN // MIB} are needed")
    with _own_file(path) as name:
        descriptor, direct = _open(name, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, size)
            write_rate, written = _write_rate(descriptor, size, seconds, in_place=False)
            return _measure_reads(
                Measured(path, False, room, direct, False, False, write_rate, 0, 0),
                descriptor,
                written,
                seconds,
            )
        finally:
            os.close(descriptor)


def measure_device(path: str, seconds: float, write: bool) -> Measured:
    """Measures a block device; with `write`, each block written gets back what it held."""
    # O_EXCL: the kernel refuses a device that is mounted or part of an array.
    flags = os.O_RDWR | os.O_EXCL if write else os.O_RDONLY
    descriptor, direct = _open(path, flags)
    try:
        size = _device_bytes(descriptor)
        write_rate = 0.0
        if write:
            write_rate, _ = _write_rate(descriptor, size, seconds, in_place=True)
        found = Measured(path, True, size, direct, False, False, write_rate, 0, 0)
        return _measure_reads(found, descriptor, size, seconds)
    finally:
        os.close(descriptor)


def _measure_reads(found: Measured, descriptor: int, size: int, seconds: float) -> Measured:
    if not found.direct:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return Measured(
        found.path,
        found.is_block_device,
        found.room_bytes,
        found.direct,
        _sector_reads(descriptor, found.direct),
        io_uring_allowed(),
        found.write_bytes_per_second,
        _read_rate(descriptor, size, seconds, 1),
        _read_rate(descriptor, size, seconds, DEEP),
    )


def measure(path: str, seconds: float, write: bool = False) -> Measured:
    """Measures a directory or a block device. Raises DeviceError."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        return measure_directory(path, seconds)
    if stat.S_ISBLK(mode):
        return measure_device(path, seconds, write)
    raise DeviceError(f"{path} is neither a directory nor a block device; files are not touched")


def main() -> int:
    """Measures what the command line names and prints it with a recommendation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", help="a directory of the file system, or a block device")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of each test")
    parser.add_argument("--write", action="store_true", help="test writes of a device too")
    parser.add_argument(
        "--rewrite-in-place",
        action="store_true",
        help="confirms --write on a device: blocks are read and written back as they were",
    )
    options = parser.parse_args()
    if options.seconds <= 0:
        parser.error("--seconds must be positive")
    if options.write != options.rewrite_in_place:
        parser.error("--write and --rewrite-in-place go together")
    try:
        print(report(measure(options.path, options.seconds, options.write)))
    except (DeviceError, OSError) as error:
        print(f"flash_device: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
