"""Rings, writers and readers of log streams, without sockets."""

import re
from typing import Any

from pymc.core.ffi import ffi, lib
from pymc.core.store import Store
from tests.support.core.driver import MIB, Cache, Handle

ROOM_BYTES = 1 << 16
_LINE = re.compile(rb"ts=(\d+)\.(\d{6}) gid=(\d+) type=(.*)")


class WatchedCache(Cache):
    """A store whose processes have rings."""

    def __init__(self, ring_bytes: int = lib.WATCH_RING_BYTES_MIN, **shape: Any) -> None:
        slots = shape.get("slots", 4)
        more = lib.watch_reserve_bytes(slots, ring_bytes) + shape.pop("reserve_bytes_more", 0)
        super().__init__(limit_bytes=64 * MIB, reserve_bytes_more=more, **shape)
        assert lib.watch_create(self.arena, ring_bytes) == 0


class Reader:
    """One watcher of these classes."""

    def __init__(self, of: Handle | Store, classes: int) -> None:
        proc = of.proc if isinstance(of, Handle) else lib.store_proc(of.pointer)
        out = ffi.new("struct watch_reader **")
        self.status = lib.watch_reader_open(proc, classes, out)
        self.pointer = out[0]
        self._place = ffi.new("char[]", ROOM_BYTES)

    def close(self) -> None:
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.watch_reader_close(pointer)

    def text(self, room_bytes: int = ROOM_BYTES, *, was_slow: bool = False) -> bytes:
        """What one call makes."""
        count = lib.watch_reader_lines(self.pointer, self._place, room_bytes, was_slow)
        return bytes(ffi.buffer(self._place, count))

    def lines(self, *, was_slow: bool = False) -> list[bytes]:
        """All lines there are, without time and number."""
        found = []
        while text := self.text(was_slow=was_slow):
            found += text.splitlines()
        return [plain(line) for line in found]


def plain(line: bytes) -> bytes:
    """A line from its type on; lines of another form as they are."""
    match = _LINE.fullmatch(line)
    return match[4] if match else line


def number(line: bytes) -> int:
    """The number of a line's event."""
    match = _LINE.fullmatch(line)
    assert match, line
    return int(match[3])


def note(handle: Handle, text: bytes, log_class: int = lib.WATCH_SYSEVENTS) -> None:
    lib.store_note_text(handle.store, log_class, text, len(text))
