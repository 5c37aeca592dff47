"""Two process slots on one cache, each used by the one thread that owns it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.support.core.driver import Cache, Handle, Shape

# A slot's locks belong to the thread that opened it, so slot 1 lives in a thread of its own.
_second = ThreadPoolExecutor(1, thread_name_prefix="slot-1")


class Actors:
    """Operations alternate between the slots; there is never more than one at a time."""

    def __init__(self, shape: Shape) -> None:
        self.cache = Cache(shape)
        self.handles: list[Handle] = []
        for slot in (0, 1):
            self.handles.append(self.on(slot, partial(self.cache.open, slot)))

    def on(self, slot: int, action: Callable[[], Any]) -> Any:
        """Runs the action in the slot's thread."""
        return _second.submit(action).result() if slot else action()

    def call(self, slot: int, name: str, *args: Any, **wants: Any) -> Any:
        """Calls a method of the slot's handle."""
        return self.on(slot, lambda: getattr(self.handles[slot], name)(*args, **wants))

    def turn(self, now_seconds: int) -> None:
        """Both slots wake up in this second."""
        for slot in (0, 1):
            self.call(slot, "set_now", now_seconds)
            self.call(slot, "turn")

    def close(self) -> None:
        """Closes both slots and the arena."""
        self.call(1, "close")
        self.cache.close()
