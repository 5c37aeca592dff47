"""Reads the limits that the shared memory meets: the machine's, the cgroup's, the process's."""

import os
import resource
from collections.abc import Callable, Iterator

from pymc.policy.reservation import MemoryLimits

# A v1 cgroup without a limit shows the largest number of whole pages.
_UNLIMITED_BYTES = 1 << 60
# What the processes map later beside the shared memory: heaps, stacks, buffers of connections.
_OWN_BYTES = 192 << 20
# A thread's stack, and the room that the C library sets aside for its heap.
_THREAD_BYTES = 136 << 20

Read = Callable[[str], str | None]


def read_limits(threads: int) -> MemoryLimits:
    """What this process meets now; `threads` more will be started in one of its children."""
    return MemoryLimits(
        machine_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cgroup_bytes=cgroup_bytes(_read),
        address_space_bytes=_address_space_bytes(threads),
    )


def cgroup_bytes(read: Read) -> int | None:
    """The lowest memory limit of this process's cgroups, v1 or v2; None when there is none.

    `read` gives a file's text, None for one that cannot be read.
    """
    found = [
        int(word)
        for path in _limit_files(
            read("/proc/self/cgroup") or "", read("/proc/self/mountinfo") or ""
        )
        if (word := (read(path) or "").strip()).isdecimal() and int(word) < _UNLIMITED_BYTES
    ]
    return min(found, default=None)


def _limit_files(groups: str, mounts: str) -> Iterator[str]:
    """The files with limits of the process's own group and all above it."""
    paths: dict[str, str] = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths["cgroup2"] = path
        elif "memory" in controllers.split(","):
            paths["cgroup"] = path
    for line in mounts.splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.partition(" ")
        root, point = mount.split(" ")[3:5]
        is_memory = kind == "cgroup2" or "memory" in options.replace(" ", ",").split(",")
        if kind not in paths or not is_memory:
            continue
        name = "memory.max" if kind == "cgroup2" else "memory.limit_in_bytes"
        for folder in _upwards(_below(paths[kind], root)):
            yield f"{point.rstrip('/')}{folder}/{name}"


def _below(path: str, root: str) -> str:
    """The path inside a mount that shows only what is under `root`, as a container sees it."""
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
    pages = (_read("/proc/self/statm") or "0").split()[0]
    mapped = int(pages) * os.sysconf("SC_PAGE_SIZE")
    return limit - mapped - _OWN_BYTES - threads * _THREAD_BYTES


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
