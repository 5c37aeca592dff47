"""Flash files for the servers under test: where they lie, room for them, and their page cache."""

import ctypes
import mmap
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.harness.loadgen import BENCH, LoadError
from bench.harness.servers import Kind
from bench.harness.workloads import Workload

DROP_SECONDS = 0.1
MEASURE_EVERY_PASSES = 4
STUCK_READS = BENCH / "build" / "stuck_reads.so"
# Room that the file system keeps beside the files.
SPARE_BYTES = 2**30


def mounted_on(path: Path) -> tuple[str, str]:
    """The device and the file system type that hold `path`."""
    best = ("?", "?", "")
    real = str(path.resolve())
    for line in Path("/proc/mounts").read_text().splitlines():
        device, point, kind = line.split()[:3]
        if (real + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[2]):
            best = (device, kind, point)
    return best[0], best[1]


def description(directory: Path) -> str:
    """One line for people: where the files of the flash rows lie, and how they are cached."""
    device, kind = mounted_on(directory)
    return (
        f"flash files: {directory}, {kind} on {device}; the page cache of all of them is dropped "
        f"every {DROP_SECONDS:g} s while GETs are measured (cached_share: the most it held)"
    )


def prepare(directory: Path, needed_bytes: int) -> None:
    """Makes the directory. Raises LoadError when the disk has too little room."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(directory).free
    except OSError as error:
        raise LoadError(f"--flash-dir {directory}: {error.strerror}") from None
    if free_bytes < needed_bytes + SPARE_BYTES:
        raise LoadError(
            f"--flash-dir {directory}: {free_bytes >> 20} MiB free, "
            f"{(needed_bytes + SPARE_BYTES) >> 20} MiB wanted"
        )


@contextmanager
def attached(kind: Kind, directory: Path, workload: Workload) -> Iterator[Kind]:
    """`kind` with a flash file of its own, or two of them, which are removed in the end."""
    path = directory / f"{os.getpid()}-{kind.name}.flash"
    if workload.kind == "flash-stuck":
        with _attached_stuck(kind, path, workload) as two:
            yield two
        return
    # memcached wants options of the tier before its paths.
    own = workload.pymc_options if kind.name == "pymc" else ""
    options = filter(None, (workload.flash_options, own, f"ext_path={path}:{workload.flash_mib}m"))
    try:
        yield replace(kind, arguments=(*kind.arguments, "-o", ",".join(options)), flash_file=path)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _attached_stuck(kind: Kind, path: Path, workload: Workload) -> Iterator[Kind]:
    """`kind` with two files, of which one hangs while trigger() is there; only threads can hang."""
    stuck = path.with_suffix(".stuck")
    paths = ",".join(f"ext_path={file}:{workload.flash_mib // 2}m" for file in (path, stuck))
    options = ("-o", f"{workload.flash_options},ext_engine=threads,{paths}")
    environment = {"LD_PRELOAD": str(STUCK_READS)}
    try:
        yield replace(
            kind,
            arguments=(*kind.arguments, *options),
            flash_file=path,
            stuck_file=stuck,
            environment=environment,
        )
    finally:
        trigger(stuck).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        stuck.unlink(missing_ok=True)


def trigger(stuck_file: Path) -> Path:
    """The file that lets all reads of `stuck_file` hang while it is there."""
    return Path(f"{stuck_file}.on")


def cached_share(path: Path) -> float:
    """The part of a file that lies in the page cache."""
    size = path.stat().st_size
    if size == 0:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    pages = -(-size // mmap.PAGESIZE)
    resident = ctypes.create_string_buffer(pages)
    with path.open("rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address == ctypes.c_void_p(-1).value:
        return float("nan")
    failed = libc.mincore(address, size, resident)
    libc.munmap(address, size)
    if failed:
        return float("nan")
    # The lowest bit tells; the others are reserved.
    return sum(resident.raw[at] & 1 for at in range(0, pages, 16)) / -(-pages // 16)


class PageCacheLimit:
    """Keeps files out of the page cache within a `with` block, so that reads reach the device.

    It does to a server with buffered reads what O_DIRECT or a much larger data set would do, and
    needs no rights. The work is done here, on the client's core: no server is charged for it.
    """

    def __init__(self, files: Sequence[Path], cores: frozenset[int] | None) -> None:
        self.files = files
        self.cores = cores
        self.cached_share_max = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "PageCacheLimit":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        if self.cores:
            os.sched_setaffinity(0, self.cores)  # of this thread only
        passes = 0
        while not self._ended.wait(DROP_SECONDS):
            for path in self.files:
                if passes % MEASURE_EVERY_PASSES == 1:
                    self.cached_share_max = max(self.cached_share_max, cached_share(path))
                drop(path)
            passes += 1


def drop(path: Path) -> None:
    """Takes what is clean of a file out of the page cache and starts writing the rest."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
