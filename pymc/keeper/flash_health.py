"""Watches over the paths of the flash tier: counts errors, says so, gives bad paths up and takes
them back when they are well.
"""

import math
import time
from collections.abc import Callable

from pymc.core.flash import WHY_TEXTS, Flash, Full, PageState, PathInfo, Wanted, Why
from pymc.core.flash_paths import FlashPaths, Probed
from pymc.core.writeout import FlashPages
from pymc.keeper.io_thread import IoThreads
from pymc.logs import say
from pymc.policy.path_health import Counts, PathHistory, after_look, after_write, failing
from pymc.policy.path_recovery import (
    FULL_QUIET_SECONDS,
    FULL_SECONDS,
    GOOD_PROBE_SECONDS,
    WRITE_SECONDS,
    Recovery,
    after_probe,
    late,
    taken_out,
)
from pymc.server_context import ServerContext

_LOOK_SECONDS = 1.0
_INDEX_FULL_SECONDS = 60.0


class _Path:
    """What this keeper knows of one path."""

    def __init__(self, name: str, shown: PathInfo, now: float) -> None:
        self.name = name
        self.shown = shown
        self.is_out = shown.is_out
        self.why = shown.why
        self.history = PathHistory()
        self.good_writes = 0
        # While it is late or out.
        self.recovery: Recovery | None = None
        if self.is_out:
            self.recovery = taken_out(now)
        elif shown.is_late:
            self.recovery = late(now)
        self.is_probing = False
        # How long it was out last, and when that ended.
        self.last_out: Recovery | None = None
        self.returned = 0.0
        # Since when its file system is full (0: it is not), when that is tried next, and how many
        # writes had been refused before.
        self.full_since = now if shown.full is not Full.NO else 0.0
        self.full_due = now
        self.full_writes = shown.full_writes
        # When the last one was, how many writes had gone well by then, and its number.
        self.refused = now
        self.refused_at = 0
        self.refused_writes = shown.full_writes

    def counts(self, info: PathInfo) -> Counts:
        writes = self.good_writes + info.write_errors
        return Counts(info.reads, info.read_errors, info.bad_records, writes, info.write_errors)


class Health:
    """All paths of the tier. Without any left, the cache goes on in memory alone."""

    def __init__(
        self,
        context: ServerContext,
        flash: Flash,
        pages: FlashPages,
        paths: FlashPaths,
        writers: IoThreads,
        readers: IoThreads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins with what a predecessor saw. `clock` is monotonic."""
        self._flash = flash
        self._pages = pages
        self._steps = paths
        self._writers = writers
        self._readers = readers
        self._clock = clock
        names = [path.path for path in context.settings.ext_paths]
        self._paths = [
            _Path(names[number], flash.path(number), clock()) for number in range(flash.path_count)
        ]
        for number, path in enumerate(self._paths):
            # A predecessor may have died half-way; done twice it does nothing.
            if path.is_out:
                pages.take_out(number)
            self._steps.close_pages(number)
        self._last_index_full = -math.inf

    @property
    def is_any_left(self) -> bool:
        """Tells whether there is a path to write to."""
        return any(path.recovery is None for path in self._paths)

    @property
    def _are_all_out(self) -> bool:
        return all(path.is_out for path in self._paths)

    def wrote(self, path: int, *, is_good: bool) -> None:
        """Takes note of a write to a path that went well or failed."""
        one = self._paths[path]
        one.good_writes += is_good
        one.history = after_write(one.history, is_good=is_good)
        if not is_good and failing(one.history):
            self._look_at(path, self._clock())

    def was_full(self, path: int) -> None:
        """Takes note that a write to the path found no room: no fault of the device."""
        self._look_at(path, self._clock())

    def look(self) -> float:
        """Judges each path by what went wrong since the last look, and says it in a line.

        Returns the seconds until the next look.
        """
        now = self._clock()
        for number in range(len(self._paths)):
            self._look_at(number, now)
        return _LOOK_SECONDS

    def index_was_full(self) -> None:
        """Says once a minute that there is no memory for more entries."""
        now = self._clock()
        if now - self._last_index_full >= _INDEX_FULL_SECONDS:
            self._last_index_full = now
            say("pymc: flash: the index has no memory for more items; old ones are dropped")

    def _look_at(self, number: int, now: float) -> None:
        path, info = self._paths[number], self._flash.path(number)
        news, were_all_out = _changes(info, path.shown), self._are_all_out
        path.shown = info
        path.history = after_look(path.history, now, path.counts(info))
        if info.wanted is Wanted.OUT:
            self._take_out(number, now, Why.HAND, news)
        elif info.wanted is Wanted.IN:
            self._follow_in(number, now, news)
        elif path.is_out:
            self._try_out(number, now, news)
        elif fault := failing(path.history):
            self._take_out(number, now, Why[fault.name], news)
        else:
            self._follow_full(number, info, now, news)
            self._follow_late(number, info, now, news)
        if news:
            say(f"pymc: flash: {path.name}: {', '.join(news)}")
        if self._are_all_out and not were_all_out:
            say("pymc: flash: no path is left, items stay in memory only")

    def _note(self, number: int, why: Why) -> None:
        self._paths[number].why = why
        self._steps.note(number, why)

    # --- Out of service and back. ---

    def _take_out(self, number: int, now: float, why: Why, news: list[str]) -> None:
        path = self._paths[number]
        if path.is_out and path.why is why:
            return
        if not path.is_out:
            path.is_out = True
            path.recovery = taken_out(now, path.last_out, path.returned)
            self._pages.take_out(number)
        self._note(number, why)
        news.append(f"taken out of service: {WHY_TEXTS[why]}")

    def _follow_in(self, number: int, now: float, news: list[str]) -> None:
        """Takes a path back that the operator wants back. A late one comes when it answers."""
        path = self._paths[number]
        if not path.is_out:
            self._steps.want_judged(number)
        elif self._is_idle(number):
            self._bring_in(number, now, news)
            self._steps.want_judged(number)

    def _try_out(self, number: int, now: float, news: list[str]) -> None:
        """Tries a path that failed, in pauses that grow."""
        path = self._paths[number]
        assert path.recovery is not None
        if path.recovery.is_over and self._is_idle(number):
            self._bring_in(number, now, news)
            return
        page = self._steps.find_page(number, PageState.BAD)
        # While its pages drain there is none to write to.
        if page is not None:
            self._probe(number, now, self._writers, lambda: self._steps.probe_write(page))

    def _is_idle(self, number: int) -> bool:
        """Tells whether no write is on its way to the path that could hit pages used again."""
        return not self._writers.pending(number) and not self._steps.writing_elsewhere(number)

    def _bring_in(self, number: int, now: float, news: list[str]) -> None:
        path = self._paths[number]
        assert path.recovery is not None
        path.last_out, path.returned, path.recovery = path.recovery, now, None
        path.is_out, path.full_since = False, 0.0
        path.history = PathHistory()
        self._flash.set_late(number, is_late=False)
        self._steps.set_full(number, Full.NO)
        self._steps.bring_in(number)
        self._note(number, Why.NONE)
        news.append(f"in service again after {now - path.last_out.since:.0f} s, empty")

    # --- Late. ---

    def _follow_late(self, number: int, info: PathInfo, now: float, news: list[str]) -> None:
        path = self._paths[number]
        is_writing = (
            self._writers.late_seconds(number) >= WRITE_SECONDS
            or (path.recovery is not None and self._writers.late_seconds(number) > 0)
            or self._steps.writing_elsewhere(number)
        )
        is_hanging = is_writing or self._readers.late_seconds(number) >= WRITE_SECONDS
        if path.recovery is None:
            if not is_hanging and not info.is_late:
                return
            path.recovery = late(now)
            why = Why.LATE_WRITE if is_writing else Why.LATE_READ
            self._flash.set_late(number, is_late=True)
            self._steps.close_pages(number)
            self._note(number, why)
            news.append(f"late: {WHY_TEXTS[why]}; not used until it answers")
        elif not path.recovery.is_over:
            self._probe(number, now, self._readers, lambda: self._steps.probe_read(number))
        elif not is_hanging:
            news.append(f"answers again, was late for {now - path.recovery.since:.1f} s")
            path.recovery = None
            self._flash.set_late(number, is_late=False)
            self._note(number, Why.NO_ROOM if path.full_since else Why.NONE)

    def _probe(
        self, number: int, now: float, threads: IoThreads, probe: Callable[[], Probed]
    ) -> None:
        """Tries the path when that is due, once at a time."""
        path = self._paths[number]
        assert path.recovery is not None
        if path.is_probing or path.recovery.is_over or now < path.recovery.due:
            return
        path.is_probing = True
        since = path.recovery.since

        def finish(probed: Probed) -> None:
            path.is_probing = False
            # Else it belongs to an earlier failure.
            if path.recovery is not None and path.recovery.since == since:
                is_good = not probed.error and probed.seconds <= GOOD_PROBE_SECONDS
                path.recovery = after_probe(path.recovery, self._clock(), is_good=is_good)

        threads.submit(number, probe, finish)

    # --- Full. ---

    def _follow_full(self, number: int, info: PathInfo, now: float, news: list[str]) -> None:
        path = self._paths[number]
        if info.full is Full.NO:
            if path.full_since:
                refused = info.full_writes - path.full_writes
                news.append(
                    f"has room again after {now - path.full_since:.0f} s"
                    f" and {refused} writes that it had no room for"
                )
                path.full_since = 0.0
                if path.recovery is None:
                    self._note(number, Why.NONE)
            path.full_writes = info.full_writes
            return
        self._steps.close_pages(number)
        if info.full_writes != path.refused_writes:
            path.refused, path.refused_at = now, path.good_writes
            path.refused_writes = info.full_writes
        if not path.full_since:
            path.full_since, path.full_due = now, now + FULL_SECONDS
            news.append(
                f"{WHY_TEXTS[Why.NO_ROOM]}: only pages that have their blocks are written again;"
                f" it is tried every {FULL_SECONDS:.0f} s"
            )
            if path.recovery is None:
                self._note(number, Why.NO_ROOM)
        elif now >= path.full_due and path.recovery is None:
            path.full_due = now + FULL_SECONDS
            self._try_room(number, info.full, now)

    def _try_room(self, number: int, full: Full, now: float) -> None:
        """Asks for the blocks of one more page; so no records are lost in a try."""
        path = self._paths[number]
        page = self._steps.find_page(number, PageState.FREE, without_blocks=True)
        if page is None:
            # None is in want of any, so pages that have theirs may be tried, and prove themselves.
            if full is Full.ALL:
                self._steps.set_full(number, Full.NEW)
            elif now - path.refused >= FULL_QUIET_SECONDS and path.good_writes > path.refused_at:
                self._steps.set_full(number, Full.NO)
            return

        def finish(probed: Probed) -> None:
            path.full_due = self._clock() + FULL_SECONDS
            if not probed.error:
                self._steps.set_full(number, Full.NO)

        path.full_due = math.inf
        self._writers.submit(number, lambda: self._steps.probe_room(page), finish)


def _changes(now: PathInfo, before: PathInfo) -> list[str]:
    return [
        f"{count} {what}"
        for count, what in (
            (now.read_errors - before.read_errors, "reads failed"),
            (now.bad_records - before.bad_records, "checksums were wrong"),
            (now.write_errors - before.write_errors, "writes failed"),
            (now.slow_reads - before.slow_reads, "reads took longer than a second"),
        )
        if count
    ]
