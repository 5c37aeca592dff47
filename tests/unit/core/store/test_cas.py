"""Compare and set: unique rising numbers, foreign numbers, stale values."""

import pytest

from tests.support.core.driver import Found, Handle, Mode, Outcome

STALE = 64
TOKEN_SENT = 128
NARROW_MAX = (1 << 48) - 1


def found(store: Handle, key: bytes) -> Found:
    item = store.look(key)
    assert isinstance(item, Found), item
    return item


def test_numbers_are_unique_and_rise(store: Handle, other: Handle) -> None:
    numbers = [handle.put(b"k", b"v").cas for _ in range(50) for handle in (store, other)]
    assert numbers == sorted(set(numbers))


def test_compare(store: Handle) -> None:
    cas = store.put(b"k", b"1").cas
    assert store.put(b"k", b"2", cas_compare=cas + 1).outcome == Outcome.EXISTS
    assert store.put(b"k", b"2", cas_compare=cas).outcome == Outcome.STORED
    assert store.put(b"k", b"3", cas_compare=cas).outcome == Outcome.EXISTS
    assert store.get(b"k") == b"2"


def test_compare_with_a_missing_key(store: Handle) -> None:
    assert store.put(b"k", b"1", cas_compare=5).outcome == Outcome.NOT_FOUND
    assert store.counters()["cas_misses"] == 1
    assert store.get(b"k") is None


def test_zero_never_fits(store: Handle) -> None:
    store.put(b"k", b"1")
    assert store.put(b"k", b"2", cas_compare=0).outcome == Outcome.EXISTS


@pytest.mark.parametrize("mode", [Mode.SET, Mode.REPLACE])
def test_compare_in_other_modes(store: Handle, mode: Mode) -> None:
    cas = store.put(b"k", b"1").cas
    assert store.put(b"k", b"2", mode=mode, cas_compare=cas + 9).outcome == Outcome.EXISTS
    assert store.put(b"k", b"2", mode=mode, cas_compare=cas).outcome == Outcome.STORED


@pytest.mark.parametrize("mode", [Mode.APPEND, Mode.PREPEND])
def test_compare_when_joining(store: Handle, mode: Mode) -> None:
    cas = store.put(b"k", b"1").cas
    assert store.put(b"k", b"2", mode=mode, cas_compare=cas + 9).outcome == Outcome.EXISTS
    assert store.put(b"k", b"2", mode=mode, cas_compare=cas).outcome == Outcome.STORED
    assert store.get(b"k") in (b"12", b"21")


@pytest.mark.parametrize("number", [1, NARROW_MAX, NARROW_MAX + 1, (1 << 64) - 1])
def test_foreign_numbers(store: Handle, number: int) -> None:
    assert store.put(b"k", b"v", cas_new=number).cas == number
    item = found(store, b"k")
    assert (item.cas, item.value) == (number, b"v")
    assert store.put(b"k", b"w", cas_compare=number).outcome == Outcome.STORED
    assert found(store, b"k").cas < 1000


@pytest.mark.parametrize("number", [77, NARROW_MAX + 5])
def test_foreign_numbers_of_other_operations(store: Handle, number: int) -> None:
    store.put(b"n", b"5")
    assert store.arith(b"n", 1, cas_new=number).cas == number
    assert found(store, b"n").cas == number
    assert store.get(b"n") == b"6"
    store.put(b"k", b"v")
    store.delete(b"k", mark_stale=True, clear_value=True, cas_new=number)
    assert found(store, b"k").cas == number
    store.put(b"a", b"v")
    assert store.put(b"a", b"w", mode=Mode.APPEND, cas_new=number).cas == number
    assert found(store, b"a").value == b"vw"


def test_an_older_number_stores_a_stale_value_when_asked(store: Handle) -> None:
    old = store.put(b"k", b"1", expiry_seconds=300).cas
    new = store.put(b"k", b"2", expiry_seconds=300).cas
    late = store.put(b"k", b"late", cas_compare=old, invalidate=True, expiry_seconds=900)
    assert late.outcome == Outcome.STORED
    item = found(store, b"k")
    assert item.value == b"late"
    assert item.state & STALE
    assert item.expiry_seconds == 300
    assert item.cas > new


def test_a_newer_number_never_does(store: Handle) -> None:
    cas = store.put(b"k", b"1").cas
    late = store.put(b"k", b"x", cas_compare=cas + 1, invalidate=True)
    assert late.outcome == Outcome.EXISTS


def test_a_fitting_number_stores_a_fresh_value(store: Handle) -> None:
    cas = store.put(b"k", b"1").cas
    store.put(b"k", b"2", cas_compare=cas, invalidate=True)
    item = found(store, b"k")
    assert not item.state & STALE
    assert item.expiry_seconds == 0
