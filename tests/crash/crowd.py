"""Several processes at work on one cache, each checking what it reads; any may be killed."""

import random
from dataclasses import dataclass

from tests.crash.plan import Player, operations, value_of
from tests.support.children import Child, Journal
from tests.support.core.driver import Cache, Handle
from tests.support.deadline import scaled

SHARED_KEYS = 40
CHECKER_SLOT = 0


def is_sound(key: bytes, value: bytes) -> bool:
    """Tells whether a value is one that somebody wrote under this key, whole."""
    word, mark, _ = value.partition(b";")
    if not mark or not word.startswith(key + b"="):
        return False
    repeated = (word + mark) * (len(value) // (len(word) + 1) + 1)
    return repeated[: len(value)] == value


def fight(handle: Handle, dice: random.Random, generation: int) -> None:
    """All processes write the same few keys; whatever is read must be whole."""
    key = b"shared%d" % dice.randrange(SHARED_KEYS)
    chance = dice.random()
    if chance < 0.4:
        handle.put(key, value_of(key, generation, dice.choice((10, 200, 2500))))
    elif chance < 0.5:
        handle.delete(key)
    elif chance < 0.6:
        handle.arith(b"shared counter", 1, initial=0, vivify_expiry_seconds=0)
    else:
        found = handle.get(key)
        assert found is None or is_sound(key, found), (key, found[:80])
        counter = handle.get(b"shared counter")
        assert counter is None or counter.strip().isdigit(), counter


@dataclass(frozen=True)
class Member:
    """One worker: keys with its prefix are written by nobody else."""

    slot: int
    seed: int
    prefix: bytes
    journal: Journal
    tides: bool

    def work(self, cache: Cache) -> None:
        """Plays the plan and fights in between, until it is told to stop or killed."""
        handle = cache.open(self.slot)
        player = Player(handle)
        dice = random.Random(self.seed)
        plan = operations(self.seed, self.prefix, tides=self.tides, surges=not self.tides)
        for begun, operation in enumerate(plan, start=1):
            if self.journal.is_stopped:
                break
            self.journal.begun = begun
            player.play(operation)
            if dice.random() < 0.5:
                fight(handle, dice, begun)
            handle.turn()
        player.talk.drain()
        handle.close()


class Crowd:
    """Workers on all slots but the checker's; with tides, or with surges instead."""

    def __init__(self, cache: Cache, seed: int, *, tides: bool) -> None:
        self.cache = cache
        self.tides = tides
        self.seed = seed
        self.serial = 0
        self._children: dict[int, tuple[Member, Child]] = {}

    def start(self, slot: int) -> Member:
        """Puts a worker on a slot that is free or whose owner is dead."""
        self.serial += 1
        seed, prefix = self.seed * 1000 + self.serial, b"p%d." % self.serial
        member = Member(slot, seed, prefix, Journal(), self.tides)
        child = Child(lambda: member.work(self.cache), deadline_seconds=scaled(120))
        self._children[slot] = (member, child)
        return member

    def kill(self, slot: int) -> Member:
        """Kills the worker of a slot, wherever it is in its work."""
        member, child = self._children.pop(slot)
        child.kill()
        end = child.wait()
        assert end.was_killed, end
        return member

    def stop(self) -> list[Member]:
        """Ends all workers in order."""
        stopped = []
        for member, _ in self._children.values():
            member.journal.stop()
        for member, child in self._children.values():
            end = child.wait()
            assert end.is_fine, (member, end)
            stopped.append(member)
        self._children.clear()
        return stopped
