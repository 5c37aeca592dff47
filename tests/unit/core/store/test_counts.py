"""What is counted of evictions, queues and refusals: each count goes up by what happened."""

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Making, Outcome

VALUE = b"x" * 900


def small() -> Cache:
    return Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER)


def of_class(store: Handle) -> dict[str, int]:
    return store.class_counters(store.class_for(1024))


@pytest.mark.parametrize(
    ("expiry_seconds", "is_read", "nonzero", "unfetched"),
    [(0, False, 0, 1), (900, False, 1, 1), (0, True, 0, 0)],
)
def test_the_first_that_is_evicted(
    expiry_seconds: int, is_read: bool, nonzero: int, unfetched: int
) -> None:
    with small() as cache:
        store = cache.open()
        store.set_now(100)
        number = 0
        while store.slab_class(store.class_for(1024)).pages < 3:
            store.put(b"old%d" % number, VALUE, expiry_seconds=expiry_seconds)
            if is_read:
                store.get(b"old%d" % number)
            number += 1
        store.set_now(160)
        number = 0
        while of_class(store)["evicted"] == 0:
            store.put(b"new%d" % number, VALUE, expiry_seconds=expiry_seconds)
            if is_read:
                store.get(b"new%d" % number)
            number += 1
        counted = of_class(store)
        # What was read lived on for longer, and the hand may have met a younger one first.
        assert counted["evicted_age_seconds"] in ((0, 60) if is_read else (60,))
        assert counted["evicted_nonzero"] == nonzero * counted["evicted"]
        assert counted["evicted_unfetched"] == unfetched * counted["evicted"]
        # Where all were read, one has to go all the same.
        assert counted["evicted_active"] == counted["evicted"] * is_read
        assert counted["direct_reclaims"] == counted["evicted"] == store.counters()["evictions"]


def test_queues_are_empty_after_a_flush() -> None:
    with small() as cache:
        cache.set_live("temp_lru", 1)
        cache.set_live("temporary_ttl_seconds", 61)
        store = cache.open()
        store.set_now(100)

        def in_queues() -> tuple[int, int, int]:
            counted = of_class(store)
            return (
                counted["items"] - counted["flushed_items"],
                counted["temp_items"] - counted["flushed_temp_items"],
                counted["warm_items"] - counted["flushed_warm_items"],
            )

        for number in range(10):
            store.put(b"short%d" % number, VALUE, expiry_seconds=150)
            store.put(b"long%d" % number, VALUE, expiry_seconds=900)
        assert in_queues() == (20, 10, 0)
        store.delete(b"short1")
        store.delete(b"long1")
        assert in_queues() == (18, 9, 0)
        number = 0
        while of_class(store)["moves_to_warm"] == 0:
            store.put(b"more%d" % number, VALUE)
            store.get(b"more%d" % number)
            number += 1
        before = of_class(store)
        assert in_queues()[2] == before["warm_items"] == before["moves_to_warm"] > 0
        store.flush_all()
        store.turn()
        assert in_queues() == (0, 0, 0)
        store.put(b"new", VALUE, expiry_seconds=150)
        assert in_queues() == (1, 1, 0)
        # What was flushed goes, and takes itself out of both counts.
        store.crawl()
        assert in_queues() == (1, 1, 0)
        assert of_class(store)["flushed_warm_items"] == of_class(store)["flushed_temp_items"] == 0


def test_values_on_their_way_are_refused_by_their_number() -> None:
    """There is memory, but no claim for one more: counted with that reason and no other."""
    with Cache(limit_bytes=64 * MIB) as cache:
        store = cache.open()
        makings: list[Making] = []
        while True:
            making = store.begin(b"k%d" % len(makings), 100)
            if making.outcome != Outcome.ROOM_MADE:
                break
            makings.append(making)
        counted = store.counters()
        assert making.outcome == Outcome.NO_MEMORY
        assert (counted["oom_claims"], counted["oom_no_victim"]) == (1, 0)
        assert counted["store_no_memory"] == 1
        makings.pop().abandon()
        making = store.begin(b"again", 100)
        assert making.outcome == Outcome.ROOM_MADE
        for one in [making, *makings]:
            one.abandon()
        assert store.counters()["oom_claims"] == 1
