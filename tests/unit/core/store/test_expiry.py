"""Expiry: lazy at look-ups, swept by the crawl, changed by touch."""

from tests.support.core.driver import Found, Handle, Outcome


def expiry(store: Handle, key: bytes) -> int:
    item = store.look(key)
    assert isinstance(item, Found), item
    return item.expiry_seconds


def test_an_item_lives_until_its_second(store: Handle) -> None:
    store.put(b"k", b"v", expiry_seconds=110)
    store.set_now(109)
    assert store.get(b"k") == b"v"
    store.set_now(110)
    assert store.look(b"k") == Outcome.MISS_EXPIRED


def test_at_once(store: Handle) -> None:
    assert store.put(b"k", b"v", expiry_seconds=1).outcome == Outcome.STORED
    assert store.look(b"k") == Outcome.MISS_EXPIRED


def test_the_crawl_frees_the_expired(store: Handle) -> None:
    for i in range(100):
        store.put(b"%d" % i, b"v", expiry_seconds=110 if i % 2 else 0)
    assert store.crawl() == 0
    store.set_now(110)
    assert store.crawl(chunks=7) == 50
    assert store.counters()["items"] == 50
    counters = [store.class_counters(i) for i in range(1, store.slab().classes + 1)]
    assert sum(c["crawler_reclaimed"] for c in counters) == 50
    assert sum(c["expired_unfetched"] for c in counters) == 50


def test_touch_sets_and_removes_a_lifetime(store: Handle) -> None:
    store.put(b"k", b"v", expiry_seconds=200)
    assert store.touch(b"k", 300) == Outcome.TOUCHED
    assert expiry(store, b"k") == 300
    assert store.touch(b"k", 0) == Outcome.TOUCHED
    assert expiry(store, b"k") == 0
    store.set_now(1000)
    assert store.get(b"k") == b"v"


def test_touch_adds_the_field_where_there_was_none(store: Handle) -> None:
    cas = store.put(b"k", b"value", flags=9).cas
    assert store.touch(b"k", 150) == Outcome.TOUCHED
    item = store.look(b"k")
    assert isinstance(item, Found)
    assert (item.value, item.flags, item.expiry_seconds, item.cas) == (b"value", 9, 150, cas)
    store.set_now(150)
    assert store.look(b"k") == Outcome.MISS_EXPIRED


def test_touch_adds_the_field_to_values_of_every_size(store: Handle) -> None:
    largest = store.slab_class(store.slab().classes).chunk_bytes
    sizes = [0, 16, 28, 29, 30, 31, 32, 40, 4000, 16384]
    sizes += [largest - 16 - 1 - less for less in range(20)]
    for value_bytes in sizes:
        store.put(b"k", b"x" * value_bytes)
        assert store.touch(b"k", 500) == Outcome.TOUCHED
        assert expiry(store, b"k") == 500
        assert store.get(b"k") == b"x" * value_bytes


def test_touch_of_nothing(store: Handle) -> None:
    assert store.touch(b"k", 300) == Outcome.NOT_FOUND
    store.put(b"k", b"v", expiry_seconds=101)
    store.set_now(101)
    assert store.touch(b"k", 300) == Outcome.NOT_FOUND
    assert store.counters()["touch_misses"] == 2
    assert store.counters()["items"] == 0


def test_touch_to_the_past(store: Handle) -> None:
    store.put(b"k", b"v")
    assert store.touch(b"k", 1) == Outcome.TOUCHED
    assert store.look(b"k") == Outcome.MISS_EXPIRED
