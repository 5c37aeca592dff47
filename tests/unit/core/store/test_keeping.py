"""Which items stay when something has to go: probation, the hand, the ghost and what they learn."""

import random
from bisect import bisect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Mode, Outcome
from tests.support.core.lru_queues import Queues
from tests.support.core.talk import Talk

VALUE = b"x" * 900
# Half of what hot_lru_pct says: where probation's share begins.
START_PERCENT = 10
SHARES = 1 << 20


@pytest.fixture
def store() -> Iterator[Handle]:
    """Room for about four thousand items, and all of them in one class."""
    with Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER) as cache:
        handle = cache.open()
        handle.set_now(100)
        yield handle
        handle.check()


def keys_of(prefix: bytes, count: int, start: int = 0) -> list[bytes]:
    return [b"%s%d" % (prefix, i) for i in range(start, start + count)]


def put(store: Handle, keys: Iterable[bytes], reads: int = 0, expiry_seconds: int = 0) -> None:
    """Each key is read that often right after it was set."""
    for key in keys:
        stored = store.put(key, VALUE, expiry_seconds=expiry_seconds)
        assert stored.outcome == Outcome.STORED
        for _ in range(reads):
            store.get(key)


def read(store: Handle, keys: Iterable[bytes], times: int = 1) -> int:
    """Reads each key so many times; how many are there."""
    return sum(all(store.get(key) is not None for _ in range(times)) for key in keys)


def push_out(store: Handle, items: int, prefix: bytes) -> None:
    """New items of which each is proven at once: the hand has to find the victims."""
    put(store, keys_of(prefix, items), reads=1)


def full(store: Handle) -> int:
    """Fills the cache with proven items that were not read since; how many it holds.

    Probation has the share again with which it began.
    """
    push_out(store, 7000, b"fill")
    # From now on reads are counted, since something is being evicted.
    assert store.frontiers_step() > 0
    store.turn()
    queues, class_id = Queues(store), store.class_for(1024)
    missing = round((START_PERCENT / 100 - share(store)) * SHARES * 4)
    queues.adapt(class_id, missing, SHARES, START_PERCENT)
    return store.counters()["items"]


def peeked(store: Handle, keys: list[bytes]) -> int:
    """How many are there, without a read to anybody's name."""
    talk = Talk(store)
    return sum(talk.ask(b"mg %s u\r\n" % key) == b"HD\r\n" for key in keys)


def share(store: Handle) -> float:
    """The part of its class that probation may have now."""
    queues = Queues(store)
    return queues.target(store.class_for(1024), SHARES, START_PERCENT) / SHARES


def grown(store: Handle, before: float) -> float:
    """By how many items the part of probation has grown."""
    shown = store.slab_class(store.class_for(1024))
    return (share(store) - before) * float(shown.pages * shown.chunks_per_page)


def counted(store: Handle, name: str) -> int:
    return store.class_counters(store.class_for(1024))[name]


def proven(store: Handle, prefix: bytes, count: int) -> list[bytes]:
    """Items past probation without a read to their name; the cache is full of such."""
    keys = keys_of(prefix, count)
    put(store, keys, reads=1)
    # As many as may be on probation at once.
    push_out(store, 400, prefix + b"-after")
    return keys


def test_each_read_is_worth_one_round_of_the_hand(store: Handle) -> None:
    held = full(store)
    groups = [proven(store, b"r%d." % reads, 200) for reads in range(3)]
    for reads, keys in enumerate(groups):
        read(store, keys, reads)
    step, lost_after = held // 10, [0, 0, 0]
    for n in range(1, 40):
        push_out(store, step, b"more%d." % n)
        for reads, keys in enumerate(groups):
            if not lost_after[reads] and peeked(store, keys[::10]) <= 2:
                lost_after[reads] = n
    first, second, third = lost_after
    assert 3 <= first <= 12
    # The new ones that are still on probation keep the hand from victims for some steps.
    assert 8 <= second - first <= 14
    assert 8 <= third - second <= 18


def test_overwriting_keeps_what_an_item_has_earned(store: Handle) -> None:
    held = full(store)
    keys = proven(store, b"p", 300)
    put(store, keys)
    read_twice = keys_of(b"twice", 100)
    put(store, read_twice, reads=2)
    put(store, read_twice)
    put(store, keys_of(b"scan", held))
    assert read(store, keys) >= 290
    assert read(store, read_twice) >= 95


def test_a_dead_item_hands_nothing_on(store: Handle) -> None:
    held = full(store)
    keys = keys_of(b"p", 300)
    put(store, keys, reads=2, expiry_seconds=150)
    put(store, keys_of(b"scan", 600))
    assert counted(store, "warm_items") >= 300
    store.set_now(160)
    put(store, keys)
    put(store, keys_of(b"scan", held, 600))
    assert read(store, keys) == 0


def test_one_read_proves(store: Handle) -> None:
    held = full(store)
    never, once = keys_of(b"never", 100), keys_of(b"once", 100)
    put(store, never)
    put(store, once, reads=1)
    put(store, keys_of(b"scan", held))
    assert read(store, never) == 0
    assert read(store, once) == 100


def test_an_evicted_key_that_comes_back_is_proven(store: Handle) -> None:
    held = full(store)
    keys = keys_of(b"back", 100)
    put(store, keys)
    put(store, keys_of(b"scan", 500))
    assert read(store, keys) == 0
    put(store, keys)
    put(store, keys_of(b"scan", held, 500))
    assert read(store, keys) >= 95
    # What was known once is not known for ever.
    for key in keys:
        store.delete(key)
    put(store, keys)
    put(store, keys_of(b"scan", held, 500 + held))
    assert read(store, keys) <= 10


def test_who_was_evicted_by_the_hand_begins_anew(store: Handle) -> None:
    held = full(store)
    keys = proven(store, b"p", 100)
    push_out(store, held * 2, b"more")
    assert read(store, keys) <= 5
    put(store, keys)
    put(store, keys_of(b"scan", held))
    assert read(store, keys) <= 10


def test_probation_grows_when_it_would_have_had_a_key(store: Handle) -> None:
    full(store)
    began = share(store)
    assert began == pytest.approx(START_PERCENT / 100, abs=0.001)
    keys = keys_of(b"back", 100)
    put(store, keys)
    put(store, keys_of(b"scan", 470))
    put(store, keys)
    # Three quarters of an item each.
    assert 60 <= grown(store, began) <= 76


def test_keys_that_come_back_late_say_nothing(store: Handle) -> None:
    held = full(store)
    keys = keys_of(b"back", 100)
    put(store, keys)
    put(store, keys_of(b"scan", held * 3 // 4))
    began = share(store)
    put(store, keys)
    assert abs(grown(store, began)) <= 10


def test_probation_stays_within_its_bounds(store: Handle) -> None:
    full(store)
    for n in range(40):
        keys = keys_of(b"back%d." % n, 100)
        put(store, keys)
        put(store, keys_of(b"scan%d." % n, 900))
        put(store, keys)
    assert 0.25 <= share(store) <= 0.301


def test_probation_shrinks_when_a_last_read_saves(store: Handle) -> None:
    held = full(store)
    keys = proven(store, b"p", 400)
    saved = counted(store, "moves_within_lru")
    began = share(store)
    assert read(store, keys, 1) >= 390
    push_out(store, held * 5 // 4, b"more")
    saved = counted(store, "moves_within_lru") - saved
    assert saved >= 350
    assert -grown(store, began) == pytest.approx(saved / 4, rel=0.1)
    assert share(store) >= 0.0299


def test_reads_that_were_not_the_last_change_nothing(store: Handle) -> None:
    held = full(store)
    keys = proven(store, b"p", 400)
    saved = counted(store, "moves_within_lru")
    began = share(store)
    assert read(store, keys, 2) >= 390
    push_out(store, held * 3 // 4, b"more")
    saved = counted(store, "moves_within_lru") - saved
    assert saved >= 50
    # A key that looks like one that was evicted may move it a little.
    assert abs(grown(store, began)) <= 4


def test_what_the_queue_forgot_goes_first_and_in_its_order(store: Handle) -> None:
    held = room_exactly(store)
    put(store, keys_of(b"new", 400))
    lost = [i for i in range(held) if store.get(b"k%d" % i) is None]
    assert 390 <= len(lost) <= 420
    assert max(lost) <= 440


def room_exactly(store: Handle) -> int:
    """Fills the cache with k0, k1 ... as far as nothing has to go; how many that are."""
    count = 0
    while store.counters()["evictions"] == 0:
        put(store, keys_of(b"k", 1, count))
        count += 1
    return count


def test_young_items_beside_what_the_queue_forgot_stay(store: Handle) -> None:
    put(store, keys_of(b"k", 3920))
    for key in keys_of(b"k", 50, 20):
        store.delete(key)
    # In the chunks that became free, which the hand comes by first.
    young = keys_of(b"young", 50)
    put(store, young)
    put(store, keys_of(b"new", 300))
    assert store.counters()["evictions"] > 50
    assert peeked(store, young) == 50


def test_what_the_queue_forgot_stays_if_it_was_read(store: Handle) -> None:
    held = room_exactly(store)
    keys = keys_of(b"k", 500, 100)
    assert read(store, keys, 2) == 500
    put(store, keys_of(b"new", held // 2))
    assert read(store, keys) == 500


def test_the_hand_gives_up_after_a_few_that_were_read() -> None:
    """More items than are looked at for one victim, and all of them read."""
    with Cache(limit_bytes=2 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        count = 0
        while store.counters()["evictions"] == 0:
            store.put(b"%d" % count, b"x" * 20)
            count += 1
        assert count > 10_000
        for _ in range(2):
            for i in range(count):
                store.get(b"%d" % i)
        class_id = store.class_for(48)
        for i in range(500):
            names = ("moves_to_warm", "moves_within_lru")
            before = sum(store.class_counters(class_id)[name] for name in names)
            assert store.put(b"new%d" % i, b"x" * 20).outcome == Outcome.STORED
            after = sum(store.class_counters(class_id)[name] for name in names)
            assert after - before <= 64
        # One goes for each that comes, give or take a batch.
        assert store.counters()["items"] >= count - 64


class Lru:
    """The reference: forgets what was used longest ago."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.keys: OrderedDict[int, None] = OrderedDict()

    def __call__(self, key: int) -> bool:
        """Whether the key was there; it is now."""
        if key in self.keys:
            self.keys.move_to_end(key)
            return True
        self.keys[key] = None
        if len(self.keys) > self.room:
            self.keys.popitem(last=False)
        return False


def zipf(dice: random.Random, keys: int, alpha: float) -> Callable[[], int]:
    """A popular key now and then, 0 the most popular one."""
    sums = list(accumulate(1 / (i + 1) ** alpha for i in range(keys)))
    return lambda: bisect(sums, dice.random() * sums[-1])


def popular(dice: random.Random) -> Iterator[int]:
    draw = zipf(dice, 30_000, 0.9)
    for _ in range(60_000):
        yield draw()


def popular_and_scans(dice: random.Random) -> Iterator[int]:
    draw = zipf(dice, 12_000, 0.8)
    fresh = 1_000_000
    for n in range(60_000):
        if n % 10_000 < 3000:
            yield fresh
            fresh += 1
        yield draw()


def drifting(dice: random.Random) -> Iterator[int]:
    """What is popular moves on, which suits the reference: whoever never forgets is far behind."""
    draw = zipf(dice, 6000, 0.9)
    for n in range(60_000):
        yield draw() + n // 3000 * 500


def looping(dice: random.Random) -> Iterator[int]:
    """Twice as many keys as there is room for, again and again: worst for the reference."""
    for n in range(50_000):
        yield dice.randrange(500) if n % 2 else 1000 + n // 2 % 5000


@pytest.mark.parametrize(
    ("trace", "points"),
    [(popular, 2.0), (popular_and_scans, 4.0), (drifting, -7.0), (looping, 6.0)],
)
def test_hits_beside_the_least_recently_used(
    store: Handle, trace: Callable[[random.Random], Iterator[int]], points: float
) -> None:
    """Read-through, with as many items; `points` more of a hundred requests are hits."""
    requests = list(trace(random.Random(7)))
    hits = 0
    for key in requests:
        name = b"%d" % key
        if store.get(name) is not None:
            hits += 1
        else:
            store.put(name, VALUE)
    reference = Lru(store.counters()["items"])
    expected = sum(map(reference, requests))
    assert 100 * (hits - expected) / len(requests) >= points


def test_what_a_command_changes_is_not_its_victim() -> None:
    """A class of few items, of which the oldest one grows: another one has to go."""
    with Cache(limit_bytes=4 * MIB) as cache:
        store = cache.open()
        values: dict[bytes, bytes] = {}
        for i in range(60):
            fresh = b"k%d" % i
            values[fresh] = b"%d;" % i * 40_000
            assert store.put(fresh, values[fresh]).outcome == Outcome.STORED
            oldest = next(key for key in values if peeked(store, [key]))
            values[oldest] += b"abc"
            assert store.put(oldest, b"abc", mode=Mode.APPEND).outcome == Outcome.STORED
            assert store.get(oldest) == values[oldest]
        assert store.counters()["evictions"] > 20
        store.check()
