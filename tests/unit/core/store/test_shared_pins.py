"""One pin for each item that a process sends, however many of its replies have it."""

import random

import pytest

from tests.support.children import run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Outcome
from tests.support.core.pin_holder import PINS_MAX, PinHolder, roomy_cache
from tests.support.core.talk import Talk

SEED = 7_121
READERS = 12


def value_of(name: str, size: int = 20_000) -> bytes:
    return random.Random(f"{SEED} {name}").randbytes(size)


def whole(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)


def ask_all(store: Handle, key: bytes, readers: int = READERS) -> list[Talk]:
    talks = [Talk(store) for _ in range(readers)]
    for talk in talks:
        talk.feed(b"get %s\r\n" % key, drains=False)
    return talks


def test_many_readers_of_an_item_have_one_pin(parted: Handle) -> None:
    parted.put(b"k", value_of("k"))
    parted.put(b"other", value_of("other"))
    talks = ask_all(parted, b"k") + ask_all(parted, b"other")
    assert parted.chunks()["pins"] == 2
    for talk in talks:
        talk.drain()
    assert parted.chunks()["pins"] == 0


def test_the_same_value_many_times_in_one_reply(parted: Handle) -> None:
    value = value_of("k")
    parted.put(b"k", value)
    talk = Talk(parted, values_max=64)
    talk.feed(b"get k k k\r\nmg k v\r\n", drains=False)
    assert parted.chunks()["pins"] == 1
    parted.delete(b"k")
    assert parted.limbo_step() == 1
    assert talk.drain().count(value) == 4
    assert parted.limbo_step(0) == 0
    assert parted.check() == 0


@pytest.mark.parametrize("seed", range(6))
def test_readers_leave_in_any_order(parted: Handle, seed: int) -> None:
    """Some take what they asked for, some are lost; the pin is there until the last has gone."""
    chance = random.Random(SEED + seed)
    value = value_of("k")
    parted.put(b"k", value)
    talks = ask_all(parted, b"k")
    chance.shuffle(talks)
    gone_at = chance.randrange(READERS)
    for number, talk in enumerate(talks):
        if number == gone_at:
            assert parted.put(b"k", b"new").outcome == Outcome.STORED
        assert parted.chunks()["pins"] == 1
        if chance.random() < 0.5:
            talk.close()
        else:
            assert talk.drain() == whole(b"k", value)
    assert parted.chunks()["pins"] == 0
    assert parted.limbo_step(0) == 0


def test_each_value_of_an_overwritten_key_is_kept_and_freed(parted: Handle) -> None:
    """A key has many values while somebody still reads each of them."""
    values = [value_of(f"{number}") for number in range(8)]
    talks = []
    for value in values:
        parted.put(b"k", value)
        talks.append(ask_all(parted, b"k", 3))
    parted.delete(b"k")
    assert parted.chunks()["pins"] == len(values)
    for left, (value, readers) in reversed(list(enumerate(zip(values, talks, strict=True)))):
        for talk in readers:
            assert parted.limbo_step(1000) == left + 1
            assert talk.drain() == whole(b"k", value)
        assert parted.limbo_step(0) == left
    assert parted.check() == 0


def test_two_processes_pin_for_themselves() -> None:
    with Cache(limit_bytes=16 * MIB, chunk_bytes=TINY_LADDER) as cache:
        one, two = cache.open(0), cache.open(1)
        value = value_of("k")
        one.put(b"k", value)
        of_one, of_two = ask_all(one, b"k", 2), ask_all(two, b"k", 2)
        assert one.chunks()["pins"] == 2
        one.delete(b"k")
        for talk in of_one:
            assert talk.drain() == whole(b"k", value)
        assert one.limbo_step() == 1
        for talk in of_two:
            assert talk.drain() == whole(b"k", value)
        assert one.limbo_step(0) == 0
        assert one.chunks()["pins"] == 0


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_process_dies_with_shared_pins(is_deleted: bool) -> None:
    with Cache(limit_bytes=16 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open(0)
        store.put(b"k", value_of("k"))
        store.put(b"kept", value_of("kept"))

        def read_and_die() -> None:
            reader = cache.open(1)
            ask_all(reader, b"k")
            ask_all(reader, b"kept")
            if is_deleted:
                store.delete(b"k")

        assert run_child(read_and_die).is_fine
        successor = cache.open(1)
        assert successor.chunks()["pins"] == 0
        assert successor.limbo_step() == 0
        # Its pins are free for it.
        talks = ask_all(successor, b"kept")
        assert successor.chunks()["pins"] == 1
        for talk in talks:
            assert talk.drain() == whole(b"kept", value_of("kept"))


def test_few_readers_leave_pins_for_all_others() -> None:
    """Each has asked for 64 values; once half of the pins are used a reply has two of them."""
    with roomy_cache() as cache:
        store = cache.open()
        holder = PinHolder(store)
        keys = [b"k%d" % number for number in range(PINS_MAX + 512)]
        for key in keys:
            store.put(key, holder.value)
        for first in range(0, len(keys), 64):
            holder.ask(b"get " + b" ".join(keys[first : first + 64]) + b"\r\n")
        pins = store.chunks()["pins"]
        assert PINS_MAX // 2 < pins < PINS_MAX // 2 + 64 + 2 * len(keys) // 64
        talk = Talk(store, values_max=64)
        values = b"".join(
            b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(holder.value), holder.value) for key in keys[-5:]
        )
        assert talk.ask(b"get " + b" ".join(keys[-5:]) + b"\r\n") == values + b"END\r\n"
        assert store.counters()["get_copied_for_claims"] == 0
        holder.close()
        assert store.chunks()["pins"] == 0


def test_nearly_all_pins_can_be_used() -> None:
    """Where an item's pin may be is not so narrow that others run out of it early."""
    with roomy_cache() as cache:
        store = cache.open()
        holder = PinHolder(store)
        holder.hold_all()
        assert store.chunks()["pins"] > PINS_MAX * 0.85
        holder.close()
        assert store.chunks()["pins"] == 0
