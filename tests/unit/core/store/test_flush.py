"""flush_all: what was stored before it is gone, what comes after stays, in the same second too."""

from typing import Any

import pytest

from pymc.core.ffi import ffi
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Found, Handle, Mode, Outcome


def shown(store: Handle) -> dict[str, int]:
    """What `stats` shows of items and bytes, and that it is what store_check() counts."""
    store.check()
    counters = store.counters()
    return {
        "items": counters["items"] - counters["flushed_items"],
        "item_bytes": counters["item_bytes"] - counters["flushed_item_bytes"],
    }


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


@pytest.mark.parametrize("cas_new", [None, 1, (1 << 64) - 1])
@pytest.mark.parametrize("cas_enabled", [0, 1])
def test_a_burst_of_flushes_within_one_second(
    cas_enabled: int, cas_new: int | None, cache: Cache, store: Handle, other: Handle
) -> None:
    cache.set_live("cas_enabled", cas_enabled)
    for number in range(200):
        key = b"%d" % (number % 7)
        other.put(key, b"before", cas_new=cas_new)
        store.flush_all()
        assert store.look(key) == other.look(key) == Outcome.MISS_FLUSHED
        store.put(key, b"after", cas_new=cas_new)
        assert other.get(key) == b"after"
    assert shown(store)["items"] == 1


@pytest.mark.parametrize("cas_new", [None, 5])
@pytest.mark.parametrize("cas_enabled", [0, 1])
def test_a_delayed_flush_after_a_burst(
    cas_enabled: int, cas_new: int | None, cache: Cache, store: Handle
) -> None:
    cache.set_live("cas_enabled", cas_enabled)
    for _ in range(100):
        store.flush_all()
    store.flush_all(110)
    store.put(b"k", b"v", cas_new=cas_new)
    store.set_now(108)
    store.turn()
    assert store.get(b"k") == b"v"
    store.set_now(109)
    store.turn()
    assert store.look(b"k") == Outcome.MISS_FLUSHED
    store.put(b"k", b"new", cas_new=cas_new)
    store.set_now(111)
    store.turn()
    assert store.get(b"k") == b"new"


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


def test_counts_are_right_at_once_and_stay_right(store: Handle, other: Handle) -> None:
    for number in range(100):
        (store, other)[number % 2].put(b"%d" % number, b"0123456789")
    store.flush_all()
    assert shown(store) == {"items": 0, "item_bytes": 0}
    for number in range(10):
        other.put(b"%d" % number, b"0123456789")
    assert shown(store)["items"] == 10
    for number in range(5):
        assert store.delete(b"%d" % number) == Outcome.DELETED
    # Of the flushed, some are met by look-ups, the others by the crawl.
    for number in range(20, 30):
        assert other.look(b"%d" % number) == Outcome.MISS_FLUSHED
        other.put(b"%d" % number, b"")
        store.delete(b"%d" % number)
    assert shown(other)["items"] == 5
    assert store.counters()["items"] > 5
    other.crawl()
    assert shown(other) == {"items": 5, "item_bytes": 5 * (16 + 1 + 10)}
    assert store.counters()["flushed_items"] == 0
    store.flush_all()
    assert shown(store) == {"items": 0, "item_bytes": 0}


def test_classes_count_what_is_not_flushed(store: Handle) -> None:
    for number in range(100):
        store.put(b"%d" % number, b"x" * 60, expiry_seconds=10_000 if number % 2 else 0)
    store.flush_all()
    store.put(b"1", b"x" * 60)
    store.put(b"2", b"x" * 60)
    classes = [store.class_counters(class_id) for class_id in range(1, store.slab().classes + 1)]
    for name in ("items", "item_bytes"):
        live = sum(one[name] - one[f"flushed_{name}"] for one in classes)
        assert live == shown(store)[name], name


def test_flushed_items_are_reclaimed_and_not_evicted() -> None:
    with Cache(limit_bytes=3 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        store.set_now(100)
        stored = 0
        while store.counters()["evictions"] == 0:
            store.put(b"%d" % stored, b"x" * 200)
            stored += 1
        evictions = store.counters()["evictions"]
        store.flush_all()
        for number in range(stored // 2):
            store.put(b"more %d" % number, b"x" * 200)
        assert store.counters()["evictions"] == evictions
        assert shown(store)["items"] == stored // 2


def test_a_written_item_keeps_its_own_number_and_is_flushed(store: Handle) -> None:
    store.put(b"n", b"5", cas_new=1 << 60)
    assert store.arith(b"n").cas < 1 << 48
    store.put(b"k", b"v", cas_new=1 << 60)
    store.delete(b"k", clear_value=True)
    found = store.look(b"k")
    assert isinstance(found, Found) and found.cas == 1 << 60
    store.flush_all()
    assert store.look(b"k") == store.look(b"n") == Outcome.MISS_FLUSHED


def order_number(cache: Cache, store: Handle) -> Any:
    """The last order number given, in the arena: it is the CAS number of the last item."""
    words = ffi.cast("uint64_t **", cache.arena)[0]
    places = []
    for _ in range(2):
        last = store.put(b"probe", b"").cas
        places.append({at for at in range(512) if words[at] == last})
    (place,) = places[0] & places[1]
    return words + place


def test_order_numbers_go_round(cache: Cache, store: Handle, other: Handle) -> None:
    order = order_number(cache, store)
    for _ in range(5):
        # A way this long since the last flush is ended by one.
        order[0] += (1 << 47) - (1 << 40)
        assert store.get(b"probe") == b""
        store.turn()
        assert store.get(b"probe") is None
        for number in range(8):
            store.put(b"%d" % number, b"v")
        store.put(b"probe", b"")
        assert shown(store)["items"] == 9
        assert all(other.get(b"%d" % number) == b"v" for number in range(8))
        store.flush_all()
        assert all(other.get(b"%d" % number) is None for number in range(8))
        store.put(b"probe", b"")
        other.crawl()
        assert shown(store)["items"] == 1
