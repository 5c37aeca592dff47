"""The index: growth bucket by bucket, chains behind full buckets, and their end."""

import random

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import Cache, Handle, Outcome
from tests.support.core.index_keys import BUCKET_BYTES, colliding_keys


@pytest.fixture
def still() -> Handle:
    """A store whose index has 64 buckets and does not grow until it has 448 entries."""
    return Cache(bucket_start=64).open()


@pytest.mark.parametrize("bucket_start", [1, 2, 3, 64, 100])
def test_growth_keeps_every_key(bucket_start: int) -> None:
    with Cache(bucket_start=bucket_start) as cache:
        store = cache.open()
        for i in range(5000):
            store.put(b"%d" % i, b"=%d" % i)
        assert all(store.get(b"%d" % i) == b"=%d" % i for i in range(5000))
        snapshot = store.index()
        assert snapshot.buckets >= 5000 // 8
        assert abs(snapshot.entries - 5000) <= 32
        assert store.check() == 5000


def test_overflow_chains_grow_and_shrink(still: Handle) -> None:
    keys = colliding_keys(200)
    for i, key in enumerate(keys):
        still.put(key, b"v")
        assert still.index().overflow_buckets == max(0, (i - 1) // 10)
        assert still.check() == i + 1
    assert still.index().overflow_buckets == 19
    random.Random(1).shuffle(keys)
    for key in keys:
        assert still.get(key) == b"v"
        still.delete(key)
        still.check()
    assert still.index().overflow_buckets == 0
    still.cache.close()


def test_freed_overflow_buckets_are_used_again(still: Handle) -> None:
    keys = colliding_keys(100)
    empty = still.index().bytes
    full = set()
    for _ in range(5):
        for key in keys:
            still.put(key, b"v")
        full.add(still.index().bytes)
        for key in keys:
            still.delete(key)
        assert still.index().bytes == empty
    assert full == {empty + 9 * BUCKET_BYTES}
    still.check()
    still.cache.close()


def test_a_chain_that_is_split(still: Handle) -> None:
    keys = colliding_keys(150)
    others = [b"o%d" % i for i in range(3000)]
    for key in keys + others:
        still.put(key, b"=" + key)
    assert still.index().buckets > 128
    assert all(still.get(key) == b"=" + key for key in keys + others)
    assert still.check() == len(keys) + len(others)
    still.cache.close()


def test_values_change_in_the_middle_of_a_chain(still: Handle) -> None:
    keys = colliding_keys(60)
    generator = random.Random(2)
    model: dict[bytes, bytes] = {}
    for i in range(3000):
        key = generator.choice(keys)
        if generator.random() < 0.4:
            still.delete(key)
            model.pop(key, None)
        else:
            model[key] = b"%d" % i * generator.randrange(1, 20)
            still.put(key, model[key])
    assert {key: still.get(key) for key in keys} == {key: model.get(key) for key in keys}
    assert still.check() == len(model)
    still.cache.close()


def put_with_patience(store: Handle, key: bytes) -> int:
    """Puts; as a session does, tries again in the next turn when it is put off."""
    outcome = store.put(key, b"=" + key).outcome
    if outcome == Outcome.BUSY:
        lib.store_turn(store.store)
        outcome = store.put(key, b"=" + key).outcome
    return int(outcome)


def test_a_full_chain_loses_its_oldest_item() -> None:
    """No key is refused, however many keys meet in one bucket."""
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        store.waits_for_buckets = False
        # Keys that agree in so many bits stay together however often the index grows.
        keys = colliding_keys(64 * 10 + 30, bits=9)
        assert all(put_with_patience(store, key) == Outcome.STORED for key in keys)
        lost = [key for key in keys if store.get(key) is None]
        assert lost == keys[: len(lost)]
        assert 0 < len(lost) <= 29
        assert store.counters()["chain_evictions"] == store.counters()["evictions"] == len(lost)
        assert store.check() == len(keys) - len(lost)
        # The last one that was put off is not waited for for ever.
        assert store.put(keys[0], b"v").outcome == Outcome.BUSY
        lib.store_turn(store.store)
        lib.store_turn(store.store)
        assert store.counters()["chain_evictions"] == len(lost) + 1


def test_dead_items_of_a_full_chain_go_first() -> None:
    with Cache(bucket_start=64) as cache:
        store = cache.open()
        store.waits_for_buckets = False
        keys = colliding_keys(64 * 10 + 30, bits=9)
        for number, key in enumerate(keys):
            store.put(key, b"=" + key, expiry_seconds=50 if number % 2 else 0)
        full = [key for key in keys if store.get(key) is not None]
        store.set_now(60)
        late = next(key for key in keys if key not in full)
        assert put_with_patience(store, late) == Outcome.STORED
        assert store.counters()["evictions"] == 0
        assert store.counters()["chain_evictions"] == 1
        assert all(store.get(key) is not None for key in full[::2])


def test_a_seed_parts_keys_that_meet_without_it() -> None:
    """Keys that were chosen for one bucket spread over all of them."""
    keys = colliding_keys(300)
    for seed, overflows in ((0, True), (0x123456789ABCDEF, False)):
        with Cache(bucket_start=64, hash_seed=seed) as cache:
            store = cache.open()
            for key in keys:
                store.put(key, b"=" + key)
            assert all(store.get(key) == b"=" + key for key in keys)
            assert (store.index().overflow_buckets > 20) is overflows
            assert store.check() == len(keys)
