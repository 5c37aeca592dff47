"""Reads the limits that the shared memory meets: the machine's, the cgroup's, the process's."""

import os
import resource
from collections.abc import Callable, Iterator

from pymc.config import Settings
from pymc.policy.footprint import Shape
from pymc.policy.reservation import MemoryLimits
from pymc.record import Record

# A v1 cgroup without a limit shows the largest number of whole pages.
_UNLIMITED_BYTES = 1 << 60
# What the processes map later beside the shared memory: heaps, stacks, buffers of connections.
_OWN_BYTES = 192 << 20
# A thread's stack, and the room that the C library sets aside for its heap.
_THREAD_BYTES = 136 << 20

Read = Callable[[str], str | None]


class Files(Record):
    """The files of a memory cgroup that matter here."""

    limit: str
    # Counts, in lines of a name and a number.
    events: str


_FILES = {
    "cgroup": Files("memory.limit_in_bytes", "memory.oom_control"),
    "cgroup2": Files("memory.max", "memory.events"),
}
# Counts the kills on the whole machine, in lines of the same form.
_MACHINE_EVENTS = "/proc/vmstat"
_KILLS = "oom_kill"


def shape_of(settings: Settings) -> Shape:
    """Returns what of the settings decides how much memory a server takes besides -m."""
    return Shape(
        workers=settings.workers,
        connections_max=settings.connections_max,
        flash_buffer_bytes=settings.ext_wbuf_bytes if settings.ext_paths else 0,
    )


def read_limits(threads: int) -> MemoryLimits:
    """Reads what this process meets; `threads` more will be started in one of its children."""
    return MemoryLimits(
        machine_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cgroup_bytes=cgroup_bytes(read_file),
        address_space_bytes=_address_space_bytes(threads),
    )


def cgroup_bytes(read: Read) -> int | None:
    """Returns the lowest memory limit of this process's cgroups, v1 or v2; None when there is none.

    `read` gives a file's text, None for one that cannot be read.
    """
    found = [
        int(word)
        for folder, files in _groups(read)
        if (word := (read(f"{folder}/{files.limit}") or "").strip()).isdecimal()
        and int(word) < _UNLIMITED_BYTES
    ]
    return min(found, default=None)


def oom_kills(read: Read) -> int | None:
    """Counts the processes that were killed in this process's cgroup for want of memory.

    Where there is no cgroup that counts them, those of the whole machine; None when nobody does.
    """
    own = [_kills(read(f"{folder}/{files.events}")) for folder, files in _groups(read)]
    counted = [count for count in own if count is not None]
    # The first is the process's own group; a kill counts there whatever group's limit was met.
    return counted[0] if counted else _kills(read(_MACHINE_EVENTS))


def _kills(text: str | None) -> int | None:
    for line in (text or "").splitlines():
        name, _, number = line.partition(" ")
        if name == _KILLS and number.strip().isdecimal():
            return int(number)
    return None


def _groups(read: Read) -> Iterator[tuple[str, Files]]:
    """Yields the folders of the process's own memory cgroup and of all above it, own first."""
    paths: dict[str, str] = {}
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths["cgroup2"] = path
        elif "memory" in controllers.split(","):
            paths["cgroup"] = path
    for line in (read("/proc/self/mountinfo") or "").splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.partition(" ")
        root, point = mount.split(" ")[3:5]
        is_memory = kind == "cgroup2" or "memory" in options.replace(" ", ",").split(",")
        if kind in paths and is_memory:
            for folder in _upwards(_below(paths[kind], root)):
                yield f"{point.rstrip('/')}{folder}", _FILES[kind]


def _below(path: str, root: str) -> str:
    """Returns the path inside a mount that shows only what is under `root`, as in a container."""
    if root != "/" and (path == root or path.startswith(f"{root}/")):
        return path[len(root) :]
    return path.rstrip("/")


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""


def _address_space_bytes(threads: int) -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = (read_file("/proc/self/statm") or "0").split()[0]
    mapped = int(pages) * os.sysconf("SC_PAGE_SIZE")
    return limit - mapped - _OWN_BYTES - threads * _THREAD_BYTES


def read_file(path: str) -> str | None:
    """Reads a file's text; None when it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
