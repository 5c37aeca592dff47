"""CPU time and memory of a server: of all its processes, found through /proc from the first one."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds (user + system) that a process tree has used so far; user_seconds are coarser."""

    seconds: float
    user_seconds: float
    pids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process tree; shared pages count once in pss and once per process in rss."""

    rss_bytes: int
    pss_bytes: int
    # What one process has for itself: the most that one of them has.
    private_bytes_max: int


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat behind the name; the name may hold blanks and brackets."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def tree(pid: int) -> frozenset[int]:
    """`pid` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir(PROC):
        if not entry.isdigit():
            continue
        fields = _stat_fields(int(entry))
        if fields and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return frozenset(found)


def _scheduled_seconds(pid: int) -> float | None:
    """Run time of all threads with nanosecond resolution; None where the kernel keeps none."""
    total_ns = 0
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    except OSError:
        return None
    return total_ns / 1e9


def cpu(pid: int) -> Cpu:
    """CPU used by the tree under `pid`, children that have ended and were waited for included."""
    pids = tree(pid)
    seconds = user_seconds = 0.0
    for member in pids:
        fields = _stat_fields(member)
        if fields is None:
            continue
        user, system, dead_user, dead_system = (int(field) for field in fields[11:15])
        user_seconds += (user + dead_user) / TICKS_PER_SECOND
        precise = _scheduled_seconds(member)
        dead_seconds = (dead_user + dead_system) / TICKS_PER_SECOND
        own_seconds = (user + system) / TICKS_PER_SECOND if precise is None else precise
        seconds += own_seconds + dead_seconds
    return Cpu(seconds, user_seconds, pids)


def device_bytes(pid: int) -> tuple[int, int]:
    """Bytes that the tree under `pid` has made the block layer read and write so far.

    Buffered writes count when they first make a page of the cache dirty.
    """
    read_bytes = written_bytes = 0
    for member in tree(pid):
        try:
            text = (PROC / str(member) / "io").read_text()
        except OSError:
            continue
        values = {
            name: int(value) for name, value in (line.split(": ") for line in text.splitlines())
        }
        read_bytes += values["read_bytes"]
        written_bytes += values["write_bytes"]
    return read_bytes, written_bytes


def memory(pid: int) -> Memory:
    """Resident, proportional and private memory of the tree under `pid`."""
    rss_bytes = pss_bytes = private_bytes_max = 0
    for member in tree(pid):
        try:
            rollup = (PROC / str(member) / "smaps_rollup").read_text()
        except OSError:
            continue
        rss_bytes += _rollup_bytes(rollup, "Rss")
        pss_bytes += _rollup_bytes(rollup, "Pss")
        private = _rollup_bytes(rollup, "Private_Clean") + _rollup_bytes(rollup, "Private_Dirty")
        private_bytes_max = max(private_bytes_max, private)
    return Memory(rss_bytes, pss_bytes, private_bytes_max)


def _rollup_bytes(rollup: str, name: str) -> int:
    for line in rollup.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def machine_busy_seconds() -> float:
    """CPU seconds the whole machine has spent on anything but idling, since it started."""
    fields = (PROC / "stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / TICKS_PER_SECOND


def alive(pids: Iterable[int]) -> list[int]:
    """Those of `pids` that still run."""
    return [pid for pid in pids if (fields := _stat_fields(pid)) and fields[0] != "Z"]
