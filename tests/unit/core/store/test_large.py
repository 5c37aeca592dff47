"""Values in parts: from just above the largest chunk to 20 MB."""

import hashlib

import pytest

from tests.unit.core.driver import MIB, Cache, Handle, Outcome


def noise(value_bytes: int, seed: int = 0) -> bytes:
    block = hashlib.sha512(b"%d" % seed).digest()
    return (block * (value_bytes // 64 + 1))[:value_bytes]


@pytest.mark.parametrize("value_bytes", [*range(970, 1030, 3), 2016, 2017, 5000, 60_000])
def test_sizes_in_small_parts(parted: Handle, value_bytes: int) -> None:
    value = noise(value_bytes)
    assert parted.put(b"k", value, flags=3, expiry_seconds=900).outcome == Outcome.STORED
    assert parted.get(b"k") == value
    assert parted.delete(b"k") == Outcome.DELETED
    assert parted.counters()["item_bytes"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("value_bytes", [524_288, 600_000, MIB, 5 * MIB, 20 * MIB])
def test_sizes_in_real_parts(store: Handle, value_bytes: int) -> None:
    value = noise(value_bytes)
    for _ in range(3):
        assert store.put(b"k", value).outcome == Outcome.STORED
    assert store.get(b"k") == value
    store.put(b"k", b"small")
    assert store.get(b"k") == b"small"
    assert store.counters()["item_bytes"] < 50


def test_in_pieces(parted: Handle) -> None:
    value = noise(10_000)
    making = parted.begin(b"k", len(value), flags=5)
    assert making.outcome == Outcome.HIT
    for start in range(0, len(value), 777):
        piece = value[start : start + 777]
        while piece:
            piece = piece[making.fill(piece) :]
    assert parted.look(b"k") == Outcome.MISS
    assert making.fill(b"more") == 0
    assert making.commit().outcome == Outcome.STORED
    assert parted.get(b"k") == value


def test_abandoned(parted: Handle) -> None:
    parted.put(b"k", b"old")
    before = parted.check()
    making = parted.begin(b"k", 10_000)
    making.fill(b"x" * 500)
    parted.check()
    making.abandon()
    assert parted.check() == before
    assert parted.get(b"k") == b"old"


def test_the_mode_is_decided_when_the_value_is_whole(parted: Handle) -> None:
    making = parted.begin(b"k", 5000, mode=1)
    parted.put(b"k", b"faster")
    making.fill_all(noise(5000))
    assert making.commit().outcome == Outcome.NOT_STORED
    assert parted.get(b"k") == b"faster"


def test_many_at_once(parted: Handle) -> None:
    makings = [parted.begin(b"%d" % i, 3000) for i in range(100)]
    for i, making in enumerate(makings):
        making.fill_all(noise(3000, i))
    for making in makings:
        assert making.commit().outcome == Outcome.STORED
    assert all(parted.get(b"%d" % i) == noise(3000, i) for i in range(100))


def test_more_than_all_memory_is_refused_and_forgets_the_old_value() -> None:
    with Cache(limit_bytes=8 * MIB) as cache:
        store = cache.open()
        store.put(b"k", b"old")
        assert store.put(b"k", noise(12 * MIB)).outcome == Outcome.NO_MEMORY
        assert store.get(b"k") is None
        assert store.counters()["store_no_memory"] == 1
        store.check()


def test_a_value_that_would_need_too_many_parts() -> None:
    with Cache(chunk_bytes=(48, 64, 128)) as cache:
        store = cache.open()
        assert store.put(b"k", noise(4000)).outcome == Outcome.TOO_LARGE
        assert store.put(b"k", noise(1000)).outcome == Outcome.STORED
        assert store.get(b"k") == noise(1000)
        store.check()


def test_replacing_large_by_small_and_back(parted: Handle) -> None:
    for i in range(100):
        value = noise(i * 131 % 7000, i)
        parted.put(b"k", value)
        assert parted.get(b"k") == value


def test_touch_keeps_the_parts(parted: Handle) -> None:
    value = noise(9000)
    parted.put(b"k", value)
    assert parted.touch(b"k", 500) == Outcome.TOUCHED
    assert parted.get(b"k") == value
