"""Append and prepend: values of every size join, headers stay what they were."""

import threading

import pytest

from tests.support.core.driver import LADDER, MIB, TINY_LADDER, Cache, Found, Handle, Mode, Outcome
from tests.support.core.talk import Talk
from tests.support.deadline import WAIT_SECONDS


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.PREPEND])
@pytest.mark.parametrize("old_bytes", [0, 1, 900, 1007, 1008, 1009, 5000])
@pytest.mark.parametrize("piece_bytes", [0, 1, 100, 1008, 4000])
def test_sizes(parted: Handle, mode: Mode, old_bytes: int, piece_bytes: int) -> None:
    old = bytes(i % 241 for i in range(old_bytes))
    piece = bytes(i % 239 for i in range(piece_bytes))
    parted.put(b"k", old)
    stored = parted.put(b"k", piece, mode=mode)
    assert stored.outcome == Outcome.STORED
    assert stored.value_bytes == old_bytes + piece_bytes
    assert parted.get(b"k") == (old + piece if mode == Mode.APPEND else piece + old)


def test_headers_stay_and_the_number_is_new(store: Handle) -> None:
    old = store.put(b"k", b"1", flags=5, expiry_seconds=500)
    new = store.put(b"k", b"2", mode=Mode.APPEND, flags=9, expiry_seconds=900)
    item = store.look(b"k")
    assert isinstance(item, Found)
    assert (item.value, item.flags, item.expiry_seconds) == (b"12", 5, 500)
    assert item.cas == new.cas > old.cas


def test_many_small_pieces(parted: Handle) -> None:
    parted.put(b"k", b"")
    wanted = b""
    for i in range(300):
        piece = b"%d," % i
        parted.put(b"k", piece, mode=Mode.APPEND)
        wanted += piece
    assert parted.get(b"k") == wanted


def test_vivify_stores_when_missing(store: Handle) -> None:
    stored = store.put(
        b"k", b"v", mode=Mode.APPEND, flags=3, expiry_seconds=900, vivify_expiry_seconds=200
    )
    assert stored.outcome == Outcome.STORED
    item = store.look(b"k")
    assert isinstance(item, Found)
    assert (item.value, item.flags, item.expiry_seconds) == (b"v", 3, 200)
    store.put(b"k", b"w", mode=Mode.APPEND, vivify_expiry_seconds=300)
    item = store.look(b"k")
    assert isinstance(item, Found)
    assert (item.value, item.expiry_seconds) == (b"vw", 200)


def test_a_joined_value_that_is_too_large_leaves_the_old_one(store: Handle) -> None:
    store.cache.set_live("item_bytes_max", 1024)
    store.put(b"k", b"x" * 600)
    assert store.put(b"k", b"y" * 600, mode=Mode.APPEND).outcome == Outcome.NOT_STORED
    assert store.get(b"k") == b"x" * 600


def test_nothing_is_left_behind(parted: Handle) -> None:
    for i in range(200):
        parted.put(b"k", b"x" * (i * 37 % 3000))
        parted.put(b"k", b"y" * (i * 91 % 3000), mode=Mode.PREPEND)
        parted.put(b"none", b"y" * 2000, mode=Mode.APPEND)
    parted.delete(b"k")
    assert parted.check() == 0
    assert parted.counters()["item_bytes"] == 0


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.PREPEND])
@pytest.mark.parametrize(
    ("ladder", "value_bytes"),
    [(TINY_LADDER, 900), (TINY_LADDER, 150_000), (LADDER, 300_000), (LADDER, 1_200_000)],
)
def test_what_is_joined_is_not_evicted_for_it(
    mode: Mode, ladder: tuple[int, ...], value_bytes: int
) -> None:
    """Memory is full of its like, none of them read: any of them may be the next victim."""
    with Cache(limit_bytes=6 * MIB, chunk_bytes=ladder) as cache:
        store = cache.open()
        held = b"v" * value_bytes
        count = 3 * 6 * MIB // value_bytes if value_bytes > 100_000 else 8000
        for number in range(count):
            store.put(b"%d" % number, held)
        alive = [b"%d" % n for n in range(count) if store.look(b"%d" % n) != Outcome.MISS]
        assert 0 < len(alive) < count
        for key in alive[:40]:
            # Whether it is still there after the others' turns is not the question.
            if store.put(key, b"x", mode=Mode.REPLACE).outcome == Outcome.STORED:
                store.put(key, held)
                assert store.put(key, b"1", mode=mode).outcome == Outcome.STORED
                is_equal = store.get(key) == (held + b"1" if mode == Mode.APPEND else b"1" + held)
                assert is_equal
        assert store.counters()["store_no_memory"] == 0
        store.check()


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.PREPEND])
def test_a_join_that_finds_no_room_leaves_the_old_value(mode: Mode) -> None:
    """Nothing but the item itself could make room for its successor."""
    with Cache(limit_bytes=6 * MIB, chunk_bytes=LADDER) as cache:
        store = cache.open()
        cache.set_live("slab_reassign", 0)
        held = b"v" * (5 * MIB // 2)
        for number in range(100):
            store.put(b"%d" % number, b"x" * 900)
        assert store.put(b"k", held).outcome == Outcome.STORED
        assert store.put(b"k", b"+", mode=mode).outcome == Outcome.NOT_STORED
        is_equal = store.get(b"k") == held
        assert is_equal
        assert store.counters()["oom_no_victim"] == 1
        store.check()


def test_a_piece_takes_no_memory_of_its_own() -> None:
    """A large item and its joined successor fit into memory; a piece as large would not."""
    with Cache(limit_bytes=6 * MIB, chunk_bytes=(48, 64, 1024, 65_536)) as cache:
        store = cache.open()
        cache.set_live("evictions_enabled", 0)
        store.put(b"k", b"x")
        piece = b"y" * (5 * MIB // 2)
        assert store.put(b"k", piece, mode=Mode.APPEND).outcome == Outcome.STORED
        is_equal = store.get(b"k") == b"x" + piece
        assert is_equal


def test_others_cannot_keep_a_join_from_ending() -> None:
    """Somebody touches the item all the time, faster than it can be copied."""
    with Cache(limit_bytes=64 * MIB, chunk_bytes=LADDER) as cache:
        store = cache.open(0)
        held = b"v" * (4 * MIB)
        store.put(b"k", held)
        begun, stop = threading.Event(), threading.Event()

        def touch() -> None:
            other = cache.open(1)
            talk = Talk(other)
            lines = b"".join(b"touch k %d noreply\r\n" % (1000 + n % 9) for n in range(20_000))
            while not stop.is_set():
                talk.feed(lines)
                begun.set()
            other.close()

        toucher = threading.Thread(target=touch)
        toucher.start()
        begun.wait(WAIT_SECONDS)
        try:
            for _ in range(20):
                assert store.put(b"k", b"!", mode=Mode.APPEND).outcome == Outcome.STORED
        finally:
            stop.set()
            toucher.join()
        is_equal = store.get(b"k") == held + b"!" * 20
        assert is_equal
        assert store.counters()["oom_gave_up"] == 0
