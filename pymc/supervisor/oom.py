"""Tells a process that the kernel killed for want of memory from one that somebody else killed."""

from pymc.config import Settings
from pymc.core.arena import Arena
from pymc.launch.limits import Read, cgroup_bytes, oom_kills, read_file, shape_of
from pymc.policy.footprint import advice


class OomWatch:
    """The kernel's count of such kills, and what to do about them."""

    def __init__(self, settings: Settings, arena: Arena, read: Read = read_file) -> None:
        """Remembers the count of now. Borrows the arena."""
        self._shape = shape_of(settings)
        self._arena = arena
        self._read = read
        self._seen = oom_kills(read) or 0

    def has_risen(self) -> bool:
        """Tells whether a process of this cgroup, or machine, was killed so since the last call."""
        now = oom_kills(self._read) or 0
        before, self._seen = self._seen, now
        return now > before

    def advice(self) -> str:
        """Returns what the operator should change."""
        limit_bytes = self._arena.live("memory_limit_bytes")
        allowed = cgroup_bytes(self._read)
        if allowed is None:
            return "lower -m, or find out what else takes this machine's memory"
        return advice(limit_bytes, self._shape, allowed)
