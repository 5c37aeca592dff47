"""Kills a process at every fault point of the core; whoever is left repairs and goes on."""

import pytest

from pymc.core.ffi import HAS_DEBUG
from tests.crash.children import End, Journal, run_child
from tests.crash.plan import Player, operations
from tests.crash.points import REPAIR_POINTS, WORK_POINTS
from tests.crash.verify import survive
from tests.unit.core.driver import MIB, TINY_LADDER, Cache

pytestmark = [pytest.mark.debug, pytest.mark.skipif(not HAS_DEBUG, reason="no fault points")]

VICTIM = 1
# With little memory there are too few items for the index to grow much, and to shrink.
ROOMY_ONLY = (".rescue", "index.merge.", "index.clear.", "index.release.")
# A repairer comes here whatever the dead process did.
OFTEN_REACHED = ("store.repair.slab", "store.repair.index", "index.repair.done")
OPERATIONS_MAX = 30_000


def roomy() -> Cache:
    return Cache(limit_bytes=256 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2)


def tight() -> Cache:
    return Cache(limit_bytes=2 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2)


def die_at(cache: Cache, point: str, countdown: int, seed: int, journal: Journal) -> End:
    """Works in a child until the point is reached for the countdown-th time."""

    def work() -> None:
        handle = cache.open(VICTIM)
        handle.set_now(100)
        handle.arm_fault(point, countdown)
        player = Player(handle)
        for begun, operation in enumerate(operations(seed), start=1):
            if begun > OPERATIONS_MAX:
                return
            journal.begun = begun
            player.play(operation)

    return run_child(work)


def test_there_are_points() -> None:
    assert len(WORK_POINTS) > 30
    assert len(REPAIR_POINTS) == 7


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
    for countdown in (1, 40):
        cache, journal = tight(), Journal()
        seed = countdown + 100
        end = die_at(cache, point, countdown, seed, journal)
        assert end.was_killed or countdown > 1, f"{point} is not reached: {end.text}"
        if end.was_killed:
            after = run_child(lambda: survive(cache, VICTIM, seed, journal.begun, None))  # noqa: B023
            assert after.is_fine, (point, countdown, after)
        cache.close()


@pytest.mark.parametrize("repair_point", REPAIR_POINTS)
@pytest.mark.parametrize(
    "point",
    [
        "index.split.copied",
        "index.split.published",
        "index.chain.before",
        "index.trim.named",
        "index.merge.copied",
        "index.merge.published",
        "index.merge.cleared",
        "index.clear.named",
        "index.clear.unhung",
        "index.overflow.named",
        "index.overflow.given",
        "index.release.locked",
        "index.release.given",
        "index.release.overflow",
        "slab.commit.after",
        "slab.page.owned",
        "store.link.old",
        "store.unlink.after",
        "store.in_place.half",
        "store.rescue.after",
        "store.rescue_part.before",
        "store.limbo.popped",
    ],
)
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
