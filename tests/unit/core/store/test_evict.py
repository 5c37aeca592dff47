"""Making room: who goes first, what -M means, borrowing from larger classes, limits."""

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Mode, Outcome
from tests.support.core.talk import Talk

VALUE = b"x" * 900


def fill(store: Handle, count: int, prefix: bytes = b"") -> int:
    """Stores `count` items; how many of them are there afterwards."""
    for i in range(count):
        store.put(b"%s%d" % (prefix, i), VALUE)
    return alive(store, count, prefix)


def alive(store: Handle, count: int, prefix: bytes = b"") -> int:
    return sum(store.get(b"%s%d" % (prefix, i)) is not None for i in range(count))


def push_out(store: Handle, count: int, prefix: bytes) -> None:
    """Stores items of which each is read at once."""
    for i in range(count):
        store.put(b"%s%d" % (prefix, i), VALUE)
        store.get(b"%s%d" % (prefix, i))


def peeked(store: Handle, keys: list[bytes]) -> int:
    """How many are there, without a read to anybody's name."""
    talk = Talk(store)
    return sum(talk.ask(b"mg %s u\r\n" % key) == b"HD\r\n" for key in keys)


@pytest.fixture
def small() -> Cache:
    return Cache(limit_bytes=4 * MIB, limit_bytes_max=16 * MIB, chunk_bytes=TINY_LADDER)


def test_a_full_cache_goes_on_storing(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        kept = fill(store, 10_000)
        assert 1000 < kept < 4500
        assert store.counters()["evictions"] == 10_000 - kept
        assert store.get(b"9999") == VALUE
        store.check()


def test_what_was_read_outlives_what_was_not(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        assert fill(store, 2000, b"read") == 2000
        fill(store, 6000, b"scan")
        assert alive(store, 2000, b"read") >= 1940


def test_the_hand_takes_a_read_from_who_has_one_and_evicts_who_has_none(small: Cache) -> None:
    """One round of it: all that were read since it came by are there, and all others are gone."""
    with small as cache:
        store = cache.open()
        # Read as soon as they are stored, all pass probation, and the hand has to find victims.
        push_out(store, 6000, b"fill")
        unread, once = [b"unread%d" % i for i in range(50)], [b"once%d" % i for i in range(50)]
        for key in unread + once:
            store.put(key, VALUE)
            store.get(key)
        push_out(store, 400, b"after")
        assert sum(store.get(key) is not None for key in once) == 50
        class_id = store.class_for(1024)

        def spared() -> int:
            return store.class_counters(class_id)["moves_within_lru"]

        before, rounds = spared(), 0
        while spared() - before < len(once) and rounds < 500:
            push_out(store, 20, b"more%d." % rounds)
            rounds += 1
        # The hand has come by all of them, and each is there with no read to its name.
        assert peeked(store, unread) == 0
        assert peeked(store, once) == len(once)
        assert spared() - before <= len(once) + 2


def test_a_new_unread_item_goes_before_an_old_one_that_is_read(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        fill(store, 500, b"hot")
        for _round in range(5):
            alive(store, 500, b"hot")
            for i in range(3000):
                store.put(b"%d.%d" % (_round, i), VALUE)
        assert alive(store, 500, b"hot") >= 485


def test_expired_items_make_room_first(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        for i in range(3000):
            store.put(b"short%d" % i, VALUE, expiry_seconds=50)
        store.set_now(60)
        fill(store, 2900, b"new")
        assert store.counters()["evictions"] == 0


def test_without_evictions_a_full_cache_refuses(small: Cache) -> None:
    with small as cache:
        cache.set_live("evictions_enabled", 0)
        store = cache.open()
        outcomes = [store.put(b"%d" % i, VALUE).outcome for i in range(6000)]
        kept = outcomes.count(Outcome.STORED)
        assert outcomes == [Outcome.STORED] * kept + [Outcome.NO_MEMORY] * (6000 - kept)
        assert alive(store, kept) == kept
        assert store.counters()["evictions"] == 0
        # A refused SET takes the old value with it, and that makes room for one.
        assert store.put(b"0", VALUE + VALUE).outcome == Outcome.NO_MEMORY
        assert store.get(b"0") is None
        assert store.put(b"1", VALUE, mode=Mode.REPLACE).outcome in (
            Outcome.STORED,
            Outcome.NO_MEMORY,
        )
        store.check()


def test_without_evictions_expired_items_still_go(small: Cache) -> None:
    with small as cache:
        cache.set_live("evictions_enabled", 0)
        store = cache.open()
        for i in range(6000):
            store.put(b"%d" % i, VALUE, expiry_seconds=50)
        store.set_now(60)
        assert store.put(b"new", VALUE).outcome == Outcome.STORED


def test_other_classes_still_store_when_one_has_all_pages(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        fill(store, 6000)
        for size in (1, 20, 60, 100, 200, 400):
            for i in range(50):
                assert store.put(b"%d.%d" % (size, i), b"x" * size).outcome == Outcome.STORED
                assert store.get(b"%d.%d" % (size, i)) == b"x" * size
        store.check()


def test_the_limit_holds(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        fill(store, 8000)
        snapshot = store.slab()
        # Pages are counted to the nearest one.
        used = snapshot.pages_used * MIB + store.index().bytes
        assert 3 * MIB < used <= 4 * MIB + MIB // 2


def test_the_limit_can_be_raised(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        before = fill(store, 8000)
        assert store.set_limit(10 * MIB) == 0
        assert fill(store, 12_000) > before * 2
        assert store.set_limit(100 * MIB) != 0
        store.check()


def test_a_lower_limit_stops_growth(small: Cache) -> None:
    with small as cache:
        store = cache.open()
        fill(store, 1200)
        pages = store.slab().pages_used
        store.set_limit(1 * MIB)
        fill(store, 4000)
        assert store.slab().pages_used == max(pages, 2)
        store.check()


def test_the_index_counts_against_the_limit() -> None:
    with Cache(limit_bytes=16 * MIB, bucket_start=1 << 16) as cache:
        store = cache.open()
        assert store.slab().pages_limit == 12
        assert store.index().bytes == 4 * MIB


def test_large_values_evict_each_other() -> None:
    with Cache(limit_bytes=3 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        for i in range(400):
            assert store.put(b"%d" % i, b"%d" % i * 10_000).outcome == Outcome.STORED
            assert store.get(b"%d" % i) == b"%d" % i * 10_000
        assert store.counters()["evictions"] > 200
        store.check()
