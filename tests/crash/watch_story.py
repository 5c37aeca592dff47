"""The story of log streams: a process that watches and notes events, and dies within them."""

from dataclasses import dataclass

from pymc.core.ffi import lib
from tests.crash.site_cases import REPAIRER, VICTIM, Begin
from tests.support.core.driver import TINY_LADDER, Handle
from tests.support.core.watch_rig import Reader, WatchedCache, note

_ROUNDS = 60


@dataclass(frozen=True)
class WatchStory:
    """One process writes its ring round and reads it, watches and watches no more."""

    name: str = "watch"

    def make(self) -> WatchedCache:
        """A fresh cache with the smallest rings."""
        return WatchedCache(chunk_bytes=TINY_LADDER, bucket_start=2, slots=5)

    def live(self, cache: WatchedCache, seed: int, begin: Begin) -> None:
        """Each round is an operation of its own."""
        handle = cache.open(VICTIM)
        for number in range(_ROUNDS):
            begin(number)
            reader = Reader(handle, lib.WATCH_SYSEVENTS)
            # More than a ring in some rounds, so that the reader is overtaken.
            for i in range(100 if number % 10 == seed % 10 else 3):
                note(handle, b"%d.%d" % (number, i) + b"x" * (number * 7 % 250))
            reader.lines()
            reader.close()
            handle.turn()

    def take_over(self, cache: WatchedCache, slot: int, seed: int, begun: int) -> Handle:
        """Repairs the dead, and takes their slots once."""
        handle = cache.open(slot)
        for dead in (VICTIM, REPAIRER):
            handle.reclaim_slot(dead)
        for dead in (VICTIM, REPAIRER):
            if dead != slot:
                cache.open(dead).close()
        return handle

    def judge(self, cache: WatchedCache, handle: Handle, seed: int, begun: int) -> None:
        """Nobody watches any more; who watches now sees all that is noted now, in its order."""
        assert lib.watch_wanted(cache.arena) == 0
        readers = [Reader(handle, lib.WATCH_SYSEVENTS) for _ in range(lib.WATCH_READERS_MAX)]
        assert [reader.status for reader in readers] == [0] * lib.WATCH_READERS_MAX
        successor = cache.open(VICTIM)
        for i in range(20):
            note((successor, handle)[i % 2], b"%d" % i)
        for reader in readers:
            assert reader.lines() == [b"%d" % i for i in range(20)]
            reader.close()
        assert lib.watch_wanted(cache.arena) == 0
        handle.check()
