"""Values in parts: from just above the largest chunk to 20 MB."""

import hashlib

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Mode, Outcome


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
    assert making.outcome == Outcome.ROOM_MADE
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


# A part of the small ladder holds so many bytes of the value.
PART_BYTES = 1024 - 16


def parts_taken(store: Handle) -> int:
    """Chunks of the parts' class that are in use."""
    used = 0
    snapshot = store.slab_class(len(TINY_LADDER))
    used += snapshot.pages * snapshot.chunks_per_page
    return int(used - snapshot.free_chunks - snapshot.magazine_chunks)


@pytest.mark.parametrize("edge", [1, 2, 7])
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_parts_are_taken_as_their_bytes_come(parted: Handle, edge: int, step: int) -> None:
    """Around each border between parts: abandoned there, then committed."""
    value = noise(edge * PART_BYTES + step)
    making = parted.begin(b"k", 20 * PART_BYTES)
    before = parts_taken(parted)
    making.fill_all(value)
    # The part behind a border is taken with its first byte.
    full, rest = divmod(len(value), PART_BYTES)
    assert parts_taken(parted) == before + full + (rest > 0)
    parted.check()
    making.abandon()
    parted.check()
    whole = noise(max(edge * PART_BYTES + step, PART_BYTES + 1), 1)
    making = parted.begin(b"k", len(whole))
    for start in range(0, len(whole), 1 + PART_BYTES // 3):
        making.fill_all(whole[start : start + 1 + PART_BYTES // 3])
    assert making.commit().outcome == Outcome.STORED
    assert parted.get(b"k") == whole


@pytest.mark.parametrize("mode", [Mode.SET, Mode.ADD, Mode.APPEND])
def test_no_room_half_way(mode: Mode) -> None:
    with Cache(limit_bytes=3 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        store.put(b"k", b"old")
        cache.set_live("evictions_enabled", 0)
        makings = [store.begin(b"k", 100_000, mode=mode) for _ in range(40)]
        for making in makings:
            while making.fill(b"x" * PART_BYTES):
                pass
        stuck = [m for m in makings if m.making.filled_bytes < 100_000]
        assert 0 < len(stuck) < len(makings)
        first = stuck[0]
        given_up = lib.store_give_up(store.store, first.write, first.making)
        assert given_up == Outcome.NO_MEMORY
        assert store.get(b"k") == (None if mode == Mode.SET else b"old")
        counters = store.counters()
        assert counters["store_no_memory"] == counters["oom_no_victim"] == 1
        # What one gave back serves the next.
        assert stuck[1].fill(b"y") == 1 or stuck[0].making.filled_bytes < PART_BYTES
        for making in makings:
            making.abandon()
        assert store.check() == (0 if mode == Mode.SET else 1)


def test_real_parts_are_a_fraction_of_the_largest_chunk() -> None:
    with Cache(chunk_bytes=(64, 1024, 65536, 116_504, 131_072, 149_792, 524_288)) as cache:
        store = cache.open()
        making = store.begin(b"k", MIB)
        assert making.fill(b"x" * MIB) == 131_072 - 16
        making.abandon()
        store.check()


@pytest.mark.parametrize(
    ("chunks", "part_bytes"),
    [
        ((64, 65_536, 131_072, 524_288), 131_072),
        ((64, 87_376, 100_000, 524_288), 87_376),
        ((64, 1024, 262_144, 524_288), 262_144),
        ((64, 1024, 16_384), 16_384),
        ((64, 1024), 1024),
    ],
)
def test_the_class_of_parts(chunks: tuple[int, ...], part_bytes: int) -> None:
    with Cache(chunk_bytes=chunks) as cache:
        making = cache.open().begin(b"k", chunks[-1] * 2)
        assert making.fill(b"x" * MIB) == part_bytes - 16
        making.abandon()
