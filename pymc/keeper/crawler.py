"""Searches for dead items: at once where commands ask, else where samples say that it pays."""

import time

from pymc.core.arena import Note
from pymc.core.maintain import Crawl, sample_dead
from pymc.core.store import Store
from pymc.messages import CrawlerState
from pymc.policy.crawl import ClassSample, core_share, due_classes
from pymc.policy.pace import rest_seconds
from pymc.server_context import ServerContext

# A step is short, since a worker that shares the core waits for its end.
_CHUNKS_PER_STEP = 512
_ASKED_SHARE = 0.5
_MICROSECONDS = 1_000_000
_SAMPLE_PAGES = 256
_SAMPLE_CHUNKS = 8


class Crawler:
    """At most one search at a time; one that was asked for replaces one of its own."""

    def __init__(self, context: ServerContext, store: Store) -> None:
        """Starts idle."""
        self._arena = context.arena
        self._store = store
        self._crawl: Crawl | None = None
        self._begun = self._ended = time.monotonic()
        self._classes: tuple[int, ...] | None = None
        self._is_asked = False
        self._rounds = 0
        self._show()

    def ask(self, classes: tuple[int, ...] | None) -> None:
        """Begins a search of these classes at once; None means all."""
        self._begin(classes, is_asked=True)

    def consider(self) -> None:
        """Begins a search of the classes in which it pays, if any and if allowed."""
        if not self._arena.live("lru_crawler"):
            self._end()
            return
        if self._crawl is not None:
            return
        self._rounds += 1
        found = sample_dead(self._store, _SAMPLE_PAGES, _SAMPLE_CHUNKS, self._rounds)
        due = due_classes([ClassSample(*one) for one in found])
        if due:
            self._begin(due, is_asked=False)

    def step(self) -> float | None:
        """Looks at some chunks; returns the seconds to rest, None when idle."""
        if self._crawl is None:
            return None
        started = time.monotonic()
        if not self._crawl.step(_CHUNKS_PER_STEP) or self._has_enough(self._crawl):
            self._end()
            return None
        share = _ASKED_SHARE
        if not self._is_asked:
            share = core_share(self._crawl.items_seen, self._crawl.items_reclaimed)
        pause = self._arena.live("lru_crawler_sleep_us") / _MICROSECONDS
        return max(pause, rest_seconds(time.monotonic() - started, share))

    def _has_enough(self, crawl: Crawl) -> bool:
        """Tells whether `lru_crawler tocrawl`, which counts items per class, ends it here."""
        per_class = self._arena.live("lru_crawler_to_crawl")
        classes = len(self._classes) if self._classes else 1
        return per_class > 0 and crawl.items_seen >= per_class * classes

    def _begin(self, classes: tuple[int, ...] | None, *, is_asked: bool) -> None:
        self._classes = classes
        self._is_asked = is_asked
        self._crawl = Crawl(self._store, classes)
        self._begun = time.monotonic()
        self._store.count("lru_crawler_starts")
        self._show()

    def _end(self) -> None:
        if self._crawl is not None:
            self._tell(self._crawl)
        self._crawl = None
        self._show()

    def _tell(self, crawl: Crawl) -> None:
        """One line a search: all queues of a class are searched together, and often many classes.

        `crawler` is the class, 0 where there are several. When the next one comes is not known.
        """
        now = time.monotonic()
        one = self._classes[0] if self._classes and len(self._classes) == 1 else 0
        self._store.note_system_event(
            f"lru_crawler crawler={one} lru=all low_mark=0 next_reclaims=0"
            f" since_run={int(now - self._ended)} next_run=0 elapsed={int(now - self._begun)}"
            f" examined={crawl.items_seen} reclaimed={crawl.items_reclaimed}"
        )
        self._ended = now

    def _show(self) -> None:
        state = CrawlerState.IDLE
        if self._crawl is not None:
            state = CrawlerState.ASKED if self._is_asked else CrawlerState.OWN
        self._arena.set_note(Note.CRAWLER, state)
