"""The places where the core writes to shared memory: their names, arming one, and who came by."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pymc.core.ffi import ffi, lib, text
from tests.support.deadline import wait_until

_CSRC = Path(__file__).resolve().parents[2] / "csrc"


@dataclass(frozen=True)
class Site:
    """One store. `name` arms it; `key` says the same in words that outlive edits above it."""

    number: int
    name: str
    key: str


@cache
def _lines(file: str) -> list[str]:
    return (_CSRC / file).read_text().splitlines()


@cache
def all_sites() -> tuple[Site, ...]:
    """Every site of this build of the core; none in release builds."""
    place = ffi.new("char[]", lib.FAULT_NAME_BYTES)
    found = []
    for number in range(lib.fault_site_count()):
        lib.fault_site_name(number, place)
        name = text(place)
        where, _, unit = name.partition("@")
        file, _, line = where.partition(":")
        function = text(lib.fault_site_at(number).function)
        words = _lines(file)[int(line) - 1].strip()
        key = f"{file}{'@' if unit else ''}{unit} {function}: {words}"
        found.append(Site(number, name, key))
    return tuple(found)


def site_at(file: str, function: str, words: str, unit: str = "") -> str:
    """The name of the one site in the function whose line has these words."""
    begin = f"{file}{'@' if unit else ''}{unit} {function}: "
    found = [one.name for one in all_sites() if one.key.startswith(begin) and words in one.key]
    assert len(found) == 1, (begin, words, found)
    return found[0]


class Hits:
    """How often each site was reached, in memory that forked children share."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, max(4 * lib.fault_site_count(), 4))
        self.words: Any = ffi.from_buffer("uint32_t[]", self.map)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what this thread does meanwhile."""
        lib.fault_count_hits(self.words)
        try:
            yield
        finally:
            lib.fault_count_hits(ffi.NULL)

    def reached(self) -> dict[int, int]:
        """Number of site to how often, for those that were reached."""
        return {number: hits for number, hits in enumerate(self.words) if hits}


def arm(name: str, countdown: int = 1) -> None:
    """The calling thread's process dies when the thread comes there for the countdown-th time."""
    lib.fault_arm(name.encode(), countdown, ffi.NULL, ffi.NULL)


class Gate:
    """Where a thread or a process waits at a site until it is let through."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self.words: Any = ffi.cast("struct fault_gate *", ffi.from_buffer(self._map))

    def arm(self, name: str, countdown: int = 1) -> None:
        """The calling thread will wait when it comes there for the countdown-th time."""
        lib.fault_arm(name.encode(), countdown, ffi.NULL, self.words)

    @property
    def has_arrived(self) -> bool:
        return bool(self.words.arrived)

    def wait(self) -> None:
        """Until somebody stands there."""
        wait_until(lambda: self.has_arrived, "the site is reached", pause_seconds=0.0002)

    def open(self) -> None:
        """Lets through who stands there, or will come."""
        self.words.released = 1
