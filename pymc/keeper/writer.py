"""Has write buffers written, each path's by its own thread, and begins new ones for the streams."""

import errno
import time
from collections import Counter

from pymc.core.flash import Bucket, Flash
from pymc.core.store import Store
from pymc.core.writeout import (
    STATUS_GOOD,
    STATUS_PAGE_GONE,
    BufferInfo,
    BufferState,
    WriteBuffers,
)
from pymc.keeper.flash_health import Health
from pymc.keeper.io_thread import IoThreads
from pymc.policy.flash_index import index_entries_max
from pymc.policy.path_recovery import FULL_SECONDS
from pymc.policy.write_buffers import buffers_most, open_most, streams_to_begin

_RESCUES = frozenset({Bucket.COMPACT, Bucket.COLD_COMPACT, Bucket.OLD})
# A stream that filled a buffer so lately gets the next ones before it asks.
_BUSY_SECONDS = 5.0
# Memory of buffers that nobody needed for so long goes back.
_IDLE_SECONDS = 10.0
_KEPT_BUFFERS = 1
# Who waits for a page asks this often.
_ASKS_SECONDS = 0.25
# Until what found no room on the device is written again memory has it.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Writer:
    """All write buffers. Without a free page, or with a full index, no more are begun."""

    def __init__(self, store: Store, flash: Flash, threads: IoThreads, health: Health) -> None:
        """Goes on where a predecessor was: what it had sealed is written again."""
        self._store = store
        self._flash = flash
        self._threads = threads
        self._health = health
        self._buffers = WriteBuffers(store, flash)
        # Numbers of buffers that a thread writes.
        self.under_way: set[int] = set()
        self._retry_at: dict[int, float] = {}
        self._filled_at: dict[int, float] = {}
        # Streams that wait for a page: since when, and when they asked last.
        self._waits: dict[int, tuple[float, float]] = {}
        self._wanted: frozenset[int] = frozenset()
        self._released_at = 0.0
        # A stream wants a page and there is none.
        self.needs_page = False
        self.streams: frozenset[int] = frozenset({Bucket.DEFAULT})

    @property
    def wake_fd(self) -> int:
        """Returns a descriptor that is readable when a buffer was closed or is wanted."""
        return self._buffers.wake_fd

    def pages(self) -> frozenset[int]:
        """Returns the pages that have buffers: entries that name them may come at any time."""
        infos = self._buffers.read()
        return frozenset(info.page for info in infos if info.state is not BufferState.FREE)

    def waits_seconds(self, *, rescues: bool) -> float:
        """Returns how many seconds rescues, or records from memory, have waited for a page."""
        now = time.monotonic()
        waits = [
            now - since
            for bucket, (since, asked) in self._waits.items()
            if (bucket in _RESCUES) is rescues and now - asked < _ASKS_SECONDS
        ]
        return max(waits, default=0.0)

    def step(self) -> float:
        """Sends off what is full and begins what is wanted; returns the seconds to rest."""
        now = time.monotonic()
        infos = self._buffers.read()
        has_fillers = False
        for info in infos:
            if info.state is BufferState.FREE or info.number in self.under_way:
                continue
            if info.state is BufferState.FILLING and info.is_page_gone and not info.is_closed:
                self._buffers.close(info.number)
            elif info.state is BufferState.FILLING and not info.is_closed:
                continue
            if self._retry_at.get(info.number, 0.0) <= now:
                has_fillers |= not self._send(info, now)
        self._begin(now)
        self._release(now)
        # Who puts a record in is done within microseconds, or is watched by others.
        return 0.001 if has_fillers else _ASKS_SECONDS

    def want(self, bucket: int) -> None:
        """Takes note that a record of the stream found no buffer."""
        self._wanted |= {bucket}

    def _send(self, info: BufferInfo, now: float) -> bool:
        """Seals a buffer and has it written; returns False when somebody still fills it."""
        number = info.number
        self._filled_at[info.bucket] = now
        if not self._buffers.seal(number):
            return self._buffers.read_one(number).state is not BufferState.FILLING
        if info.is_page_gone:
            self._buffers.finish(number, STATUS_PAGE_GONE)
            return True
        self.under_way.add(number)

        def finish(result: tuple[int, int]) -> None:
            status, error = result
            self.under_way.discard(number)
            if error in _FULL:
                self._retry_at[number] = time.monotonic() + FULL_SECONDS
                self._health.was_full(info.path)
                return
            self._retry_at.pop(number, None)
            self._buffers.finish(number, status)
            self._health.wrote(info.path, is_good=status == STATUS_GOOD)

        self._threads.submit(info.path, lambda: self._buffers.write(number), finish)
        return True

    def _begin(self, now: float) -> None:
        self._wanted |= self._buffers.wanted()
        self.streams |= self._wanted
        infos = self._buffers.read()
        open_buffers = Counter(
            info.bucket
            for info in infos
            if info.state is BufferState.FILLING and not info.is_closed
        )
        in_use = sum(info.state is not BufferState.FREE for info in infos)
        most = buffers_most(
            self._store.arena.live("memory_limit_bytes"),
            self._flash.wbuf_bytes,
            self._flash.path_count,
            self._buffers.count,
        )
        lately = {bucket for bucket, at in self._filled_at.items() if now - at < _BUSY_SECONDS}
        # When memory is full for the first time, evictions are as fast as clients are.
        busy = frozenset({Bucket.DEFAULT, *lately})
        wanted = self._wanted | {Bucket.DEFAULT}
        if self._look_at_index():
            wanted, busy = wanted & _RESCUES, busy & _RESCUES
        free = [info.number for info in infos if info.state is BufferState.FREE]
        flash_bytes = self._flash.page_count * self._flash.page_bytes
        at_once = open_most(flash_bytes, self._flash.wbuf_bytes)
        for bucket in streams_to_begin(open_buffers, wanted, busy, most - in_use, at_once):
            if free and self._begin_one(free[-1], bucket, now):
                free.pop()
                open_buffers[bucket] += 1
        self._wanted = frozenset(bucket for bucket in self._wanted if not open_buffers[bucket])

    def _begin_one(self, number: int, bucket: int, now: float) -> bool:
        if self._buffers.begin(number, bucket):
            self._waits.pop(bucket, None)
            return True
        if self._health.is_any_left:
            self.needs_page = True
            since, _asked = self._waits.get(bucket, (now, now))
            self._waits[bucket] = since, now
        return False

    def _look_at_index(self) -> bool:
        """Tells whether more entries would take memory that is for items."""
        most = index_entries_max(self._store.arena.live("memory_limit_bytes"))
        is_full = self._flash.index_entries >= most
        if is_full:
            self._health.index_was_full()
        return is_full

    def _release(self, now: float) -> None:
        last = max(self._filled_at.values(), default=0.0)
        if last and now - last > _IDLE_SECONDS and self._released_at < last:
            self._buffers.release(_KEPT_BUFFERS)
            self._released_at = now
