"""Kills a process at each step of a queue's segments; whoever is left repairs, nothing leaks."""

from collections.abc import Callable

import pytest

from pymc.core.ffi import lib
from tests.crash.points import PROBATION_POINTS
from tests.support.children import run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle
from tests.support.core.lru_queues import Queues, fit_probation

pytestmark = pytest.mark.debug

VICTIM = 1
DEATHS = 1000
VALUE = b"x" * 20
# Of a page of the smallest class, so many sets fill the queue to its cap.
FULL = 12_000


def sets(handle: Handle, count: int) -> None:
    """Fills the queues of two classes, in turns of ten."""
    for i in range(count):
        handle.put(b"%d" % i, VALUE if i % 20 < 10 else VALUE * 2)


def empties(*handles: Handle) -> None:
    """Takes the classes' pages away, after which their segments have to go."""
    handle = handles[0]
    for i in range(2 * FULL):
        handle.delete(b"%d" % i)
    for class_id in range(1, 3):
        while (move := handle.move_begin(class_id, 0)) is not None:
            while not handle.move_step(move):
                for one in handles:
                    one.turn()
    fit_probation(handle)


def work(handle: Handle) -> None:
    lib.ghost_begin(lib.store_lru(handle.store), 10_000)
    sets(handle, 2 * FULL)
    empties(handle)


Action = Callable[[Handle], None]


def killed_at(
    cache: Cache, point: str, countdown: int, action: Action, prepare: Action | None = None
) -> bool:
    """Does `action` in a child that dies at the point; False when it never came there."""

    def live() -> None:
        handle = cache.open(VICTIM)
        handle.set_now(100)
        if prepare:
            prepare(handle)
        handle.arm_fault(point, countdown)
        action(handle)

    end = run_child(live)
    assert end.was_killed or end.is_fine, end
    return end.was_killed


def is_sound(cache: Cache) -> None:
    """Run by a survivor: repairs, checks, and goes on with the queues of the dead."""
    handle = cache.open(0)
    handle.set_now(100)
    handle.reclaim_slot(VICTIM)
    handle.check()
    sets(handle, FULL)
    handle.check()
    # What the dead had in its magazines is its successor's.
    empties(handle, cache.open(VICTIM))
    handle.check()
    assert Queues(handle).bytes() < 16384


@pytest.mark.parametrize("point", PROBATION_POINTS)
def test_no_segment_is_lost(point: str) -> None:
    for countdown in (1, 2, 5):
        cache = Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER)
        is_killed = killed_at(cache, point, countdown, work)
        assert is_killed or countdown > 1, f"{point} is not reached"
        after = run_child(lambda: is_sound(cache))  # noqa: B023
        assert after.is_fine, (point, countdown, after)
        cache.close()


@pytest.mark.parametrize("point", ["lru.segment.owned", "lru.tail.taken", "lru.segment.freed"])
@pytest.mark.parametrize("repair_point", ["store.repair.segments", "lru.segment.freed"])
def test_a_repairer_may_die_too(point: str, repair_point: str) -> None:
    cache = Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER)
    assert killed_at(cache, point, 5, work)

    def repair() -> None:
        handle = cache.open(2)
        handle.arm_fault(repair_point)
        handle.reclaim_slot(VICTIM)

    assert run_child(repair).was_killed
    after = run_child(lambda: is_sound(cache))
    assert after.is_fine, after
    cache.close()


def fill_to_the_cap(handle: Handle) -> None:
    """Nobody else is there and no step is armed yet, so no lock is needed."""
    queues = Queues(handle)
    for class_id in (1, 2):
        queues.push(class_id, *[1] * (queues.cap(class_id) - queues.length(class_id)))


def test_a_thousand_deaths_cost_nothing() -> None:
    """Every death is at another step, and none leaves a segment behind."""
    points = [name for name in PROBATION_POINTS if not name.startswith(("lru.rel", "lru.ghost"))]
    cache = Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER)
    handle = cache.open(0)
    handle.set_now(100)
    sets(handle, 2 * FULL)
    queues = Queues(handle)
    before = queues.bytes()
    deaths = 0
    for i in range(DEATHS):
        deaths += killed_at(
            cache, points[i % len(points)], 1, lambda one: sets(one, 1200), fill_to_the_cap
        )
        handle.reclaim_slot(VICTIM)
    assert deaths == DEATHS
    handle.check()
    assert queues.bytes() <= before
    handle.close()
    after = run_child(lambda: is_sound(cache))
    assert after.is_fine, after
    cache.close()
