"""Kills a process at every fault point of the core; whoever is left repairs and goes on."""

import pytest

from tests.crash.plan import Companion, Player, operations
from tests.crash.points import FLUSH_POINTS, REPAIR_POINTS, TXN_REPAIR_POINTS, WORK_POINTS
from tests.crash.verify import survive
from tests.support.children import End, Journal, run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache

pytestmark = pytest.mark.debug

VICTIM = 1
# With little memory there are too few items for the index to grow much, and to shrink.
ROOMY_ONLY = (".rescue_part", "table.merge.", "table.clear.", "table.release.")
# A repairer comes here whatever the dead process did.
OFTEN_REACHED = (
    "slab.repair.intent",
    "slab.repair.turns",
    "store.repair.slab",
    "store.repair.index",
    "store.repair.unlocked",
    "table.repair.done",
)
OPERATIONS_MAX = 30_000


def roomy() -> Cache:
    return Cache(limit_bytes=256 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2)


def tight() -> Cache:
    return Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2)


def die_at(
    cache: Cache, point: str, countdown: int, seed: int, journal: Journal, *, tides: bool = True
) -> End:
    """Works in a child until the point is reached for the countdown-th time."""

    def work() -> None:
        handle = cache.open(VICTIM)
        handle.arm_fault(point, countdown)
        player = Player(handle, Companion(cache))
        # Where there are no tides, memory is short.
        plan = operations(seed, tides=tides, surges=not tides)
        for begun, operation in enumerate(plan, start=1):
            if begun > OPERATIONS_MAX:
                return
            journal.begun = begun
            player.play(operation)

    return run_child(work)


def test_there_are_points() -> None:
    assert len(WORK_POINTS) > 30
    assert len(REPAIR_POINTS) == 10
    assert len(TXN_REPAIR_POINTS) == 5
    assert len(FLUSH_POINTS) == 2


@pytest.mark.parametrize("point", WORK_POINTS)
def test_nothing_else_is_lost(point: str) -> None:
    """With room for everything, at most the one item goes whose bytes were half written."""
    for countdown in (1, 2, 9):
        cache, journal = roomy(), Journal()
        end = die_at(cache, point, countdown, countdown, journal)
        if countdown == 1:
            assert end.was_killed, f"{point} is not reached: {end.text}"
        if end.was_killed:
            after = run_child(lambda: survive(cache, VICTIM, countdown, journal.begun, 1))  # noqa: B023
            assert after.is_fine, (point, countdown, after)
        cache.close()


@pytest.mark.parametrize(
    "point", [name for name in WORK_POINTS if not any(part in name for part in ROOMY_ONLY)]
)
def test_no_wrong_value_when_memory_is_short(point: str) -> None:
    # A value that is replaced while it is read is rare where memory is short: some plans have none.
    seeds = [101, 140, *range(201, 209)]
    reached = 0
    for seed, countdown in zip(seeds, (1, 40, *[1] * 8), strict=True):
        cache, journal = tight(), Journal()
        end = die_at(cache, point, countdown, seed, journal, tides=False)
        if end.was_killed:
            reached += countdown == 1
            after = run_child(
                lambda: survive(cache, VICTIM, seed, journal.begun, None, tides=False)  # noqa: B023
            )
            assert after.is_fine, (point, countdown, after)
        cache.close()
        if reached and seed != seeds[0]:
            return
    assert reached, f"{point} is not reached"


DEATHS = (
    "table.split.copied",
    "table.split.published",
    "index.chain.before",
    "index.trim.named",
    "table.merge.copied",
    "table.merge.published",
    "table.merge.cleared",
    "table.clear.named",
    "table.clear.detached",
    "table.overflow.named",
    "table.overflow.given",
    "table.release.locked",
    "table.release.given",
    "table.release.overflow",
    "slab.commit.after",
    "slab.collect.locked",
    "slab.drain.begun",
    "slab.drain.removed",
    "slab.give.both",
    "slab.page.owned",
    "slab.take.named",
    "store.link.replaced",
    "store.unlink.after",
    "store.in_place.half",
    "store.rescue.after",
    "store.rescue_part.before",
    "store.limbo.popped",
    "lru.segment.owned",
    "lru.tail.linked",
)
# A third of them in every run: test_sites.py has a death at every store of a repair.
PAIRS = [
    pytest.param(
        point,
        repair_point,
        id=f"{point}-{repair_point}",
        marks=() if (first + second) % 3 == 0 else pytest.mark.long,
    )
    for first, point in enumerate(DEATHS)
    for second, repair_point in enumerate(REPAIR_POINTS)
]


@pytest.mark.parametrize(("point", "repair_point"), PAIRS)
def test_a_repairer_may_die_too(point: str, repair_point: str) -> None:
    cache, journal = roomy(), Journal()
    assert die_at(cache, point, 1, 7, journal).was_killed

    def repair() -> None:
        handle = cache.open(2)
        handle.arm_fault(repair_point)
        handle.reclaim_slot(VICTIM)

    end = run_child(repair)
    if repair_point in OFTEN_REACHED or (repair_point.startswith("index") and ".merge." in point):
        assert end.was_killed, end
    assert end.was_killed or end.is_fine, end
    after = run_child(lambda: survive(cache, VICTIM, 7, journal.begun, 1))
    assert after.is_fine, (point, after)
    successor = run_child(lambda: cache.open(2).check())
    assert successor.is_fine, successor
    cache.close()


@pytest.mark.parametrize("is_delayed", [False, True])
@pytest.mark.parametrize("point", FLUSH_POINTS)
def test_a_flusher_may_die(point: str, is_delayed: bool) -> None:
    """Once the mark is up all is flushed, and what is stored after the next turn stays."""
    cache = roomy()
    keys = [b"%d" % number for number in range(100)]

    def flush() -> None:
        handle = cache.open(VICTIM)
        handle.set_now(100)
        for key in keys:
            handle.put(key, b"before")
        if is_delayed:
            handle.flush_all(110)
        handle.arm_fault(point)
        handle.set_now(110)
        if is_delayed:
            handle.turn()
        else:
            handle.flush_all()

    def look() -> None:
        handle = cache.open(0)
        handle.set_now(110)
        if point == "store.flush.marked":
            # The mark is ahead of the numbers, so that whoever gets one above it sees it.
            handle.put(b"early", b"value")
            assert handle.get(b"early") is None
        handle.turn()
        assert [handle.get(key) for key in keys] == [None] * len(keys)
        for key in keys[:10]:
            handle.put(key, b"after")
        handle.turn()
        assert [handle.get(key) for key in keys[:10]] == [b"after"] * 10
        cache.open(VICTIM).check()
        counters = handle.counters()
        assert counters["items"] - counters["flushed_items"] == 10

    assert run_child(flush).was_killed
    after = run_child(look)
    assert after.is_fine, after
    cache.close()


@pytest.mark.parametrize(
    "point",
    [
        "store.link.before",
        "store.link.replaced",
        "store.link.after",
        "store.link.free",
        "store.unlink.before",
        "store.unlink.after",
    ],
)
def test_counts_of_the_flushed_outlive_a_death(point: str) -> None:
    """The victim replaces or removes an item that another process stored and that is flushed."""
    cache = roomy()

    def work() -> None:
        other = cache.open(2)
        other.set_now(100)
        for number in range(20):
            other.put(b"%d" % number, b"before")
        other.flush_all()
        other.close()
        handle = cache.open(VICTIM)
        handle.set_now(100)
        handle.put(b"live", b"value")
        handle.arm_fault(point)
        if ".link." in point:
            handle.put(b"5", b"after")
        else:
            handle.touch(b"5", 0)

    def count() -> None:
        handle = cache.open(VICTIM)
        handle.set_now(100)
        handle.check()
        handle.crawl()
        handle.check()
        assert handle.counters()["flushed_items"] == 0

    assert run_child(work).was_killed
    counted = run_child(count)
    assert counted.is_fine, counted
    cache.close()
