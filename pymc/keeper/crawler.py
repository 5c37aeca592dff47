"""Searches for expired items: what commands ask for at once, the rest as the plan says."""

import time

from pymc.control.messages import CrawlerState
from pymc.core.maintain import Crawl
from pymc.core.store import Store
from pymc.keeper.observe import read_state
from pymc.policy.crawl import CrawlPlan, after_crawl, due_classes
from pymc.policy.pace import rest_seconds
from pymc.policy.snapshot import CacheState
from pymc.server_context import ServerContext

_CHUNKS_PER_STEP = 1000
# What the search may take of one core when nobody asked for it.
_OWN_SHARE = 0.005
_ASKED_SHARE = 0.5
_MICROSECONDS = 1_000_000


class Crawler:
    """At most one search at a time; one that was asked for replaces one of the plan."""

    def __init__(self, context: ServerContext, store: Store) -> None:
        """Starts idle."""
        self._arena = context.arena
        self._store = store
        self._plan = CrawlPlan()
        self._crawl: Crawl | None = None
        self._classes: tuple[int, ...] | None = None
        self._before: CacheState | None = None
        self._is_asked = False
        self._show()

    def ask(self, classes: tuple[int, ...] | None) -> None:
        """Begins a search of these classes now; None is all."""
        self._begin(classes, is_asked=True)

    def consider(self, state: CacheState) -> None:
        """Begins a search of the classes that are due, if any and if allowed."""
        if not self._arena.live("lru_crawler"):
            self._end()
            return
        if self._crawl is not None:
            return
        self._plan, due = due_classes(self._plan, state)
        if due:
            self._begin(due, is_asked=False)

    def step(self) -> float | None:
        """Looks at some chunks; the seconds to rest until the next step, None when idle."""
        if self._crawl is None:
            return None
        started = time.monotonic()
        if not self._crawl.step(_CHUNKS_PER_STEP) or self._has_enough(self._crawl):
            self._finish()
            return None
        share = _ASKED_SHARE if self._is_asked else _OWN_SHARE
        pause = self._arena.live("lru_crawler_sleep_us") / _MICROSECONDS
        return max(pause, rest_seconds(time.monotonic() - started, share))

    def _has_enough(self, crawl: Crawl) -> bool:
        """Whether `lru_crawler tocrawl`, which counts items per class, ends it here."""
        per_class = self._arena.live("lru_crawler_to_crawl")
        classes = len(self._classes) if self._classes else 1
        return per_class > 0 and crawl.items_seen >= per_class * classes

    def _begin(self, classes: tuple[int, ...] | None, *, is_asked: bool) -> None:
        self._classes = classes
        self._is_asked = is_asked
        self._before = read_state(self._store, self._arena.seconds())
        self._crawl = Crawl(self._store, classes)
        self._store.count("lru_crawler_starts")
        self._show()

    def _finish(self) -> None:
        before = self._before
        self._end()
        if before is not None:
            after = read_state(self._store, self._arena.seconds())
            searched = self._classes or tuple(one.class_id for one in before.classes)
            self._plan = after_crawl(self._plan, before, after, searched)

    def _end(self) -> None:
        self._crawl = self._before = None
        self._show()

    def _show(self) -> None:
        state = CrawlerState.IDLE
        if self._crawl is not None:
            state = CrawlerState.ASKED if self._is_asked else CrawlerState.OWN
        self._arena.set_live("crawler_running", state)
