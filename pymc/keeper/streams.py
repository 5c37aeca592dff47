"""Streams of records on their way to flash: of each stream one batch is filled, one is written."""

import time
from collections import Counter
from collections.abc import Callable

from pymc.core.flash import Bucket, Flash
from pymc.core.store import Store
from pymc.core.writeout import STATUS_GOOD, Batch, Committed
from pymc.keeper.flash_health import Health
from pymc.keeper.io_thread import IoThread

BATCHES = 2
# Who waits for a page asks this often.
_ASKS_SECONDS = 0.25


class Writer:
    """Writes sealed batches in the I/O thread and commits them in the loop's."""

    def __init__(self, store: Store, flash: Flash, thread: IoThread, health: Health) -> None:
        """Borrows all of them."""
        self.store = store
        self._flash = flash
        self._thread = thread
        self._health = health
        # Pages that sealed batches go to: their entries are still to come.
        self._pages: Counter[int] = Counter()
        # The index had no room for a record since somebody looked.
        self.index_was_full = False
        # A stream wants a page and there is none.
        self.needs_page = False
        self.linked = 0
        self.written_bytes = 0

    @property
    def pages(self) -> frozenset[int]:
        """Pages that may get entries at any time."""
        return frozenset(self._pages)

    @property
    def busy_seconds(self) -> float:
        """How long writes were under way, all together."""
        return self._thread.busy_seconds

    def write(self, batch: Batch, written_bytes: int, done: Callable[[bool], None]) -> None:
        """Writes and commits a sealed batch; `done` hears whether it is on flash now."""
        page = batch.page
        path = self._flash.page(page).path
        self._pages[page] += 1

        def finish(status: int) -> None:
            self._take(batch.commit(status))
            self._pages[page] -= 1
            if not self._pages[page]:
                del self._pages[page]
            is_good = status == STATUS_GOOD
            self.written_bytes += written_bytes if is_good else 0
            self._health.wrote(path, is_good=is_good)
            done(is_good)

        self._thread.submit(batch.write, finish)

    def _take(self, committed: Committed) -> None:
        self.linked += committed.linked
        if committed.no_memory:
            self.index_was_full = True
            self._health.index_was_full()


class Stream:
    """The batches of one stream; memory for them is taken when it is first used."""

    def __init__(self, writer: Writer, bucket: Bucket) -> None:
        """Has nothing under way."""
        self._writer = writer
        self._bucket = bucket
        self._idle: list[Batch] = []
        self._made = 0
        self.filling: Batch | None = None
        self.filling_since = 0.0
        self.under_way = 0
        self.failures = 0
        # Since when it has been without a free page (0 while it is not), and when it asked last.
        self._waits_since = 0.0
        self._asked = 0.0

    @property
    def is_used(self) -> bool:
        """Whether records have gone this way."""
        return self._made > 0

    def waits_seconds(self) -> float:
        """How long it has waited for a free page."""
        is_waiting = self._waits_since and time.monotonic() - self._asked < _ASKS_SECONDS
        return time.monotonic() - self._waits_since if is_waiting else 0.0

    def open(self) -> Batch | None:
        """A batch to fill; None while all are under way or no page is free."""
        if self.filling is not None:
            return self.filling
        if not self._idle:
            if self._made == BATCHES:
                return None
            self._idle.append(Batch(self._writer.store))
            self._made += 1
        batch = self._idle[-1]
        if not batch.begin(self._bucket):
            self._writer.needs_page = True
            self._asked = time.monotonic()
            self._waits_since = self._waits_since or self._asked
            return None
        self._waits_since = 0.0
        self._idle.pop()
        self.filling, self.filling_since = batch, time.monotonic()
        return batch

    def seal(self) -> int:
        """Sends off what is there, if anything; its bytes."""
        batch, self.filling = self.filling, None
        if batch is None:
            return 0
        written_bytes = batch.seal()
        if not written_bytes:
            self._idle.append(batch)
            return 0
        self.under_way += 1

        def done(is_good: bool) -> None:
            self.under_way -= 1
            self.failures += not is_good
            self._idle.append(batch)

        self._writer.write(batch, written_bytes, done)
        return written_bytes
