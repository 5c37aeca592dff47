"""What counts as a read of an item, for statistics, for eviction and for flash."""

import pytest

from tests.support.core.driver import Found, Handle, Mode, Outcome
from tests.support.core.talk import Talk

FETCHED, READS_LOW, READS_HIGH = 256, 512, 8192


def marks(store: Handle, key: bytes = b"k") -> tuple[bool, int]:
    """Whether the item was fetched, and how many reads it has to its credit."""
    item = store.look(key)
    assert isinstance(item, Found)
    reads = (1 if item.state & READS_LOW else 0) + (2 if item.state & READS_HIGH else 0)
    return bool(item.state & FETCHED), reads


def test_nothing_has_been_read_at_first(store: Handle) -> None:
    store.put(b"k", b"1")
    assert marks(store) == (False, 0)
    assert marks(store) == (True, 1)


@pytest.mark.parametrize("had_expiry", [0, 500])
@pytest.mark.parametrize("gets_expiry", [0, 300])
@pytest.mark.parametrize("how", [b"touch", b"gat", b"gats", b"mg"])
def test_a_touch_is_a_read(store: Handle, had_expiry: int, gets_expiry: int, how: bytes) -> None:
    store.put(b"k", b"1", expiry_seconds=had_expiry)
    store.set_now(200)
    talk = Talk(store)
    seconds = max(gets_expiry - 200, 0)
    line = {
        b"touch": b"touch k %d",
        b"gat": b"gat %d k",
        b"gats": b"gats %d k",
        b"mg": b"mg k T%d",
    }[how]
    talk.feed(line % seconds + b"\r\n")
    item = store.look(b"k")
    assert isinstance(item, Found)
    assert (item.expiry_seconds, item.time_seconds) == (gets_expiry, 200)
    assert item.state & FETCHED and item.state & READS_LOW


def test_use_without_reading_spares_and_is_not_told_as_read(store: Handle) -> None:
    store.put(b"k", b"1")
    store.arith(b"k", 1)
    assert store.put(b"k", b"2", mode=Mode.ADD).outcome == Outcome.NOT_STORED
    assert marks(store) == (False, 2)


def test_mg_with_u_is_no_read(store: Handle) -> None:
    store.put(b"k", b"1")
    Talk(store).feed(b"mg k T100 u\r\n")
    assert marks(store) == (False, 0)
