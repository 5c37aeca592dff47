"""Deleting: plain, compared, stale marks and tombstones."""

from tests.support.core.driver import Found, Handle, Outcome

STALE = 64
TOKEN_SENT = 128


def found(store: Handle, key: bytes) -> Found:
    item = store.look(key)
    assert isinstance(item, Found), item
    return item


def test_delete(store: Handle) -> None:
    store.put(b"k", b"v")
    assert store.delete(b"k") == Outcome.DELETED
    assert store.delete(b"k") == Outcome.NOT_FOUND
    assert store.look(b"k") == Outcome.MISS
    assert store.counters()["delete_misses"] == 1


def test_a_dead_item_is_not_found_and_freed(store: Handle) -> None:
    store.put(b"k", b"v", expiry_seconds=101)
    store.set_now(101)
    assert store.delete(b"k") == Outcome.NOT_FOUND
    assert store.counters()["items"] == 0


def test_compare(store: Handle) -> None:
    cas = store.put(b"k", b"v").cas
    assert store.delete(b"k", cas_compare=cas + 1) == Outcome.EXISTS
    assert store.get(b"k") == b"v"
    assert store.delete(b"k", cas_compare=cas) == Outcome.DELETED


def test_mark_stale_keeps_the_value_and_changes_the_number(store: Handle) -> None:
    cas = store.put(b"k", b"v", flags=3, token_sent=True).cas
    assert store.delete(b"k", mark_stale=True) == Outcome.DELETED
    item = found(store, b"k")
    assert (item.value, item.flags) == (b"v", 3)
    assert item.state & STALE
    assert not item.state & TOKEN_SENT
    assert item.cas > cas


def test_mark_stale_with_a_lifetime(store: Handle) -> None:
    for expiry_seconds in (0, 500):
        store.put(b"k", b"v", expiry_seconds=expiry_seconds)
        assert store.delete(b"k", mark_stale=True, expiry_seconds=130) == Outcome.DELETED
        item = found(store, b"k")
        assert item.state & STALE
        assert item.expiry_seconds == 130


def test_mark_stale_of_a_large_value(parted: Handle) -> None:
    parted.put(b"k", b"x" * 5000)
    assert parted.delete(b"k", mark_stale=True, expiry_seconds=130) == Outcome.DELETED
    item = found(parted, b"k")
    assert (item.value, item.expiry_seconds) == (b"x" * 5000, 130)
    assert item.state & STALE


def test_a_tombstone(store: Handle) -> None:
    store.put(b"k", b"value", flags=9, expiry_seconds=500)
    assert store.delete(b"k", clear_value=True) == Outcome.DELETED
    item = found(store, b"k")
    assert (item.value, item.flags, item.expiry_seconds) == (b"", 0, 0)
    assert store.delete(b"k", clear_value=True, mark_stale=True, client_flags=7) == Outcome.DELETED
    item = found(store, b"k")
    assert (item.value, item.flags) == (b"", 7)
    assert item.state & STALE


def test_a_tombstone_of_a_large_value_gives_its_memory_back(parted: Handle) -> None:
    parted.put(b"k", b"x" * 50_000)
    assert parted.delete(b"k", clear_value=True, expiry_seconds=130) == Outcome.DELETED
    assert found(parted, b"k").expiry_seconds == 130
    assert parted.counters()["item_bytes"] < 50


def test_forget(store: Handle) -> None:
    store.put(b"k", b"v")
    assert store.forget(b"k")
    assert not store.forget(b"k")
