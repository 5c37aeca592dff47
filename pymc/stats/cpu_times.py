"""Processor time of all processes of a server, those that ended included."""

import os
from collections.abc import Callable, Iterable

from pymc.record import Record

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Places in /proc/<pid>/stat behind the command's name.
_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 11, 12, 13, 14


class CpuTimes(Record):
    """Seconds of processor time."""

    user_seconds: float
    system_seconds: float


class RecentCpuTimes:
    """Processor time as it was within the last second: asking the system takes longer than all
    the rest of `stats`."""

    FRESH_SECONDS = 1.0

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._times = CpuTimes(0.0, 0.0)
        self._read_at: float | None = None

    def read(
        self,
        clock: Callable[[], float],
        supervisor_pid: int,
        living_pids: Callable[[], Iterable[int]],
    ) -> CpuTimes:
        """The sum over all processes, read now or up to a second ago; `clock` counts seconds."""
        now = clock()
        if self._read_at is None or not 0 <= now - self._read_at < self.FRESH_SECONDS:
            self._times = read_cpu_times(supervisor_pid, living_pids())
            self._read_at = now
        return self._times


def read_cpu_times(supervisor_pid: int, pids: Iterable[int]) -> CpuTimes:
    """The sum over `pids`, and over children of the supervisor that it has waited for."""
    user = system = 0
    for pid in pids:
        fields = _stat_fields(pid)
        if not fields:
            continue
        user += int(fields[_USER])
        system += int(fields[_SYSTEM])
        if pid == supervisor_pid:
            user += int(fields[_CHILDREN_USER])
            system += int(fields[_CHILDREN_SYSTEM])
    return CpuTimes(user / _TICKS_PER_SECOND, system / _TICKS_PER_SECOND)


def _stat_fields(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            # The name stands in brackets and may hold anything, brackets and blanks too.
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return []
