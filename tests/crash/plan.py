"""A deterministic workload: the same seed gives the same operations, and what each key may hold."""

import itertools
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pymc.core.ffi import lib
from tests.support.core.driver import Cache, Handle, Mode
from tests.support.core.lru_queues import fit_probation
from tests.support.core.shrinking import shrink_step
from tests.support.core.talk import Talk

BEGIN_SECONDS = 100
# After all clocks of the plan, and before anything expires.
LATER_SECONDS = 50_000
LIFETIME_SECONDS = 100_000
COMPANION_SLOT = 3


@dataclass(frozen=True)
class Operation:
    """One call; `value` is the generation's text for writes, a count for others."""

    name: str
    key: bytes = b""
    value: bytes = b""
    number: int = 0


def value_of(key: bytes, generation: int, value_bytes: int) -> bytes:
    """A text that tells key and generation at every place, so that no mixture goes unnoticed."""
    word = b"%s=%d;" % (key, generation)
    return (word * (value_bytes // len(word) + 1))[: max(value_bytes, len(word))]


_WEIGHTS = {
    "set": 40,
    "large": 6,
    "delete": 12,
    "number": 3,
    "incr": 10,
    "append": 4,
    "touch": 4,
    "stale": 2,
    "get": 8,
    "drain": 4,
    "limbo": 3,
    "move": 1,
    "crawl": 1,
    "chain": 1,
    "fit": 1,
    "clock": 2,
    "accompany": 3,
}
_SIZES = (10, 60, 150, 400, 900)
_LARGE_SIZES = (2500, 9000, 30_000)


# Among so many bursts of operations this one is a tide.
_TIDE = 60
_TIDES_APART = 600


@cache
def clustered(prefix: bytes, count: int) -> tuple[bytes, ...]:
    """Keys of one bucket, until there are more than 256."""
    found: list[bytes] = []
    # With several prefixes they are not all to be in one chain, which has an end.
    bucket = 200 + zlib.crc32(prefix) & 255
    for number in itertools.count():
        key = b"%sh%d" % (prefix, number)
        if lib.hash_of(key, len(key), 0) & 255 == bucket:
            found.append(key)
            if len(found) == count:
                break
    return tuple(found)


def _tide(prefix: bytes, generation: int) -> Iterator[Operation]:
    """The index grows by many buckets and some long chains, and shrinks again."""
    many = [b"%st%d" % (prefix, i) for i in range(4000)]
    for key in (*clustered(prefix, 500), *many):
        yield Operation("set", key, value_of(key, generation, 10))
    for key in many:
        yield Operation("delete", key)
    for _ in range(100):
        yield Operation("shrink", number=5)
    for key in clustered(prefix, 500):
        yield Operation("delete", key)
    for _ in range(20):
        yield Operation("shrink", number=20)


# Among so many bursts of operations this one fills memory with one size, each time another.
_SURGE = 30
_SURGES_APART = 150
_SURGE_SIZES = (200, 900, 60, 9000, 400)
_SURGE_BYTES = 1_500_000


def _surge(prefix: bytes, generation: int) -> Iterator[Operation]:
    """Enough of one size to need pages from others, whose items are older by then."""
    size = _SURGE_SIZES[generation // _SURGES_APART % len(_SURGE_SIZES)]
    for i in range(_SURGE_BYTES // (size + 40)):
        key = b"%ss%d.%d" % (prefix, size, i)
        yield Operation("set", key, value_of(key, generation, size))
        if i % 64 == 0:
            yield Operation("accompany")
    yield Operation("clock", number=60)


def operations(
    seed: int,
    prefix: bytes = b"",
    keys: int = 400,
    *,
    tides: bool = True,
    surges: bool = False,
) -> Iterator[Operation]:
    """Operations without end; now and then a tide of keys or a surge, as far as wanted."""
    dice = random.Random(seed)
    names = list(_WEIGHTS)
    weights = list(_WEIGHTS.values())
    for generation in itertools.count(1):
        name = dice.choices(names, weights)[0]
        key = b"%sk%d" % (prefix, dice.randrange(keys))
        counter = b"%sn%d" % (prefix, dice.randrange(10))
        if tides and generation % _TIDES_APART == _TIDE:
            yield from _tide(prefix, generation)
        elif surges and generation % _SURGES_APART == _SURGE:
            yield from _surge(prefix, generation)
        elif name == "set":
            yield Operation(name, key, value_of(key, generation, dice.choice(_SIZES)))
        elif name == "large":
            # Few keys, so that the values that are being read are replaced and deleted too.
            key = b"%sl%d" % (prefix, dice.randrange(12))
            yield Operation(name, key, value_of(key, generation, dice.choice(_LARGE_SIZES)))
            yield Operation(dice.choice(("get", "delete", "touch")), key)
        elif name == "number":
            yield Operation("set", counter, b"%d" % dice.choice((0, 9, 998)))
        elif name == "incr":
            yield Operation(name, counter, number=dice.choice((1, 7, 500)))
        elif name == "append":
            yield Operation(name, key, b"+%d" % generation)
        elif name == "chain":
            # A rush of keys makes buckets overflow and split; their end empties the chains again.
            rush = [b"%sc%d.%d" % (prefix, generation, i) for i in range(120)]
            for one in rush:
                yield Operation("set", one, value_of(one, generation, 10))
            for one in rush:
                yield Operation("delete", one)
        else:
            yield Operation(name, key, number=dice.randrange(1, 8))


class Model:
    """What each key holds when it is there. An absent key may always have been evicted."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def apply(self, operation: Operation) -> None:
        """Follows an operation that went through."""
        old = self.values.get(operation.key)
        if operation.name in ("set", "large"):
            self.values[operation.key] = operation.value
        elif operation.name == "delete":
            self.values.pop(operation.key, None)
        elif operation.name == "append" and old is not None:
            self.values[operation.key] = old + operation.value
        elif operation.name == "incr" and old is not None:
            text = b"%d" % (int(old) + operation.number)
            self.values[operation.key] = text.ljust(len(old))


class Companion:
    """Another process of the same cache that stores a little now and then, and rests."""

    def __init__(self, cache: Cache) -> None:
        self._handle = cache.open(COMPANION_SLOT)
        self._handle.set_now(BEGIN_SECONDS)
        self._handle.rest()
        self._visits = 0

    def visit(self, now_seconds: int) -> None:
        """Leaves chunks of every size in its magazines."""
        handle = self._handle
        handle.wake()
        handle.set_now(now_seconds)
        self._visits += 1
        for size in (*_SIZES, 30):
            key = b"companion %d %d" % (size, self._visits % 3)
            handle.put(key, value_of(key, self._visits, size))
        handle.rest()


class Player:
    """Plays operations on a handle, with a companion if there is one."""

    def __init__(
        self,
        handle: Handle,
        companion: Companion | None = None,
        now_seconds: int = BEGIN_SECONDS,
    ) -> None:
        self.handle = handle
        self.companion = companion
        self.now_seconds = now_seconds
        handle.set_now(now_seconds)
        self.talk = Talk(handle, values_max=64)

    def play(self, operation: Operation) -> None:
        handle, key = self.handle, operation.key
        match operation.name:
            case "set" | "large":
                handle.put(key, operation.value)
            case "append":
                handle.put(key, operation.value, mode=Mode.APPEND)
            case "delete":
                handle.delete(key)
            case "incr":
                handle.arith(key, operation.number)
            case "touch":
                handle.touch(key, LIFETIME_SECONDS)
            case "stale":
                handle.delete(key, mark_stale=True)
            case "get":
                # Its reply waits, and with it the memory of large values.
                self.talk.feed(b"get " + key + b"\r\n", drains=False)
            case "drain":
                self.talk.drain()
            case "limbo":
                handle.limbo_step(5)
            case "shrink":
                shrink_step(handle, operation.number)
            case "crawl":
                handle.crawl(500)
            case "clock":
                self.now_seconds += operation.number
                handle.set_now(self.now_seconds)
                handle.frontiers_step()
                handle.turn()
            case "accompany":
                # As a worker does that has nothing to do for a moment.
                handle.rest()
                handle.wake()
                if self.companion:
                    self.companion.visit(self.now_seconds)
            case "fit":
                fit_probation(handle)
            case "move":
                self._move(operation.number)
            case _:
                raise AssertionError(operation)

    def _move(self, from_class: int) -> None:
        classes = self.handle.slab().classes
        move = self.handle.move_begin(min(from_class, classes), from_class % (classes + 1))
        if move is None:
            return
        for _ in range(10):
            if self.handle.move_step(move, 400):
                return
        self.handle.move_cancel(move)
