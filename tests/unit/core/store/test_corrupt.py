"""Items that say of themselves what cannot be: dropped and counted, and nobody looks for ever."""

from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle, Mode, Outcome
from tests.support.core.talk import Talk


@pytest.fixture
def store() -> Iterator[Handle]:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        yield cache.open()


def _damage(store: Handle, key: bytes, value_bytes: int, parts: int = 0) -> None:
    assert lib.link_damage(store.store, key, len(key), value_bytes, parts)


LINES = [
    (b"get k\r\n", b"END\r\n"),
    (b"gat 10 k\r\n", b"END\r\n"),
    (b"mg k v\r\n", b"EN\r\n"),
    (b"me k\r\n", b"EN\r\n"),
    (b"delete k\r\n", b"NOT_FOUND\r\n"),
    (b"incr k 1\r\n", b"NOT_FOUND\r\n"),
    (b"touch k 0\r\n", b"NOT_FOUND\r\n"),
    (b"append k 0 0 1\r\nx\r\n", b"NOT_STORED\r\n"),
    (b"ma k N0 J3 v\r\n", b"VA 1\r\n3\r\n"),
]


@pytest.mark.parametrize(("line", "answer"), LINES)
@pytest.mark.parametrize("damage", [(b"7", 5000, 0), (b"v" * 900_000, 900_000, 3_000_000)])
def test_a_reader_ends(
    damage: tuple[bytes, int, int], line: bytes, answer: bytes, store: Handle
) -> None:
    value, value_bytes, parts = damage
    talk = Talk(store)
    store.put(b"k", value)
    store.put(b"other", b"1")
    items = store.counters()["items"]
    _damage(store, b"k", value_bytes, parts)
    assert talk.ask(line) == answer
    counters = store.counters()
    assert counters["corrupt_items"] == 1
    assert counters["items"] == items - (0 if line.startswith(b"ma") else 1)
    # The key is as good as new, and the others are there.
    assert talk.ask(b"set k 0 0 1\r\n9\r\nget k other\r\n") == (
        b"STORED\r\nVALUE k 0 1\r\n9\r\nVALUE other 0 1\r\n1\r\nEND\r\n"
    )
    assert store.counters()["corrupt_items"] == 1


def test_parts_that_are_none(store: Handle) -> None:
    """The number of parts fits into the chunk and does not fit the value."""
    store.put(b"k", b"v" * 900_000)
    _damage(store, b"k", 900_000, 1)
    assert store.get(b"k") is None
    assert store.counters()["corrupt_items"] == 1


def test_the_chunk_is_used_again(store: Handle) -> None:
    class_id = store.class_for(48)
    store.put(b"k", b"7")
    free = store.slab_class(class_id).free_chunks
    _damage(store, b"k", 5000)
    assert store.look(b"k") == Outcome.MISS
    assert store.put(b"k", b"8", mode=Mode.ADD).outcome == Outcome.STORED
    assert store.slab_class(class_id).free_chunks == free
