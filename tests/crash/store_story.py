"""Stories of the store in memory: their caches, who dies, who takes over, and what must hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pymc.core.ffi import lib
from tests.crash import stories
from tests.crash.plan import BEGIN_SECONDS, COMPANION_SLOT, Operation
from tests.crash.site_cases import REPAIRER, VICTIM, Begin
from tests.crash.stories import Ledger
from tests.crash.story_player import TOOL_SLOT, StoryPlayer
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle

_DEAD_SLOTS = (VICTIM, REPAIRER, COMPANION_SLOT, TOOL_SLOT)


@dataclass(frozen=True)
class StoreStory:
    """A workload and the cache it happens in."""

    name: str
    operations: Callable[[int], Iterator[Operation]]
    # With room for everything nothing is lost but the item whose bytes were half written.
    has_room: bool = True
    has_prefixes: bool = False
    cache: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Cache:
        """A fresh cache for one telling."""
        more = int(lib.prefix_reserve_bytes())
        shape = {"chunk_bytes": TINY_LADDER, "bucket_start": 2, "slots": 5, **self.cache}
        cache = Cache(reserve_bytes_more=more, **shape)
        assert not self.has_prefixes or lib.prefix_create(cache.arena) == 0
        return cache

    def live(self, cache: Cache, seed: int, begin: Begin) -> None:
        """Plays all of it; `begin(n)` is told of each operation before it begins."""
        begin(0)
        player = StoryPlayer(cache, VICTIM)
        for number, operation in enumerate(self.operations(seed), start=1):
            begin(number)
            player.play(operation)
        begin(number + 1)

    def _ledgers(self, seed: int, begun: int) -> tuple[Ledger, Ledger, bytes]:
        """Before and after the operation that was under way, and its key."""
        before, after = Ledger(), Ledger()
        key = b""
        for number, operation in enumerate(self.operations(seed), start=1):
            if number > begun:
                break
            after.apply(operation)
            key = operation.key
            if number < begun:
                before.apply(operation)
        return before, after, key

    def take_over(self, cache: Cache, slot: int, seed: int, begun: int) -> Handle:
        """Repairs all slots of the dead, takes each once, which gives back what they held."""
        handle = cache.open(slot)
        handle.set_now(BEGIN_SECONDS + self._ledgers(seed, begun)[1].now)
        for dead in _DEAD_SLOTS:
            handle.reclaim_slot(dead)
        for dead in _DEAD_SLOTS:
            if dead != slot:
                cache.open(dead).close()
        handle.limbo_step(1 << 20)
        return handle

    def judge(self, cache: Cache, handle: Handle, seed: int, begun: int) -> None:
        """Looks at everything, and goes on as if nothing had been."""
        before, after, key = self._ledgers(seed, begun)
        handle.check()
        self._check_values(handle, before, after, key)
        _use_on(cache, handle, BEGIN_SECONDS + after.now)
        handle.limbo_step(1 << 20)
        assert handle.limbo_step(1 << 20) == 0
        handle.check()

    def _check_values(
        self, handle: Handle, before: Ledger, after: Ledger, key_under_way: bytes
    ) -> None:
        for key in before.values.keys() | after.values.keys():
            allowed = (before.values.get(key), after.values.get(key))
            found = handle.get(key)
            if found is None:
                is_lost = None not in allowed and key != key_under_way
                assert not (is_lost and self.has_room), ("lost", key)
            else:
                shown = [value and value[:60] for value in allowed]
                assert found in allowed, (key, found[:60], shown)


def _use_on(cache: Cache, handle: Handle, now_seconds: int) -> None:
    """What a successor stores is there, or nothing where memory is short."""
    player = StoryPlayer(cache, VICTIM, now_seconds)
    ledger = Ledger()
    for operation in stories.commands(7, 40, b"after:"):
        player.play(operation)
        ledger.apply(operation)
    player.reader.drain()
    for key, value in ledger.values.items():
        assert handle.get(key) in (value, None), key


def _roomy(**live: int) -> dict[str, Any]:
    return {"limit_bytes": 64 * MIB, "live": live}


def _tight(**live: int) -> dict[str, Any]:
    return {"limit_bytes": 4 * MIB, "limit_bytes_max": 8 * MIB, "live": live}


STORE_STORIES = (
    StoreStory("commands", stories.commands, has_prefixes=True, cache=_roomy(detail_enabled=1)),
    StoreStory("chains", stories.chains, cache=_roomy()),
    StoreStory("short", stories.short, has_room=False, cache=_tight()),
    StoreStory("queues", stories.queues, has_room=False, cache=_tight(hot_lru_percent=30)),
    StoreStory("flushes", stories.flushes, cache=_roomy()),
    StoreStory("visits", stories.visits, has_room=False, cache=_tight()),
)
