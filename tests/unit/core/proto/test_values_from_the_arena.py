"""Values of some kilobytes leave from the arena, as they were when they were asked for."""

import random

import pytest

from tests.support.core.driver import MIB, Cache, Handle, Outcome
from tests.support.core.talk import Talk

SEED = 20_817
# Around the sizes at which a value among others, one alone, and any value stops being copied.
SIZES = [n + d for n in (4096, 8192, 16384) for d in (-1, 0, 1)]
PINS_OF_SMALL_VALUES = 2048
VALUES_MAX = 64


def value_of(name: str, size: int) -> bytes:
    return random.Random(f"{SEED} {name} {size}").randbytes(size)


def shown(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)


def overwrite(store: Handle, keys: list[bytes], size: int) -> None:
    """Replaces the values, and writes so much more that their memory would be used again."""
    for key in keys:
        assert store.put(key, b"n" * size).outcome == Outcome.STORED
    for number in range(40):
        store.put(b"other%d" % number, b"o" * size)


@pytest.mark.parametrize("size", SIZES)
def test_get_of_one(store: Handle, size: int) -> None:
    value = value_of("one", size)
    store.put(b"k", value)
    talk = Talk(store)
    talk.feed(b"get k\r\n", drains=False)
    overwrite(store, [b"k"], size)
    assert talk.drain() == shown(b"k", value) + b"END\r\n"
    assert store.limbo_step(0) == 0


@pytest.mark.parametrize("size", SIZES)
def test_get_of_many(store: Handle, size: int) -> None:
    values = {b"k%d" % i: value_of(f"many{i}", size) for i in range(5)}
    for key, value in values.items():
        store.put(key, value)
    store.put(b"little", b"l")
    talk = Talk(store, values_max=VALUES_MAX)
    talk.feed(b"get little k0 k1 nothing\r\nget k2 little k3 k4\r\n", drains=False)
    overwrite(store, list(values), size)
    talk.drain()
    little = shown(b"little", b"l")
    first = little + shown(b"k0", values[b"k0"]) + shown(b"k1", values[b"k1"]) + b"END\r\n"
    second = shown(b"k2", values[b"k2"]) + little
    second += shown(b"k3", values[b"k3"]) + shown(b"k4", values[b"k4"]) + b"END\r\n"
    is_equal = talk.received == first + second
    assert is_equal, f"{size} bytes"
    assert store.limbo_step(0) == 0


@pytest.mark.parametrize("size", SIZES)
def test_meta_gets(store: Handle, size: int) -> None:
    values = {b"k%d" % i: value_of(f"meta{i}", size) for i in range(3)}
    for key, value in values.items():
        store.put(key, value)
    talk = Talk(store, values_max=VALUES_MAX)
    talk.feed(b"mg k0 v s\r\nmg k1 v k\r\nmg k1 s\r\nmn\r\nmg k2 v\r\n", drains=False)
    overwrite(store, list(values), size)
    talk.drain()
    expected = b"VA %d s%d\r\n%s\r\n" % (size, size, values[b"k0"])
    expected += b"VA %d kk1\r\n%s\r\nHD s%d\r\nMN\r\n" % (size, values[b"k1"], size)
    expected += b"VA %d\r\n%s\r\n" % (size, values[b"k2"])
    is_equal = talk.received == expected
    assert is_equal, f"{size} bytes"
    assert store.limbo_step(0) == 0


@pytest.mark.parametrize("size", [100, 4096, 4097, 12_000])
def test_a_number_that_is_being_sent_is_not_changed(store: Handle, size: int) -> None:
    number = b"41".ljust(size)
    store.put(b"n", number)
    talk = Talk(store)
    talk.feed(b"get nothing\r\nget n\r\n", drains=False)
    assert store.arith(b"n").text == b"42"
    assert store.arith(b"n", 58).text == b"100"
    talk.drain()
    assert talk.received == b"END\r\n" + shown(b"n", number) + b"END\r\n"
    assert store.get(b"n") == b"100".ljust(size)


def test_the_memory_comes_back_in_any_order() -> None:
    chance = random.Random(SEED)
    with Cache(limit_bytes=16 * MIB) as cache:
        store = cache.open(0)
        store.set_now(100)
        talks = [Talk(store, values_max=VALUES_MAX) for _ in range(12)]
        asked: dict[Talk, bytes] = {}
        for number in range(300):
            value = value_of("order", 5000 + number)
            store.put(b"k%d" % (number % 20), value)
            talk = chance.choice(talks)
            if talk in asked:
                assert talk.drain() == asked.pop(talk)
            else:
                talk.feed(b"get x\r\nget k%d\r\n" % (number % 20), drains=False)
                asked[talk] = b"END\r\n" + shown(b"k%d" % (number % 20), value) + b"END\r\n"
        for talk, expected in asked.items():
            assert talk.drain() == expected
        assert store.limbo_step(0) == 0
        assert store.check() == 20


def test_small_values_leave_pins_for_large_ones() -> None:
    with Cache(limit_bytes=64 * MIB) as cache:
        store = cache.open(0)
        store.set_now(100)
        small, large = value_of("small", 5000), value_of("large", 20_000)
        keys = [b"s%d" % number for number in range(PINS_OF_SMALL_VALUES + VALUES_MAX)]
        for key in keys:
            store.put(key, small)
        store.put(b"l", large)
        slow = []
        # Each takes as many pins as a connection may have, and more than there are are asked for.
        for first in range(0, len(keys), VALUES_MAX):
            talk = Talk(store, values_max=VALUES_MAX)
            talk.pending = b"get x " + b" ".join(keys[first : first + VALUES_MAX]) + b"\r\n"
            talk.feed_once()
            slow.append(talk)
        assert store.chunks()["pins"] == PINS_OF_SMALL_VALUES
        whole = Talk(store)
        assert whole.ask(b"get l\r\n") == shown(b"l", large) + b"END\r\n"
        assert store.counters()["get_copied_for_claims"] == 0
        # Those that got no pin were copied, into replies that hold fewer of them.
        for number, talk in enumerate(slow):
            talk.feed(b"")
            asked = keys[number * VALUES_MAX : (number + 1) * VALUES_MAX]
            is_equal = talk.received == b"".join(shown(key, small) for key in asked) + b"END\r\n"
            assert is_equal
        assert store.check() == len(keys) + 1
