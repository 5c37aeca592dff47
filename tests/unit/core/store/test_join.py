"""Append and prepend: values of every size join, headers stay what they were."""

import pytest

from tests.unit.core.driver import Found, Handle, Mode, Outcome


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
