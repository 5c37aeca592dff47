"""What is lost is counted, once; memory full of what cannot go refuses only that long."""

import random

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Outcome
from tests.support.core.talk import Talk


def lost_by_class(store: Handle) -> int:
    classes = range(1, store.slab().classes + 1)
    return sum(store.class_counters(class_id)["evicted"] for class_id in classes)


@pytest.mark.parametrize("seed", range(4))
def test_evictions_are_the_items_that_vanished(seed: int) -> None:
    dice = random.Random(seed)
    with Cache(limit_bytes=8 * MIB, slots=3) as cache:
        stores = [cache.open(slot) for slot in range(2)]
        for one in stores:
            one.set_now(100)
            one.rest()
        keys: set[bytes] = set()
        now = 100
        for step in range(40_000):
            store = dice.choice(stores)
            store.wake()
            if step % 4000 == 0:
                most = dice.choice((30, 300, 3000, 200_000))
                now += 3
            store.set_now(now)
            key = b"k%d" % dice.randrange(30_000)
            if dice.random() < 0.05:
                store.delete(key)
                keys.discard(key)
            else:
                assert store.put(key, b"x" * int(most ** dice.random())).outcome == Outcome.STORED
                # A key that was lost and comes back is lost anew.
                keys.add(key)
            if dice.random() < 0.3:
                store.get(b"k%d" % dice.randrange(30_000))
            if dice.random() < 0.001:
                source = dice.randrange(1, store.slab().classes + 1)
                move = store.move_begin(source, dice.randrange(store.slab().classes + 1))
                if move and not store.move_step(move):
                    store.move_cancel(move)
            store.rest()
        store = stores[0]
        store.wake()
        counters = store.counters()
        held = sum(store.get(b"k%d" % number) is not None for number in range(30_000))
        assert counters["items"] == held
        assert counters["evictions"] == lost_by_class(store)
        assert counters["evictions"] >= len(keys) - held > 0
        assert store.check() == held
        store.rest()


def test_each_of_many_keys_that_vanished_was_counted() -> None:
    dice = random.Random(1)
    with Cache(limit_bytes=8 * MIB) as cache:
        store = cache.open()
        store.set_now(100)
        stored = 0
        for most in (40, 4000, 40, 100_000, 300, 20):
            for _ in range(4000):
                assert (
                    store.put(b"k%d" % stored, b"x" * dice.randint(1, most)).outcome
                    == Outcome.STORED
                )
                stored += 1
            store.set_now(100 + stored // 1000)
        held = sum(store.get(b"k%d" % number) is not None for number in range(stored))
        counters = store.counters()
        assert counters["slabs_moved"] > 3
        assert counters["items"] == held
        assert counters["evictions"] == lost_by_class(store) == stored - held > 0


def test_memory_full_of_what_is_being_read_refuses_only_that_long() -> None:
    value = b"v" * 20_000
    with Cache(limit_bytes=8 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        store.set_now(100)
        talk = Talk(store, values_max=10_000)
        pinned = 0
        # Each is being sent, to somebody who does not read.
        while store.put(b"p%d" % pinned, value).outcome == Outcome.STORED:
            talk.feed(b"get p%d\r\n" % pinned, drains=False)
            pinned += 1
            assert pinned < 1000
        # They are all there: it was refused for that reason and no other.
        assert pinned * len(value) > 5 * MIB
        talk.close()
        assert store.put(b"new", value).outcome == Outcome.STORED
        store.check()


@pytest.mark.parametrize("how", ["delete", "flush", "expire"])
def test_without_evictions_it_stores_again_at_once(how: str) -> None:
    with Cache(limit_bytes=8 * MIB, live={"evictions_enabled": 0}) as cache:
        store = cache.open()
        store.set_now(100)
        value = b"v" * 900
        stored = 0
        while store.put(b"k%d" % stored, value, expiry_seconds=200).outcome == Outcome.STORED:
            stored += 1
        # Not before memory is really full.
        assert stored * 1024 > 6 * MIB
        if how == "delete":
            for number in range(stored // 2):
                store.delete(b"k%d" % number)
        elif how == "flush":
            store.flush_all()
        else:
            store.set_now(201)
        for number in range(stored // 3):
            assert store.put(b"n%d" % number, value).outcome == Outcome.STORED
        # Also of another size.
        assert store.put(b"other", b"x" * 3000).outcome == Outcome.STORED
        assert store.counters()["evictions"] == 0
        store.check()
