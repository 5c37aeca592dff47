"""The index shrinks: buckets merge, every key stays where it is found, and the memory goes back."""

import random

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.index_keys import BUCKET_BYTES, colliding_keys
from tests.support.core.shrinking import shrink, shrink_step
from tests.support.memory_file import memory_files, occupied_bytes

KIB = 1024


def fill(store: Handle, count: int, start: int = 0) -> list[bytes]:
    keys = [b"%d" % i for i in range(start, start + count)]
    for key in keys:
        store.put(key, b"=" + key)
    return keys


@pytest.mark.parametrize("bucket_start", [1, 2, 3, 64, 100])
def test_what_remains_is_found_at_every_step(bucket_start: int) -> None:
    with Cache(bucket_start=bucket_start) as cache:
        store = cache.open()
        keys = fill(store, 3000)
        random.Random(1).shuffle(keys)
        kept = keys[:300]
        for key in keys[300:]:
            store.delete(key)
        buckets = store.index().buckets
        while shrink_step(store, 1):
            assert store.check() == len(kept)
            assert store.index().buckets in (buckets - 1, buckets)
            buckets = store.index().buckets
            assert all(store.get(key) == b"=" + key for key in random.Random(2).sample(kept, 20))
        assert store.index().buckets == max(300 * 2 // 7, bucket_start)
        assert all(store.get(key) == b"=" + key for key in kept)


def test_it_ends_where_it_began() -> None:
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        store.get(b"a miss")
        for _ in range(3):
            for key in fill(store, 20_000):
                store.delete(key)
            shrink(store)
            assert store.index().bytes == 64 * BUCKET_BYTES
            assert store.check() == 0


def test_growing_and_shrinking_do_not_chase_each_other() -> None:
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        keys = fill(store, 20_000)
        buckets = store.index().buckets
        shrink(store)
        assert store.index().buckets == buckets
        for key in keys[9_000:]:
            store.delete(key)
        shrink(store)
        fewer = store.index().buckets
        assert fewer < buckets
        # From where it has shrunk to there is as much room again before it grows.
        fill(store, 7_000, start=50_000)
        assert store.index().buckets == fewer


def test_a_chain_is_merged_and_split_again() -> None:
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        chained = colliding_keys(120)
        for key in chained:
            store.put(key, b"=" + key)
        for _ in range(3):
            others = fill(store, 6000)
            for key in others:
                store.delete(key)
            shrink(store, 7)
            assert store.index().buckets == 64
            assert all(store.get(key) == b"=" + key for key in chained)
            assert store.check() == len(chained)
        assert store.index().overflow_buckets == 11


def test_a_merge_without_room_is_undone() -> None:
    """The entries of buckets 5 and 261 together are more than a chain may hold."""
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        others = fill(store, 5000)
        keys = colliding_keys(700, bits=8)
        for key in keys:
            store.put(key, b"=" + key)
        for key in others:
            store.delete(key)
        for _ in range(2):
            shrink(store)
            assert store.index().buckets == 262
            assert store.check() == len(keys)
            assert all(store.get(key) == b"=" + key for key in keys)
        for key in keys[600:]:
            store.delete(key)
        shrink(store)
        assert store.index().buckets < 200
        assert all(store.get(key) == b"=" + key for key in keys[:600])


def test_large_start_shrinks_to_what_is_needed() -> None:
    with Cache(bucket_start=1 << 18, limit_bytes=64 * MIB) as cache:
        store = cache.open()
        limit = store.slab().pages_limit
        keys = fill(store, 1000)
        shrink(store)
        assert store.index().bytes == 8192 * BUCKET_BYTES
        assert store.slab().pages_limit == limit + (((1 << 18) - 8192) * BUCKET_BYTES) // MIB
        assert all(store.get(key) == b"=" + key for key in keys)
        assert store.check() == 1000


def test_memory_goes_back() -> None:
    before = memory_files()
    with Cache(bucket_start=64) as cache:
        (file,) = memory_files() - before
        store = cache.open()
        # Pages of items stay; they are there for both measurements.
        for key in fill(store, 200_000):
            store.delete(key)
        full = occupied_bytes(file)
        taken = store.index().bytes
        assert taken > 1500 * KIB
        shrink(store)
        assert store.index().bytes == 64 * BUCKET_BYTES
        assert full - occupied_bytes(file) >= taken - 16 * KIB
        # And it is used again.
        keys = fill(store, 200_000)
        assert store.index().bytes > 1500 * KIB
        assert all(store.get(key) == b"=" + key for key in keys[::100])
        assert store.check() == 200_000


def test_what_was_expired_or_flushed_makes_room() -> None:
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        fill(store, 100_000)
        limit = store.slab().pages_limit
        full = store.index().bytes
        store.flush_all()
        store.crawl()
        shrink(store)
        assert store.index().bytes == 64 * BUCKET_BYTES
        store.set_limit(64 * MIB)
        assert store.slab().pages_limit >= limit
        assert full > 800 * KIB


def versions(store: Handle) -> list[int]:
    index = lib.store_index(store.store)
    return [int(lib.index_version(index, i)) for i in range(store.index().buckets)]


def test_no_version_comes_again() -> None:
    """Views of a bucket that went, and whose memory went, must not fit when it is back."""
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        before: list[int] = []
        for turns in (9, 1, 1):
            for _ in range(turns):
                keys = fill(store, 5000)
                for key in keys[64 * 7 :]:
                    store.delete(key)
            fill(store, 5000)
            now = versions(store)
            assert len(now) > 600
            assert all(new > old for new, old in zip(now, before, strict=False))
            for key in keys:
                store.delete(key)
            before = versions(store)
            shrink(store)
            assert store.index().buckets == 64


def test_a_miss_does_not_rest_on_fresh_memory() -> None:
    """Version 0 is what memory has that came anew: who finds nothing under it moves it."""
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        assert set(versions(store)) == {0}
        for i in range(1000):
            assert store.get(b"%d" % i) is None
        assert set(versions(store)) == {1}


@pytest.mark.parametrize("seed", range(4))
def test_against_a_dictionary(seed: int) -> None:
    """Random tides of keys; between the operations the index grows and shrinks by some buckets."""
    dice = random.Random(seed)
    model: dict[bytes, bytes] = {}
    with Cache(bucket_start=dice.choice([1, 2, 7])) as cache:
        store = cache.open()
        other = cache.open(1)
        for turn in range(60):
            share = dice.choice([0.1, 0.3, 0.7, 0.9])
            for _ in range(400):
                key = b"%d" % dice.randrange(4000)
                if dice.random() < share:
                    model[key] = b"%d" % turn
                    store.put(key, model[key])
                else:
                    other.delete(key)
                    model.pop(key, None)
                if dice.random() < 0.05:
                    shrink_step(dice.choice([store, other]), dice.choice([1, 5, 100]))
            for key in dice.sample(sorted(model), len(model) // 4):
                assert other.get(key) == model[key]
            assert store.check() == len(model)
        assert all(store.get(b"%d" % i) == model.get(b"%d" % i) for i in range(4000))
        for key in model:
            store.delete(key)
        # Each process counts what it has not told the others yet.
        shrink(other)
        shrink(store)
        assert store.index().buckets == cache.shape.bucket_start
