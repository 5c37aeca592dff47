"""Memory moves at once: which class gives a page, what is kept, what counts as lost."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Found, Handle, Outcome

SMALL, LARGE = b"s" * 200, b"l" * 900


@pytest.fixture
def tight() -> Iterator[Cache]:
    """Eight megabytes; values up to a kilobyte are inline."""
    with Cache(limit_bytes=8 * MIB, limit_bytes_max=64 * MIB, chunk_bytes=TINY_LADDER) as made:
        yield made


def opened(cache: Cache, slot: int = 0, now: int = 100) -> Handle:
    handle = cache.open(slot)
    handle.set_now(now)
    return handle


def fill(store: Handle, prefix: bytes, count: int, value: bytes, **wants: Any) -> None:
    for i in range(count):
        assert store.put(b"%s%d" % (prefix, i), value, **wants).outcome == Outcome.STORED


def used_seconds(store: Handle, key: bytes) -> int:
    found = store.look(key)
    assert isinstance(found, Found)
    return found.time_seconds


def held(store: Handle, prefix: bytes, count: int) -> int:
    return sum(store.get(b"%s%d" % (prefix, i)) is not None for i in range(count))


def test_after_a_flush_all_memory_is_there_for_other_sizes(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"s", 40_000, SMALL)
    evictions = store.counters()["evictions"]
    store.flush_all()
    # Within the same second, without a keeper, without anybody else.
    fill(store, b"l", 6000, LARGE)
    assert held(store, b"l", 6000) == 6000
    assert store.counters()["evictions"] == evictions
    store.check()


def test_expired_items_of_another_size_go_first(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"s", 20_000, SMALL, expiry_seconds=110)
    fill(store, b"l", 500, LARGE)
    store.set_now(120)
    fill(store, b"m", 5000, LARGE)
    assert held(store, b"l", 500) == 500
    assert held(store, b"m", 5000) == 5000
    assert store.counters()["evictions"] == 0
    store.check()


def test_without_evictions_a_flush_makes_room_too(tight: Cache) -> None:
    tight.set_live("evictions_enabled", 0)
    store = opened(tight)
    i = 0
    while store.put(b"s%d" % i, SMALL).outcome == Outcome.STORED:
        i += 1
    store.flush_all()
    fill(store, b"l", 6000, LARGE)
    assert held(store, b"l", 6000) == 6000


def test_without_evictions_nothing_alive_goes(tight: Cache) -> None:
    tight.set_live("evictions_enabled", 0)
    store = opened(tight)
    stored = 0
    while store.put(b"s%d" % stored, SMALL).outcome == Outcome.STORED:
        stored += 1
    for i in range(300):
        assert store.put(b"l%d" % i, LARGE).outcome == Outcome.NO_MEMORY
    assert held(store, b"s", stored) == stored
    store.check()


def test_a_page_that_is_nearly_free_is_had_without_a_loss(tight: Cache) -> None:
    store = opened(tight)
    for value_bytes in (20, 60, 100, 230, 480, 990):
        fill(store, b"%d." % value_bytes, 900, b"x" * value_bytes)
    for value_bytes in (20, 60, 100, 230, 480, 990):
        for i in range(5, 900):
            store.delete(b"%d.%d" % (value_bytes, i))
    # All pages but the two for the larger ones.
    fill(store, b"s", 19_000, SMALL)
    assert held(store, b"s", 19_000) == 19_000
    assert all(held(store, b"%d." % size, 5) == 5 for size in (20, 60, 100, 230, 480, 990))
    assert store.counters()["evictions"] == 0
    assert store.counters()["slab_reassign_rescues"] > 0
    store.check()


def test_the_class_of_old_items_gives_to_one_of_young_items(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"old", 33_000, SMALL)
    for second in range(200, 260):
        store.set_now(second)
        for i in range(500):
            store.put(b"new%d.%d" % (second, i), LARGE)
        store.frontiers_step()
    # All but what the ring of probation and a page on its way keep back.
    newest = sum(held(store, b"new%d." % second, 500) for second in range(248, 260))
    assert newest >= 5700
    store.check()


def test_a_class_of_older_items_takes_nothing_from_younger_ones(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"l", 3000, LARGE)
    store.set_now(1000)
    fill(store, b"young", 14_000, SMALL)
    pages = store.slab_class(store.class_for(256)).pages
    store.frontiers_step()
    store.set_now(1001)
    for i in range(3000, 6000):
        store.put(b"l%d" % i, LARGE)
    assert store.slab_class(store.class_for(256)).pages == pages
    assert held(store, b"young", 14_000) == 14_000


def test_what_is_read_outlives_a_move(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"s", 34_000, SMALL)
    before = store.counters()
    hot = [b"s%d" % i for i in range(33_000) if i % 5 == 0 and store.get(b"s%d" % i) is not None]
    for _ in range(3):
        assert all(store.get(key) is not None for key in hot)
    move = store.move_begin(store.class_for(256), store.class_for(1024))
    for _ in range(100):
        if store.move_step(move, 500):
            break
    else:
        raise AssertionError("the page does not empty")
    after = store.counters()
    lost = before["items"] - after["items"]
    assert lost > 3000
    assert after["evictions"] - before["evictions"] == lost
    # Of the others one in five went, of these hardly any.
    assert sum(store.get(key) is not None for key in hot) >= len(hot) * 0.97
    store.check()


def test_moves_of_the_server_count_what_they_evict(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"s", 30_000, SMALL)
    before = store.counters()
    store.set_now(300)
    store.frontiers_step()
    fill(store, b"l", 2000, LARGE)
    after = store.counters()
    assert after["slabs_moved"] >= 1
    lost = before["items"] + 2000 - after["items"]
    assert after["evictions"] - before["evictions"] == lost > 3000


def test_large_values_find_room_among_small_ones() -> None:
    with Cache(limit_bytes=16 * MIB) as cache:
        cache.set_live("item_bytes_max", 8 * MIB)
        store = opened(cache)
        fill(store, b"s", 60_000, SMALL)
        for i in range(40):
            value = b"%d;" % i * 1_000_000
            assert store.put(b"big%d" % (i % 2), value).outcome == Outcome.STORED
            assert store.get(b"big%d" % (i % 2)) == value
        # After the first ones they take turns, and nothing is moved to and fro.
        moved = store.counters()["slabs_moved"]
        for i in range(40):
            store.put(b"big%d" % (i % 2), b"x" * 2_000_000)
        assert store.counters()["slabs_moved"] - moved <= 4
        store.limbo_step()
        store.check()


def test_a_resting_process_keeps_no_page_back(tight: Cache) -> None:
    store, idle = opened(tight), opened(tight, 1)
    fill(idle, b"idle", 40, LARGE)
    for i in range(0, 40, 2):
        idle.delete(b"idle%d" % i)
    class_id = store.class_for(1024)
    assert store.slab_class(class_id).magazine_chunks > 0
    idle.rest()
    move = store.move_begin(class_id, store.class_for(256))
    # Nobody but this process does anything.
    assert store.move_step(move)
    assert held(store, b"idle", 40) == 20
    idle.wake()
    fill(idle, b"idle", 40, LARGE)
    store.check()


def test_a_process_at_work_keeps_its_magazines(tight: Cache) -> None:
    store, busy = opened(tight), opened(tight, 1)
    fill(busy, b"b", 20, LARGE)
    busy.rest()
    busy.wake()
    class_id = store.class_for(1024)
    before = store.slab_class(class_id).magazine_chunks
    move = store.move_begin(class_id, 0)
    assert store.slab_class(class_id).magazine_chunks == before > 0
    store.move_cancel(move)


def test_a_page_nobody_asks_for_any_more_goes_back(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"old", 33_000, SMALL)
    store.set_now(200)
    store.frontiers_step()
    fill(store, b"l", 200, LARGE)
    small = store.class_for(256)
    assert store.slab_class(small).draining_pages == 1
    store.set_now(201)
    store.turn()
    assert store.slab_class(small).draining_pages == 1
    store.set_now(204)
    store.turn()
    assert store.slab_class(small).draining_pages == 0
    store.check()


def test_few_pages_are_shared_by_many_sizes() -> None:
    with Cache(limit_bytes=4 * MIB) as cache:
        store = opened(cache)
        kept = 0
        for i in range(3000):
            value_bytes = (i * 7919) % 12_000
            assert store.put(b"%d" % i, b"x" * value_bytes).outcome == Outcome.STORED
        kept = held(store, b"", 3000)
        assert kept > 60
        assert store.counters()["slabs_moved"] < 300
        store.check()


def test_disabled_moves_stay_away(tight: Cache) -> None:
    tight.set_live("slab_reassign", 0)
    store = opened(tight)
    fill(store, b"s", 40_000, SMALL)
    store.flush_all()
    for i in range(200):
        store.put(b"l%d" % i, LARGE)
    assert store.counters()["slabs_moved"] == 0


def test_lifetimes_make_times_precise(tight: Cache) -> None:
    store = opened(tight)
    fill(store, b"k", 10, SMALL)
    store.set_now(103)
    for _ in range(4):
        store.get(b"k1")
    store.set_now(130)
    # Nothing is evicted: times of items in use are renewed once a minute.
    store.get(b"k1")
    assert used_seconds(store, b"k1") == 103
    for second in range(131, 135):
        store.set_now(second)
        fill(store, b"l%d." % second, 8000, LARGE)
        assert store.frontiers_step() <= 4
        store.turn()
    store.put(b"k1", SMALL)
    for second in (135, 136):
        store.set_now(second)
        for _ in range(4):
            store.get(b"k1")
        assert used_seconds(store, b"k1") == second


def test_a_class_that_has_enough_takes_no_more() -> None:
    with Cache(limit_bytes=32 * MIB) as cache:
        cache.set_live("item_bytes_max", 8 * MIB)
        store = opened(cache)
        fill(store, b"s", 100_000, SMALL)
        store.set_now(200)
        store.frontiers_step()
        # Two values of 2 MB take turns: with the one that is being made that is 6 MB.
        for i in range(60):
            assert store.put(b"big%d" % (i % 2), b"x" * 2_000_000).outcome == Outcome.STORED
        assert held(store, b"s", 100_000) > 80_000
        store.limbo_step()
        store.check()
