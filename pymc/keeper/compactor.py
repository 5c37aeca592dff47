"""Compaction of one page at a time: read it back piece by piece, write again what is wanted."""

import time
from collections.abc import Callable
from enum import Enum, auto

from pymc.core.flash import Bucket, Flash
from pymc.core.store import Store
from pymc.core.writeout import Loaded, Scan
from pymc.keeper.io_thread import IoThreads
from pymc.keeper.writer import Writer
from pymc.policy.compaction import Compact

_RECORDS_PER_STEP = 1024
# Waiting for an I/O ends by itself; this is for when nobody tells.
_WAIT_SECONDS = 0.05
# Until a write buffer is free.
_BUFFER_SECONDS = 0.002
_ERRORS_MAX = 8
_RESCUED_BY_BUCKET: dict[int, str] = {
    Bucket.COLD_COMPACT: "ext_compact_rescues_cold",
    Bucket.OLD: "ext_compact_rescues_old",
}


class _Phase(Enum):
    IDLE = auto()
    LOADING = auto()
    COPYING = auto()


class Compactor:
    """`done(page)` is called when a page has been gone through."""

    def __init__(
        self,
        store: Store,
        flash: Flash,
        writer: Writer,
        readers: IoThreads,
        done: Callable[[int], None],
    ) -> None:
        """Starts idle; takes memory with the first page. Borrows all of them."""
        self._store = store
        self._flash = flash
        self._writer = writer
        self._readers = readers
        self._done = done
        self._scan: Scan | None = None
        self._job: Compact | None = None
        self._phase = _Phase.IDLE
        self._errors = 0
        # Of the page, for `watch`: how far it was read, and what became of the last piece.
        self._offset = 0
        self._piece = [0, 0, 0]
        # When the bytes moved until now are paid for at ext_compact_rate.
        self._paid_until = 0.0

    @property
    def page(self) -> int | None:
        """Returns the number of the page that is being compacted; None when idle."""
        return self._job.page if self._job else None

    def begin(self, job: Compact) -> None:
        """Takes a page up. Requires: idle."""
        if self._scan is None:
            self._scan = Scan(self._store, self._flash)
        self._scan.stop()
        if not self._scan.begin(job.page):
            return
        self._job = job
        self._errors = self._offset = 0
        info = self._flash.page(job.page)
        used = info.used_bytes / max(info.written_bytes, 1)
        self._tell(f"compact_fraginfo ratio={1 - used:.2f} bytes={info.used_bytes}")
        self._tell(f"compact_start id={job.page} version={info.version}")
        self._load()

    def step(self) -> float | None:
        """Works on the page; returns the seconds to rest, None when idle."""
        rest = self._paid_until - time.monotonic()
        if self._phase is _Phase.IDLE:
            return None
        if self._phase is _Phase.LOADING:
            return _WAIT_SECONDS
        if rest > 0:
            return rest
        return self._copy()

    def _load(self) -> None:
        assert self._scan is not None and self._job is not None
        self._phase = _Phase.LOADING
        self._tell(f"compact_read_start id={self._job.page} offset={self._offset}")
        path = self._flash.page(self._job.page).path
        self._readers.submit(path, self._scan.load, self._loaded)

    def _loaded(self, loaded: Loaded) -> None:
        if loaded.is_good:
            self._store.count("ext_device_reads")
            self._store.count("ext_device_bytes_read", loaded.read_bytes)
            self._pay(loaded.read_bytes)
            self._offset += loaded.read_bytes
            self._piece = [0, 0, 0]
            self._phase = _Phase.COPYING
            return
        if not loaded.is_end:
            # What cannot be read is lost, and its entries go with the page; the rest may be good.
            self._store.count("ext_read_errors")
            self._errors += 1
            if self._errors < _ERRORS_MAX:
                self._load()
                return
        self._end(is_whole=loaded.is_end)

    def _copy(self) -> float:
        assert self._scan is not None and self._job is not None
        step = self._scan.compact(
            self._job.bucket, _RECORDS_PER_STEP, read_only=self._job.read_only
        )
        self._piece = [
            had + more
            for had, more in zip(
                self._piece, (step.rescued, step.dead, step.dropped), strict=True
            )
        ]
        if step.rescued:
            self._pay(step.rescued_bytes)
            self._store.count("ext_compact_bytes", step.rescued_bytes)
            if name := _RESCUED_BY_BUCKET.get(self._job.bucket):
                self._store.count(name, step.rescued)
        if step.needs_buffer:
            self._writer.want(self._job.bucket)
            self._writer.step()
            return _BUFFER_SECONDS
        if step.needs_load:
            self._tell_piece()
            self._load()
            return _WAIT_SECONDS
        return 0.0

    def _tell(self, words: str) -> None:
        self._store.note_system_event(words)

    def _tell_piece(self) -> None:
        assert self._job is not None
        rescued, lost, skipped = self._piece
        self._tell(
            f"compact_read_end id={self._job.page} offset={self._offset} rescues={rescued}"
            f" lost={lost} skipped={skipped}"
        )

    def _end(self, *, is_whole: bool) -> None:
        assert self._job is not None and self._scan is not None
        page = self._job.page
        self._tell(f"{'compact_end' if is_whole else 'compact_abort'} id={page}")
        self._scan.stop()
        self._job, self._phase = None, _Phase.IDLE
        self._done(page)

    def _pay(self, moved_bytes: int) -> None:
        rate = self._store.arena.live("ext_compact_rate_bytes")
        if rate > 0:
            start = max(self._paid_until, time.monotonic())
            self._paid_until = start + moved_bytes / rate
