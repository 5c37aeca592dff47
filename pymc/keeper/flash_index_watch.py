"""Tells the operator when the index of flash takes much of the memory, before items have to go."""

import time
from collections.abc import Callable

from pymc.core.arena import Arena
from pymc.core.flash import Flash
from pymc.logs import say
from pymc.policy.flash_index import index_advice, index_percent, is_warning_due

_LOOK_SECONDS = 1.0


class IndexWatch:
    """The keeper's job: a look each second, a line an hour at most."""

    def __init__(
        self, arena: Arena, flash: Flash, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Borrows both."""
        self._arena = arena
        self._flash = flash
        self._clock = clock
        self._warned: float | None = None

    def look(self) -> float:
        """Says what there is to say; returns the seconds until the next look."""
        percent = index_percent(self._flash.index_bytes, self._arena.live("memory_limit_bytes"))
        now = self._clock()
        if is_warning_due(percent, None if self._warned is None else now - self._warned):
            self._warned = now
            say(f"pymc: flash: {index_advice(percent)}")
        return _LOOK_SECONDS
