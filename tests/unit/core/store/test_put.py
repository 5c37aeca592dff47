"""Storing: the modes, flags and expiry fields, keys and values of every size."""

import pytest

from tests.support.core.driver import LADDER, Cache, Found, Handle, Mode, Outcome


def found(store: Handle, key: bytes) -> Found:
    item = store.look(key)
    assert isinstance(item, Found), item
    return item


def test_a_value_comes_back_with_all_that_was_stored(store: Handle) -> None:
    stored = store.put(b"key", b"value", flags=7, expiry_seconds=500)
    assert stored.outcome == Outcome.STORED
    item = found(store, b"key")
    assert (item.value, item.flags, item.expiry_seconds) == (b"value", 7, 500)
    assert item.cas == stored.cas > 0
    assert item.time_seconds == 100


def test_a_miss(store: Handle) -> None:
    assert store.look(b"nothing") == Outcome.MISS


@pytest.mark.parametrize("flags", [0, 1, 0xFFFFFFFF])
@pytest.mark.parametrize("expiry_seconds", [0, 101, 0xFFFFFFFF])
def test_optional_fields(store: Handle, flags: int, expiry_seconds: int) -> None:
    store.put(b"k", b"v", flags=flags, expiry_seconds=expiry_seconds)
    item = found(store, b"k")
    assert (item.value, item.flags, item.expiry_seconds) == (b"v", flags, expiry_seconds)


@pytest.mark.parametrize("key_bytes", [1, 2, 249, 250])
@pytest.mark.parametrize("value_bytes", [0, 1, 8192, 16384, 16385, 100_000])
def test_sizes(store: Handle, key_bytes: int, value_bytes: int) -> None:
    key = b"k" * key_bytes
    value = bytes(i % 251 for i in range(value_bytes))
    assert store.put(key, value).value_bytes == value_bytes
    assert store.get(key) == value


def test_every_size_around_each_class(store: Handle) -> None:
    for chunk_bytes in LADDER:
        for value_bytes in range(max(0, chunk_bytes - 40), chunk_bytes + 3):
            value = b"%d" % value_bytes * (value_bytes // 2 + 1)
            store.put(b"k", value[:value_bytes], flags=value_bytes % 2)
            assert store.get(b"k") == value[:value_bytes]


@pytest.mark.parametrize(
    ("mode", "when_missing", "when_there"),
    [
        (Mode.SET, Outcome.STORED, Outcome.STORED),
        (Mode.ADD, Outcome.STORED, Outcome.NOT_STORED),
        (Mode.REPLACE, Outcome.NOT_STORED, Outcome.STORED),
        (Mode.APPEND, Outcome.NOT_STORED, Outcome.STORED),
        (Mode.PREPEND, Outcome.NOT_STORED, Outcome.STORED),
    ],
)
def test_modes(store: Handle, mode: Mode, when_missing: Outcome, when_there: Outcome) -> None:
    assert store.put(b"new", b"1", mode=mode).outcome == when_missing
    assert (store.get(b"new") is not None) == (when_missing == Outcome.STORED)
    store.put(b"old", b"0")
    assert store.put(b"old", b"1", mode=mode).outcome == when_there
    wanted = {Mode.ADD: b"0", Mode.APPEND: b"01", Mode.PREPEND: b"10"}.get(mode, b"1")
    assert store.get(b"old") == wanted


def test_a_dead_item_counts_as_missing(store: Handle) -> None:
    store.put(b"k", b"old", expiry_seconds=101)
    store.set_now(101)
    assert store.put(b"k", b"x", mode=Mode.REPLACE).outcome == Outcome.NOT_STORED
    assert store.put(b"k", b"x", mode=Mode.APPEND).outcome == Outcome.NOT_STORED
    assert store.put(b"k", b"new", mode=Mode.ADD).outcome == Outcome.STORED
    assert store.get(b"k") == b"new"


def test_add_to_an_item_counts_as_a_use(store: Handle) -> None:
    store.put(b"k", b"v")
    before = found(store, b"k").state
    store.put(b"k", b"w", mode=Mode.ADD)
    assert found(store, b"k").state >= before


def test_too_large(store: Handle) -> None:
    store.cache.set_live("item_bytes_max", 1024)
    store.put(b"k", b"small")
    assert store.put(b"k", b"x" * 2000, mode=Mode.ADD).outcome == Outcome.TOO_LARGE
    assert store.get(b"k") == b"small"
    assert store.put(b"k", b"x" * 2000).outcome == Outcome.TOO_LARGE
    assert store.get(b"k") is None
    assert store.counters()["store_too_large"] == 2


def test_a_value_can_be_replaced_many_times_without_using_memory(store: Handle) -> None:
    for i in range(3000):
        store.put(b"k", b"%d" % i * 20)
    assert store.slab().pages_used <= 4
    assert store.counters()["items"] == 1


def test_keys_of_any_bytes(store: Handle) -> None:
    keys = [bytes([i]) for i in range(256)] + [b"\0" * 250, b"a\0b", b"a b\r\n"]
    for key in keys:
        store.put(key, b"=" + key)
    assert all(store.get(key) == b"=" + key for key in keys)


def test_two_slots_see_one_cache(store: Handle, other: Handle) -> None:
    store.put(b"k", b"1")
    assert other.get(b"k") == b"1"
    other.put(b"k", b"2")
    assert store.get(b"k") == b"2"
    other.delete(b"k")
    assert store.look(b"k") == Outcome.MISS


def test_counts(store: Handle) -> None:
    for i in range(10):
        store.put(b"%d" % i, b"x" * 10)
    store.put(b"0", b"x" * 20)
    counters = store.counters()
    assert (counters["items"], counters["total_items"]) == (10, 11)
    assert counters["item_bytes"] == 10 * (16 + 1 + 10) + 10
    classes = [store.class_counters(i) for i in range(1, store.slab().classes + 1)]
    assert sum(c["items"] for c in classes) == 10
    assert sum(c["cmd_set"] for c in classes) == 11


def test_without_cas_numbers() -> None:
    with Cache(live={"cas_enabled": 0}) as cache:
        store = cache.open()
        assert store.put(b"k", b"v").cas == 0
        assert store.get(b"k") == b"v"
