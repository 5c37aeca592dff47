"""Somebody who changes a store whenever an operation has looked at it (debug builds)."""

from collections.abc import Callable

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Cache, Handle


class Interferer:
    """Another process that does something whenever the store has looked at a key."""

    def __init__(self, cache: Cache, store: Handle) -> None:
        self.store = store
        self.other = cache.open(1)
        self.other.waits_for_buckets = False
        lib.proc_avoid_waiting(self.other.proc, True)
        self.action: Callable[[], object] = self.touch_neighbour
        self.calls = 0
        self.other.put(b"neighbour", b"x")
        self._callback = ffi.callback("void(void *)", self._interfere)
        lib.link_set_interferer(store.store, self._callback, ffi.NULL)

    def _interfere(self, _context: object) -> None:
        self.calls += 1
        self.action()

    def touch_neighbour(self) -> None:
        """Changes the bucket and nothing else; while it is locked that does not work."""
        self.other.touch(b"neighbour", 0)

    def stop(self) -> None:
        lib.link_set_interferer(self.store.store, ffi.NULL, ffi.NULL)
