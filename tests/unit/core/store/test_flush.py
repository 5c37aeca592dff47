"""flush_all: what was stored before it is gone, what comes after stays, in the same second too."""

import pytest

from tests.unit.core.driver import Handle, Mode, Outcome


def test_before_and_after_in_one_second(store: Handle) -> None:
    for _ in range(5):
        store.put(b"k", b"before")
        store.flush_all()
        assert store.look(b"k") == Outcome.MISS_FLUSHED
        store.put(b"k", b"after")
        assert store.get(b"k") == b"after"


@pytest.mark.parametrize("behind_seconds", [-1, 0, 1])
def test_clocks_of_processes_may_differ(store: Handle, other: Handle, behind_seconds: int) -> None:
    store.put(b"old", b"v")
    other.set_now(100 - behind_seconds)
    other.put(b"old too", b"v")
    store.flush_all()
    assert store.look(b"old") == other.look(b"old") == Outcome.MISS_FLUSHED
    assert store.get(b"old too") is None
    other.put(b"new", b"v")
    assert store.get(b"new") == other.get(b"new") == b"v"


def test_a_look_does_not_save_an_item_from_a_flush(store: Handle, other: Handle) -> None:
    store.put(b"k", b"v")
    other.set_now(101)
    assert other.get(b"k") == b"v"
    store.flush_all()
    assert other.get(b"k") is None
    assert store.get(b"k") is None


def test_items_with_foreign_cas_numbers(store: Handle) -> None:
    for _ in range(5):
        store.put(b"k", b"before", cas_new=1 << 40)
        store.flush_all()
        assert store.look(b"k") == Outcome.MISS_FLUSHED
        store.put(b"k", b"after", cas_new=1)
        assert store.get(b"k") == b"after"


def test_flushes_without_end_leave_stamps_in_reach(store: Handle) -> None:
    for _ in range(1000):
        store.flush_all()
    store.put(b"k", b"v", cas_new=5)
    assert store.get(b"k") == b"v"
    store.set_now(300)
    store.flush_all()
    assert store.get(b"k") is None


def test_later(store: Handle) -> None:
    store.put(b"old", b"v")
    store.flush_all(110)
    store.set_now(105)
    store.turn()
    assert store.get(b"old") == b"v"
    store.put(b"older than the flush", b"v")
    store.set_now(110)
    store.turn()
    assert store.get(b"old") is None
    assert store.get(b"older than the flush") is None
    store.put(b"new", b"v")
    assert store.get(b"new") == b"v"
    store.set_now(200)
    store.turn()
    assert store.get(b"new") == b"v"


def test_a_flush_at_once_replaces_one_that_waits(store: Handle) -> None:
    store.flush_all(110)
    store.flush_all()
    store.put(b"k", b"v")
    store.set_now(120)
    store.turn()
    assert store.get(b"k") == b"v"


def test_no_operation_brings_a_flushed_item_back(store: Handle) -> None:
    store.put(b"k", b"5", expiry_seconds=500)
    store.flush_all()
    assert store.touch(b"k", 900) == Outcome.NOT_FOUND
    store.put(b"k", b"5")
    store.flush_all()
    assert store.arith(b"k").outcome == Outcome.NOT_FOUND
    store.put(b"k", b"5")
    store.flush_all()
    assert store.put(b"k", b"5", mode=Mode.APPEND).outcome == Outcome.NOT_STORED
    store.put(b"k", b"5")
    store.flush_all()
    assert store.put(b"k", b"5", mode=Mode.REPLACE).outcome == Outcome.NOT_STORED
    assert store.delete(b"k") == Outcome.NOT_FOUND


def test_a_value_that_becomes_whole_after_the_flush_stays(store: Handle) -> None:
    making = store.begin(b"k", 9)
    store.flush_all()
    making.fill_all(b"123456789")
    assert making.commit().outcome == Outcome.STORED
    assert store.get(b"k") == b"123456789"


def test_the_crawl_frees_the_flushed(store: Handle) -> None:
    for i in range(100):
        store.put(b"%d" % i, b"v")
    store.flush_all()
    store.put(b"new", b"v")
    assert store.crawl() == 100
    assert store.counters()["items"] == 1
