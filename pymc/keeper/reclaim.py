"""Keeps log pages free for writers: frees, compacts and drops them as the policy says."""

import time

from pymc.config.shared import MILLION
from pymc.core.flash import Flash, PageInfo, PageState
from pymc.core.store import Store
from pymc.core.writeout import FlashPages
from pymc.keeper.compactor import Compactor
from pymc.keeper.io_thread import IoThreads
from pymc.keeper.writer import Writer
from pymc.policy import flash_snapshot
from pymc.policy.compaction import Plan, ReclaimSettings, Rescue, choose
from pymc.policy.flash_index import index_entries_max
from pymc.policy.flash_snapshot import FlashState, PageUse

_LOOK_SECONDS = 0.1
# Looking at thousands of pages takes a small part of the time.
_LOOK_SHARE = 0.05
# When a stream waits for a page.
_LOOK_SECONDS_URGENT = 0.005
_SWEEP_BUCKETS = 4096
# A device that has not answered for so long frees no page soon.
_LATE_SECONDS = 1.0
# From here on old pages go, so that write-out need not stop.
_INDEX_FULL_SHARE = 0.95


class Reclaim:
    """The keeper's job about pages; each step is bounded."""

    def __init__(
        self, store: Store, flash: Flash, pages: FlashPages, writer: Writer, readers: IoThreads
    ) -> None:
        """Goes on where a predecessor was: what was draining is swept from the start."""
        self._store = store
        self._arena = store.arena
        self._flash = flash
        self._pages = pages
        self._writer = writer
        self._readers = readers
        self.compactor = Compactor(store, flash, writer, readers, self._compacted)
        self._sweeping: frozenset[int] = frozenset()
        # A page became free since somebody looked.
        self.has_freed = False
        self._look_due = 0.0

    @property
    def is_sweeping(self) -> bool:
        """Tells whether entries of draining pages are being looked for."""
        return bool(self._sweeping)

    def step(self) -> float:
        """Takes one step of each thing that is going on; returns the seconds to rest."""
        now = time.monotonic()
        if self._writer.needs_page:
            self._writer.needs_page = False
            self._look_due = min(self._look_due, now + _LOOK_SECONDS_URGENT)
        if now >= self._look_due:
            self._look(now)
        if self._sweeping:
            self._sweep()
        rest = self.compactor.step()
        if self._sweeping:
            return 0.0
        until_look = max(self._look_due - now, 0.0)
        return until_look if rest is None else min(rest, until_look)

    def _look(self, now: float) -> None:
        pages = self._flash.pages()
        plan = choose(self._state(pages, now), self._settings(), self.compactor.page)
        self._apply(plan, pages)
        draining = [n for n, page in enumerate(pages) if page.state is PageState.DRAINING]
        # What gets entries yet would need another sweep.
        sweeping = frozenset([*draining, *plan.drain]) - self._writer.pages()
        if sweeping and not self._sweeping:
            self._sweeping = sweeping
            self._pages.begin_sweep()
        spent = time.monotonic() - now
        self._look_due = now + max(_LOOK_SECONDS, spent / _LOOK_SHARE)

    def _apply(self, plan: Plan, pages: list[PageInfo]) -> None:
        for number in plan.free:
            self._free(number)
        for number in plan.drain:
            if number in plan.evicted:
                self._store.count("ext_page_evictions")
                self._store.count("ext_objects_evicted", pages[number].objects)
                self._store.count("ext_bytes_evicted", pages[number].used_bytes)
            self._pages.drain(number)
        if plan.compact is not None and self.compactor.page is None:
            self.compactor.begin(plan.compact)

    def _sweep(self) -> None:
        if self._pages.sweep(_SWEEP_BUCKETS):
            return
        for number in self._sweeping:
            # Not by its count of objects: who died while removing an entry leaves it one too high.
            if self._flash.page(number).state is PageState.DRAINING:
                self._free(number)
        self._sweeping = frozenset()
        self._look_due = 0.0

    def _free(self, number: int) -> None:
        self._pages.free(number)
        # It stays as it is while a buffer for it is under way, and is swept again.
        if self._flash.page(number).state is not PageState.DRAINING:
            self._store.count("ext_page_reclaims")
            self.has_freed = True

    def _compacted(self, number: int) -> None:
        page = self._flash.page(number)
        if page.state is not PageState.FULL:
            return
        if page.objects:
            self._pages.drain(number)
        else:
            self._free(number)
        self._look_due = 0.0

    def _state(self, pages: list[PageInfo], now: float) -> FlashState:
        states = []
        for number, page in enumerate(pages):
            is_dead = page.state is PageState.FULL and self._pages.is_dead(number)
            states.append(
                flash_snapshot.PageState(
                    number,
                    _use_of(page, is_dead=is_dead),
                    page.label,
                    page.bucket,
                    page.version,
                    page.used_bytes,
                    page.objects,
                    page.objects_written,
                    page.objects_read,
                    is_dead,
                )
            )
        return FlashState(
            self._flash.page_bytes,
            tuple(states),
            self._index_is_full(),
            self._writer.waits_seconds(rescues=False),
            self._compaction_waits(),
            self._writer.streams,
        )

    def _compaction_waits(self) -> float:
        """Returns for how many seconds compaction has waited for a page or a device that hangs."""
        waits = self._writer.waits_seconds(rescues=True)
        page = self.compactor.page
        if page is None:
            return waits
        late = self._readers.late_seconds(self._flash.page(page).path)
        return max(waits, late if late >= _LATE_SECONDS else 0.0)

    def _index_is_full(self) -> bool:
        most = index_entries_max(self._arena.live("memory_limit_bytes"))
        return self._flash.index_entries > most * _INDEX_FULL_SHARE

    def _settings(self) -> ReclaimSettings:
        live = self._arena.live
        return ReclaimSettings(
            compact_under_pages=live("ext_compact_under_pages"),
            drop_under_pages=live("ext_drop_under_pages"),
            max_frag=live("ext_max_frag_millionths") / MILLION,
            drop_unread=bool(live("ext_drop_unread")),
            rescue=Rescue.ALL if live("ext_compact_unread") else Rescue.READ,
        )


def _use_of(page: PageInfo, *, is_dead: bool) -> PageUse:
    """Returns what the policy is to take the page for."""
    use = PageUse(page.state)
    if use is PageUse.FULL:
        # One that could not be written again, on a path that is late or full, is as good as open as
        # long as anything in it is wanted.
        is_held = not page.is_writable and page.objects and not is_dead
        return PageUse.OPEN if is_held else use
    if use in (PageUse.FREE, PageUse.DRAINING) and not page.is_writable:
        return PageUse.BAD
    return use
