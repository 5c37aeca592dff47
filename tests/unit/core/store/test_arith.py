"""incr and decr: 64 bits, in place where the digits fit, with blanks behind shorter ones."""

import pytest

from tests.support.core.driver import Found, Handle, Outcome

MOST = (1 << 64) - 1


def test_up_and_down(store: Handle) -> None:
    store.put(b"n", b"10")
    assert store.arith(b"n", 5).value == 15
    assert store.arith(b"n", 3, decrement=True).value == 12
    assert store.get(b"n") == b"12"


@pytest.mark.parametrize(
    ("start", "delta", "decrement", "value", "text"),
    [
        (b"0", 0, False, 0, b"0"),
        (b"9", 1, False, 10, b"10"),
        (b"99", 1, False, 100, b"100"),
        (b"100", 1, True, 99, b"99 "),
        (b"100", 100, True, 0, b"0  "),
        (b"5", 6, True, 0, b"0"),
        (b"%d" % MOST, 1, False, 0, b"0" + b" " * 19),
        (b"%d" % MOST, MOST, False, MOST - 1, b"%d" % (MOST - 1)),
        (b"0", MOST, False, MOST, b"%d" % MOST),
        (b"00007", 1, False, 8, b"8    "),
        (b"7  ", 1, False, 8, b"8  "),
    ],
)
def test_values(
    store: Handle, start: bytes, delta: int, decrement: bool, value: int, text: bytes
) -> None:
    store.put(b"n", start, flags=4, expiry_seconds=900)
    number = store.arith(b"n", delta, decrement=decrement)
    assert (number.outcome, number.value) == (Outcome.STORED, value)
    item = store.look(b"n")
    assert isinstance(item, Found)
    assert (item.value, item.flags, item.expiry_seconds) == (text, 4, 900)
    assert item.cas == number.cas


@pytest.mark.parametrize(
    "value", [b"", b"a", b"-1", b"1a", b"1.5", b"%d" % (MOST + 1), b"9" * 30, b"x" * 20000]
)
def test_what_is_no_number(store: Handle, value: bytes) -> None:
    store.put(b"n", value)
    assert store.arith(b"n").outcome == Outcome.NON_NUMERIC
    assert store.get(b"n") == value


# What is copied to be read as a number: all of it, or so much of a longer one.
TEXT_BYTES = 2048


@pytest.mark.parametrize(
    ("text", "is_number"),
    [
        (b"0" * (TEXT_BYTES - 2) + b"7", True),
        (b"0" * (TEXT_BYTES - 1) + b"7", False),
        (b"0" * TEXT_BYTES + b"7", False),
        # Digits that end before that are a number, whatever follows the blank.
        (b"0" * (TEXT_BYTES - 2) + b"7 ", True),
        (b"0" * (TEXT_BYTES - 2) + b"7 x", True),
        (b"0" * (TEXT_BYTES - 1) + b"7 ", False),
    ],
)
def test_how_long_a_number_may_be(store: Handle, text: bytes, is_number: bool) -> None:
    store.put(b"n", text)
    number = store.arith(b"n", 1)
    assert number.outcome == (Outcome.STORED if is_number else Outcome.NON_NUMERIC)
    assert store.get(b"n") == (b"8".ljust(len(text)) if is_number else text)


def test_a_missing_number(store: Handle) -> None:
    assert store.arith(b"n").outcome == Outcome.NOT_FOUND
    assert store.arith(b"n", decrement=True).outcome == Outcome.NOT_FOUND
    counters = store.counters()
    assert (counters["incr_misses"], counters["decr_misses"]) == (1, 1)


def test_vivify(store: Handle) -> None:
    number = store.arith(b"n", 5, initial=41, vivify_expiry_seconds=300)
    assert (number.outcome, number.value, number.vivified) == (Outcome.STORED, 41, True)
    number = store.arith(b"n", 1, initial=0, vivify_expiry_seconds=900)
    assert (number.value, number.vivified, number.expiry_seconds) == (42, False, 300)


def test_compare(store: Handle) -> None:
    cas = store.put(b"n", b"1").cas
    assert store.arith(b"n", 1, cas_compare=cas + 1).outcome == Outcome.EXISTS
    number = store.arith(b"n", 1, cas_compare=cas)
    assert number.outcome == Outcome.STORED
    assert number.cas > cas


@pytest.mark.parametrize("start_expiry_seconds", [0, 200])
@pytest.mark.parametrize("expiry_seconds", [0, 700])
def test_a_new_expiry(store: Handle, start_expiry_seconds: int, expiry_seconds: int) -> None:
    store.put(b"n", b"1", expiry_seconds=start_expiry_seconds)
    number = store.arith(b"n", 1, expiry_seconds=expiry_seconds)
    assert number.expiry_seconds == start_expiry_seconds, "what it was before the change"
    item = store.look(b"n")
    assert isinstance(item, Found)
    assert (item.value, item.expiry_seconds) == (b"2", expiry_seconds)


def test_slots_count_together(store: Handle, other: Handle) -> None:
    store.put(b"n", b"0")
    for _ in range(100):
        store.arith(b"n", 1)
        other.arith(b"n", 2)
    assert store.arith(b"n", 0).value == 300
