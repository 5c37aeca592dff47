"""Short deterministic workloads that together come by every store, and what each key may hold."""

import itertools
import random
from collections.abc import Iterator

from tests.crash.plan import Operation, clustered, value_of
from tests.support.core.driver import MIB

FAR_SECONDS = 100_000
_SIZES = (10, 60, 150, 400, 900)
_LARGE_SIZES = (1500, 2500, 9000, 30_000)

_WEIGHTS = {
    "set": 10,
    "large": 6,
    "making": 3,
    "making_ends": 2,
    "half_sent": 2,
    "add": 3,
    "replace": 3,
    "append": 6,
    "prepend": 3,
    "cas": 5,
    "ms": 6,
    "ms_append": 2,
    "ms_stale": 2,
    "get": 6,
    "gets": 2,
    "gat": 4,
    "touch": 5,
    "mg": 6,
    "mg_touch": 3,
    "mg_recache": 2,
    "vivify": 2,
    "delete": 6,
    "md": 3,
    "md_stale": 4,
    "md_clear": 2,
    "number": 3,
    "incr": 8,
    "decr": 4,
    "ma": 4,
    "expire": 3,
    "odd": 3,
    "pin": 4,
    "pin_many": 1,
    "pieces": 2,
    "settings": 1,
    "drain": 2,
    "limbo": 2,
    "crawl": 1,
    "dump": 1,
    "clock": 2,
    "turn": 1,
    "accompany": 2,
}


def _value(dice: random.Random, key: bytes, generation: int) -> bytes:
    return value_of(key, generation, dice.choice(_SIZES))


def commands(seed: int, count: int = 900, prefix: bytes = b"c:") -> Iterator[Operation]:
    """Commands of both protocols and the store's own calls, on few keys."""
    dice = random.Random(seed)
    names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    for generation in range(1, count):
        name = dice.choices(names, weights)[0]
        key = b"%sk%d" % (prefix, dice.randrange(40))
        large_key = b"%sl%d" % (prefix, dice.randrange(6))
        number_key = b"%sn%d" % (prefix, dice.randrange(6))
        fresh_key = b"%sf%d" % (prefix, generation)
        size = dice.choice(_LARGE_SIZES)
        if name == "large":
            yield Operation("set", large_key, value_of(large_key, generation, size))
        elif name in ("making", "making_ends", "half_sent", "pieces"):
            yield Operation(name, large_key, value_of(large_key, generation, size), generation)
        elif name == "pin_many":
            keys = [b"%sp%d" % (prefix, i) for i in range(4)]
            for one in keys:
                yield Operation("set", one, value_of(one, generation, 20_000))
                yield Operation("get", one)
            for one in dice.sample(keys, 4):
                yield Operation("delete", one)
            yield Operation("limbo")
            yield Operation("drain")
            yield Operation("limbo")
        elif name == "pin":
            yield Operation("set", large_key, value_of(large_key, generation, 30_000))
            yield Operation("get", large_key)
            then = dice.choice(("delete", "set", "append", "get", "touch"))
            value = value_of(large_key, -generation, 20_000) if then == "set" else b"+%d" % size
            yield Operation(then, large_key, value if then != "delete" else b"", FAR_SECONDS)
        elif name in ("add", "vivify"):
            yield Operation(name, fresh_key, _value(dice, fresh_key, generation))
            yield Operation("delete", fresh_key)
        elif name in ("append", "prepend", "ms_append"):
            target = dice.choice((key, key, large_key))
            yield Operation(name, target, b"+%d" % generation)
        elif name == "number":
            yield Operation("set", number_key, b"%d" % dice.choice((0, 9, 998, 2**64 - 4)))
        elif name in ("incr", "decr", "ma"):
            yield Operation(name, number_key, number=dice.choice((1, 7, 500)))
        elif name == "expire":
            yield Operation("set_dying", fresh_key, _value(dice, fresh_key, generation), 3)
            yield Operation("clock", number=5)
            yield Operation(dice.choice(("get", "touch", "delete", "crawl")), fresh_key)
        else:
            yield Operation(name, key, _value(dice, key, generation), generation)


def chains(seed: int) -> Iterator[Operation]:
    """The index grows by many buckets and long chains, shrinks, and gives memory back."""
    many = [b"t%d" % i for i in range(1100)]
    clusters = [*clustered(b"", 380), *clustered(b"x", 380)]
    for key in (*clusters, *many):
        yield Operation("put", key, value_of(key, seed, 10))
    dice = random.Random(seed)
    dice.shuffle(many)
    for key in many:
        yield Operation("delete", key)
    yield from (Operation("shrink", number=5) for _ in range(30))
    dice.shuffle(clusters)
    for i, key in enumerate(clusters):
        yield Operation("delete", key)
        if i % 100 == 0:
            yield Operation("shrink", number=3)
    yield from (Operation("shrink", number=100) for _ in range(8))
    for key in clusters[:60]:
        yield Operation("put", key, value_of(key, seed + 1, 10))


def _surge(generation: int, size: int, mebibytes: float) -> Iterator[Operation]:
    for i in range(int(mebibytes * MIB) // (size + 50)):
        key = b"s%d.%d" % (size, i)
        yield Operation("put", key, value_of(key, generation, size))
        if i % 40 == 0:
            yield Operation("accompany")
            yield Operation("clock", number=1)
        if i % 5 == 0:
            yield Operation("read", key)


def short(seed: int) -> Iterator[Operation]:
    """Memory is short: eviction, and pages that move from class to class."""
    sizes = [900, 2500, 400, 9000, 150, 900]
    for generation, size in enumerate(sizes, start=seed):
        yield from _surge(generation, size, 1.6)
        yield from (Operation("fit"), Operation("move", number=generation))
        yield from commands(generation, 60)
    yield Operation("limit", number=3 * MIB)
    yield from _surge(seed + 7, 400, 0.3)
    yield Operation("limit", number=4 * MIB)
    yield from _surge(seed + 8, 2500, 1)


def queues(seed: int) -> Iterator[Operation]:
    """Queues of many segments, that are cut, emptied and given back; the ghost with them."""
    yield Operation("ghost", number=10_000)
    for i in range(1800):
        yield Operation("put", b"q%d" % i, value_of(b"q%d" % i, seed, 20))
    yield from (Operation("push", number=class_id) for class_id in (1, 2, 1, 2))
    for i in range(1800, 3000):
        yield Operation("put", b"q%d" % i, value_of(b"q%d" % i, seed, 20 if i % 20 < 10 else 40))
    for i in range(3000):
        yield Operation("delete", b"q%d" % i)
    yield from (Operation("empty", number=class_id) for class_id in (1, 2, 3))
    yield Operation("fit")
    for i in range(300):
        yield Operation("put", b"q%d" % i, value_of(b"q%d" % i, seed + 1, 20))
    yield Operation("ghost", number=0)
    yield Operation("fit")


def flushes(seed: int) -> Iterator[Operation]:
    """Items are flushed at once and later, met, replaced and crawled."""
    for generation in itertools.count(seed):
        for i in range(60):
            key = b"u%d" % i
            value = value_of(key, generation, 10 if i % 4 else 3000)
            yield Operation("put", key, value)
        yield Operation("flush", number=generation % 2 * 5)
        for i in range(0, 60, 3):
            key = b"u%d" % i
            yield Operation("set", key, value_of(key, -generation, 20))
            yield Operation(("touch", "get", "incr", "append")[i // 3 % 4], b"u%d" % (i + 1))
        yield Operation("clock", number=4)
        yield Operation("turn")
        yield Operation("crawl")
        if generation == seed + 5:
            return


def visits(seed: int) -> Iterator[Operation]:
    """Processes come and go, ask for chunks, look, reset; settings change."""
    for number in range(12):
        yield Operation("visit", b"v%d" % number, value_of(b"v%d" % number, seed, 300), number)
        yield from commands(seed + number, 15)
        yield Operation("ask_flush")
        yield Operation("turn")
        yield Operation("release")
        yield Operation("reset")
        yield Operation("hold", number=number)
        yield from _surge(number, 2500, 0.4)


class Ledger:
    """What each key holds if it is there: it may always have been evicted where memory is short."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._dying: dict[bytes, int] = {}
        self._flush_due = 0
        self.now = 0

    def apply(self, one: Operation) -> None:
        """Follows an operation that went through."""
        key, old = one.key, self.values.get(one.key)
        match one.name:
            case "set" | "put" | "making" | "pieces" | "ms" | "add" | "visit":
                self.values[key] = one.value
            case "cas" | "replace" | "ms_stale" if old is not None:
                self.values[key] = one.value
            case "vivify":
                self.values[key] = b""
            case "md_clear" if old is not None:
                self.values[key] = b""
            case "delete" | "md":
                self.values.pop(key, None)
            case "set_dying":
                self.values[key] = one.value
                self._dying[key] = self.now + one.number
            case "clock":
                self.now += one.number
                self._pass_time()
            case "flush" if one.number:
                self._flush_due = self.now + one.number
            case "flush":
                self.values.clear()
            case "append" | "ms_append" if old is not None:
                self.values[key] = old + one.value
            case "prepend" if old is not None:
                self.values[key] = one.value + old
            case "incr" | "decr" | "ma" if old is not None and old.strip().isdigit():
                self._count(key, int(old), -one.number if one.name == "decr" else one.number)

    def _count(self, key: bytes, old: int, by: int) -> None:
        new = max(old + by, 0) & (1 << 64) - 1
        # A number that needs no more digits is changed in place.
        self.values[key] = (b"%d" % new).ljust(len(self.values[key]))

    def _pass_time(self) -> None:
        # A delayed flush is done a second early.
        if self._flush_due and self._flush_due <= self.now + 1:
            self._flush_due = 0
            self.values.clear()
        for key in [key for key, due in self._dying.items() if due <= self.now]:
            self.values.pop(key, None)
            del self._dying[key]
