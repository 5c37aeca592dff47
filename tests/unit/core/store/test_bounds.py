"""Loops that look again while somebody changes the bucket between look and act: each has an end.

The interferer runs in debug builds, after each look of an operation and before it acts on that.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.support.core.driver import LADDER, MIB, Cache, Found, Handle, Mode, Outcome
from tests.support.core.interferer import Interferer
from tests.support.core.talk import Talk

pytestmark = pytest.mark.debug


@pytest.fixture
def cache() -> Iterator[Cache]:
    # One bucket: everything is everybody's neighbour.
    with Cache(limit_bytes=16 * MIB, chunk_bytes=LADDER, bucket_start=1) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> Handle:
    store = cache.open(0)
    store.waits_for_buckets = False
    store.put(b"k", b"7")
    return store


@pytest.fixture
def interferer(cache: Cache, store: Handle) -> Interferer:
    interferer = Interferer(cache, store)
    assert store.index().buckets == 1
    return interferer


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (lambda store: store.get(b"k"), b"7"),
        (lambda store: store.delete(b"k"), Outcome.DELETED),
        (lambda store: store.delete(b"k", cas_compare=99), Outcome.EXISTS),
        (lambda store: store.delete(b"k", clear_value=True), Outcome.DELETED),
        (lambda store: store.delete(b"k", mark_stale=True), Outcome.DELETED),
        (lambda store: store.delete(b"k", mark_stale=True, cas_new=5), Outcome.DELETED),
        (lambda store: store.arith(b"k", 1).value, 8),
        (lambda store: store.arith(b"k", 100).value, 107),
        (lambda store: store.touch(b"k", 0), Outcome.TOUCHED),
        (lambda store: store.touch(b"k", 100), Outcome.TOUCHED),
        (lambda store: store.put(b"k", b"8", mode=Mode.APPEND).outcome, Outcome.STORED),
        (lambda store: store.put(b"k", b"8").outcome, Outcome.STORED),
        (lambda store: store.get(b"none"), None),
        (lambda store: store.delete(b"none"), Outcome.NOT_FOUND),
    ],
)
def test_a_changing_bucket_keeps_nobody(
    operation: Callable[[Handle], object], answer: object, store: Handle, interferer: Interferer
) -> None:
    before = store.counters()
    assert operation(store) == answer
    # Few optimistic looks, at most one under the lock.
    assert interferer.calls <= 7
    after = store.counters()
    assert after["optimistic_locked"] - before["optimistic_locked"] <= 1
    interferer.stop()
    store.check()


def test_looks_without_a_lock_are_few(store: Handle, interferer: Interferer) -> None:
    assert store.get(b"k") == b"7"
    counters = store.counters()
    assert counters["optimistic_retries"] == 4 and counters["optimistic_locked"] == 1


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"get k\r\n", b"VALUE k 0 1\r\n7\r\nEND\r\n"),
        (b"gat 0 k\r\n", b"VALUE k 0 1\r\n7\r\nEND\r\n"),
        (b"gat 50 k\r\n", b"VALUE k 0 1\r\n7\r\nEND\r\n"),
        (b"mg k v\r\n", b"VA 1\r\n7\r\n"),
        (b"mg k T100 v t\r\n", b"VA 1 t100\r\n7\r\n"),
        (b"mg k\r\nmg k v h\r\n", b"HD\r\nVA 1 h1\r\n7\r\n"),
        (b"me none\r\n", b"EN\r\n"),
        (b"mg none N30 v\r\n", b"VA 0 W\r\n\r\n"),
        (b"ma k\r\nma k v\r\n", b"HD\r\nVA 1\r\n9\r\n"),
        (b"md k I T30\r\nmg k v\r\n", b"HD\r\nVA 1 X W\r\n7\r\n"),
        (b"touch k 30\r\nmg k t\r\n", b"TOUCHED\r\nHD t30\r\n"),
    ],
)
def test_commands_end(line: bytes, answer: bytes, store: Handle, interferer: Interferer) -> None:
    talk = Talk(store)
    talk.waits_for_buckets = False
    assert talk.ask(line) == answer
    interferer.stop()
    store.check()


def test_a_large_value_is_read_under_the_lock(store: Handle, interferer: Interferer) -> None:
    value = b"v" * 900_000
    interferer.action = lambda: None
    store.put(b"k", value)
    interferer.action = interferer.touch_neighbour
    talk = Talk(store)
    is_equal = talk.ask(b"get k\r\n") == b"VALUE k 0 900000\r\n" + value + b"\r\nEND\r\n"
    assert is_equal
    interferer.stop()
    store.check()


def test_a_key_that_is_always_another_one_is_put_off(store: Handle, interferer: Interferer) -> None:
    """What needs memory cannot be done under the lock: it ends all the same, without a trace."""
    interferer.action = lambda: interferer.other.put(b"k", b"7")
    before = store.counters()
    assert store.arith(b"k", 100).outcome == Outcome.BUSY
    assert interferer.calls == 4 + 28 * 2
    assert store.touch(b"k", 100) == Outcome.BUSY
    after = store.counters()
    for name in ("store_no_memory", "touch_misses", "incr_misses"):
        assert after[name] == before[name]
    interferer.stop()
    assert store.arith(b"k", 100).value == 107
    assert store.touch(b"k", 100) == Outcome.TOUCHED
    found = store.look(b"k")
    assert isinstance(found, Found) and found.value == b"107"
    store.check()


def test_a_touch_between_is_not_undone(store: Handle, interferer: Interferer) -> None:
    """The new expiry came after the look and before the longer number took the item's place."""
    store.put(b"k", b"7", expiry_seconds=50)
    interferer.action = lambda: interferer.other.touch(b"k", 90)
    assert store.arith(b"k", 100).value == 107
    found = store.look(b"k")
    assert isinstance(found, Found) and found.expiry_seconds == 90
    interferer.stop()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_delete_decides_under_the_lock(
    store: Handle, interferer: Interferer, is_there: bool
) -> None:
    """The number was right when it looked; by the time it has the lock it is another, or none."""
    interferer.action = lambda: None
    cas = store.put(b"k", b"7").cas
    before = store.counters()["delete_misses"]

    def change() -> None:
        interferer.action = lambda: None
        if is_there:
            interferer.other.put(b"k", b"8")
        else:
            interferer.other.delete(b"k")

    interferer.action = change
    answer = store.delete(b"k", cas_compare=cas)
    assert answer == (Outcome.EXISTS if is_there else Outcome.NOT_FOUND)
    interferer.stop()
    # Another number is a miss only for those who say so (mismatch_is_miss).
    assert store.counters()["delete_misses"] == before + int(not is_there)
    assert store.get(b"k") == (b"8" if is_there else None)
    store.check()
