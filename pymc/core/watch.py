"""Log streams: their rings in the arena, and lines that Python adds to them."""

from pymc.core.arena import Arena
from pymc.core.errors import check
from pymc.core.ffi import lib


def watch_reserve_bytes(slots: int, ring_bytes: int) -> int:
    """Address space that the rings of so many processes need."""
    return int(lib.watch_reserve_bytes(slots, ring_bytes))


def format_watch(arena: Arena, ring_bytes: int) -> None:
    """Makes the rings in a fresh arena, before the first fork. Raises CoreMemoryError."""
    check(lib.watch_create(arena.pointer, ring_bytes), "watch_create")
