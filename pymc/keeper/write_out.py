"""Write-out: copies to flash what memory will give up next, and what is older than ext_item_age."""

import time
from enum import Enum, auto

from pymc.config import SLAB_PAGE_BYTES
from pymc.config.shared import MILLION
from pymc.core.flash import Flash
from pymc.core.snapshots import read_class, read_slab
from pymc.core.store import Store
from pymc.core.writeout import ClassCounts, WriteOut
from pymc.keeper.flash_health import Health
from pymc.keeper.writer import Writer
from pymc.policy.write_out import (
    NO_AGE,
    ClassUse,
    ClassWork,
    MemoryUse,
    Trend,
    WriteOutSettings,
    follow,
    is_nearly_full,
    plan,
)

_LOOK_SECONDS = 0.025
# Up to this while nothing is stored or evicted.
_LOOK_SECONDS_MAX = 0.2
_ITEMS_PER_TURN = 4096
_ITEMS_PER_STEP = 1024
# A class is looked at again after this part of the time that its window lasts.
_WINDOW_PART = 0.125
_CLASS_SECONDS_MIN = 0.002
_CLASS_SECONDS_MAX = 0.25
# As fast as clients could fill memory: until then nobody has to look.
_FILL_BYTES_PER_SECOND = 4 << 30
# Items that are old enough are looked for this often.
_AGE_WALK_SECONDS = 1.0


class _Turn(Enum):
    """How a turn over the classes ended."""

    COMPLETE = auto()
    # All items that one turn may look at were looked at.
    LOOKED_ENOUGH = auto()
    # An item wanted a write buffer and there is none.
    LACKS_BUFFER = auto()


class WriteOutJob:
    """The keeper's job; each step looks at some thousand items at most."""

    def __init__(self, store: Store, flash: Flash, writer: Writer, health: Health) -> None:
        """Borrows all of them."""
        self._store = store
        self._arena = store.arena
        self._flash = flash
        self._writer = writer
        self._health = health
        self._out = WriteOut(store)
        self._counts = ClassCounts(store)
        self._trend = Trend()
        self._work: list[ClassWork] = []
        self._class_due: dict[tuple[int, bool], float] = {}
        self._look_due = 0.0
        self._look_seconds = _LOOK_SECONDS
        self._events = 0

    def step(self) -> float:
        """Looks at the items that are due; returns the seconds to rest."""
        now = time.monotonic()
        if now >= self._look_due:
            self._look(now)
        if not self._work or not self._health.is_any_left:
            return self._idle_seconds()
        turn = self._work_through(now)
        if turn is _Turn.LACKS_BUFFER:
            # A buffer that becomes free comes first.
            return _LOOK_SECONDS
        if turn is _Turn.LOOKED_ENOUGH:
            return 0.0
        next_due = min(self._class_due.get(_key(one), now) for one in self._work)
        return max(_CLASS_SECONDS_MIN, min(next_due, self._look_due) - now)

    def _work_through(self, now: float) -> _Turn:
        """Takes one turn over the classes that are due; returns how it ended."""
        left = _ITEMS_PER_TURN
        age = self._arena.live("ext_item_age_seconds")
        for work in self._work:
            if self._class_due.get(_key(work), 0.0) > now:
                continue
            idle = age if work.is_aged else None
            while left > 0:
                chunks = min(left, _ITEMS_PER_STEP)
                step = self._out.step(work.class_id, work.ahead_chunks, chunks, idle)
                left -= max(step.examined, 1)
                if step.full_bucket >= 0:
                    self._writer.want(step.full_bucket)
                    return _Turn.LACKS_BUFFER
                if step.is_ahead:
                    self._class_due[_key(work)] = now + _class_seconds(work)
                    if work.is_aged:
                        # Items that were too young may be old enough by then.
                        self._out.forget(work.class_id, is_aged=True)
                    break
            if left <= 0:
                return _Turn.LOOKED_ENOUGH
        return _Turn.COMPLETE

    def _settings(self) -> WriteOutSettings:
        live = self._arena.live
        return WriteOutSettings(
            item_bytes_min=live("ext_item_size_bytes"),
            item_age_seconds=live("ext_item_age_seconds"),
            free_share=live("slab_automove_freeratio_millionths") / MILLION,
        )

    def _max_sleep(self) -> float:
        return max(self._arena.live("ext_max_sleep_us") / MILLION, _CLASS_SECONDS_MIN)

    def _idle_seconds(self) -> float:
        """Returns the seconds to rest while nothing is to be written: memory takes more to fill."""
        slab = read_slab(self._store)
        left = max(slab.pages_limit - slab.pages_used, 0) * SLAB_PAGE_BYTES
        wanted = max(left / _FILL_BYTES_PER_SECOND, _LOOK_SECONDS)
        return min(wanted, self._max_sleep())

    def _look(self, now: float) -> None:
        """Reads the classes, as far as it matters, and plans anew."""
        settings = self._settings()
        slab = read_slab(self._store)
        bare = MemoryUse(now, slab.pages_used, slab.pages_limit)
        before = self._trend
        is_quiet = not is_nearly_full(follow(before, bare), settings)
        if is_quiet and settings.item_age_seconds == NO_AGE:
            self._trend, self._work = follow(before, bare), []
            self._look_due = now
            return
        classes = tuple(self._classes(slab.classes))
        use = MemoryUse(now, slab.pages_used, slab.pages_limit, classes)
        self._trend = follow(before, use)
        self._work = plan(self._trend, settings)
        for work in self._work:
            # A class may be used up faster than it was when it was left alone.
            due = self._class_due.get(_key(work), 0.0)
            self._class_due[_key(work)] = min(due, now + _class_seconds(work))
        events = sum(one.evicted + one.stored for one in classes)
        is_unchanged = events == self._events
        self._look_seconds = (
            min(self._look_seconds * 2, _LOOK_SECONDS_MAX) if is_unchanged else _LOOK_SECONDS
        )
        self._events = events
        # The first look knows no rates; memory may be full before the usual next one.
        self._look_due = now + (self._look_seconds if self._trend.rates else _CLASS_SECONDS_MIN)

    def _classes(self, classes: int) -> list[ClassUse]:
        found = []
        for class_id in range(1, classes + 1):
            one = read_class(self._store, class_id)
            if one.pages:
                evicted, stored = self._counts.read(class_id)
                chunks = one.pages * one.chunks_per_page
                found.append(
                    ClassUse(class_id, one.chunk_bytes, chunks, one.free_chunks, evicted, stored)
                )
        return found


def _key(work: ClassWork) -> tuple[int, bool]:
    return work.class_id, work.is_aged


def _class_seconds(work: ClassWork) -> float:
    """Returns for how many seconds a class that is ahead may be left alone."""
    if work.is_aged:
        return _AGE_WALK_SECONDS
    return max(_CLASS_SECONDS_MIN, min(work.lasts_seconds * _WINDOW_PART, _CLASS_SECONDS_MAX))
