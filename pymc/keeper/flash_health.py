"""Watches over the paths of the flash tier: counts errors, says so, takes bad paths out."""

import time

from pymc.core.flash import Flash
from pymc.core.writeout import FlashPages
from pymc.logs import say
from pymc.policy.path_health import PathHistory, after_look, after_write
from pymc.record import replace
from pymc.server_context import ServerContext

_LOOK_SECONDS = 1.0


class Health:
    """All paths of the tier. Without any left, the cache goes on in memory alone."""

    def __init__(self, context: ServerContext, flash: Flash, pages: FlashPages) -> None:
        """Begins with what a predecessor saw."""
        self._flash = flash
        self._pages = pages
        self._names = [path.path for path in context.settings.ext_paths]
        self._histories = [
            PathHistory(read_errors=flash.path(number).read_errors)
            for number in range(flash.path_count)
        ]
        self._shown = [flash.path(number) for number in range(flash.path_count)]
        self._out = {number for number, path in enumerate(self._shown) if path.is_out}
        # A predecessor may have died half-way; done twice it does nothing.
        for number in self._out:
            pages.take_out(number)
        self._last_index_full = -_LOOK_SECONDS

    @property
    def is_any_left(self) -> bool:
        """Whether there is a path to write to."""
        return len(self._out) < len(self._histories)

    def wrote(self, path: int, *, is_good: bool) -> None:
        """Takes note of a write to a path."""
        self._histories[path] = after_write(self._histories[path], is_good=is_good)
        self._take_out_if_bad(path)

    def was_full(self, path: int) -> None:
        """Takes note that a write to the path found no room."""

    def look(self) -> float:
        """Once a second: what went wrong since the last look, in a line for each path."""
        for number, history in enumerate(self._histories):
            now, before = self._flash.path(number), self._shown[number]
            self._histories[number] = after_look(history, now.read_errors)
            changes = [
                f"{count} {what}"
                for count, what in (
                    (now.read_errors - before.read_errors, "reads failed"),
                    (now.write_errors - before.write_errors, "writes failed"),
                    (now.slow_reads - before.slow_reads, "reads took longer than a second"),
                )
                if count
            ]
            if changes:
                say(f"pymc: flash: {self._names[number]}: {', '.join(changes)}")
            self._shown[number] = replace(now, is_out=before.is_out)
            self._take_out_if_bad(number)
        return _LOOK_SECONDS

    def index_was_full(self) -> None:
        """Says once a second that there is no memory for more entries."""
        now = time.monotonic()
        if now - self._last_index_full >= _LOOK_SECONDS:
            self._last_index_full = now
            say("pymc: flash: the index has no memory for more items; old ones are dropped")

    def _take_out_if_bad(self, path: int) -> None:
        if path in self._out or not self._histories[path].is_to_go:
            return
        self._out.add(path)
        self._pages.take_out(path)
        say(f"pymc: flash: {self._names[path]}: too many errors, taken out of service")
        if not self.is_any_left:
            say("pymc: flash: no path is left, items stay in memory only")
