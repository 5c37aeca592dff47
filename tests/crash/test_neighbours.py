"""Kills a process while it takes chunks and pages from one that rests; who rested goes on."""

import pytest

from tests.crash.points import NEIGHBOUR_POINTS
from tests.support.children import run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle

pytestmark = pytest.mark.debug

VICTIM = 1


def fill(handle: Handle, prefix: bytes, count: int, value_bytes: int) -> None:
    for number in range(count):
        handle.put(b"%s%d" % (prefix, number), b"x" * value_bytes)


def hold_pages(neighbour: Handle) -> None:
    """Begins to empty all pages it can."""
    for class_id in range(1, neighbour.slab().classes + 1):
        while neighbour.move_begin(class_id, 0):
            pass


@pytest.mark.parametrize("countdown", [1, 2, 3])
@pytest.mark.parametrize("point", NEIGHBOUR_POINTS)
def test_who_rested_goes_on(point: str, countdown: int) -> None:
    with Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER) as cache:
        neighbour = cache.open(0)
        neighbour.set_now(100)
        fill(neighbour, b"k", 6000, 900)
        if point.startswith("slab.drain."):
            hold_pages(neighbour)
        else:
            # It has chunks of these items' class set aside.
            for number in range(5990, 6000):
                neighbour.delete(b"k%d" % number)
        neighbour.rest()

        def work() -> None:
            victim = cache.open(VICTIM)
            victim.set_now(100)
            victim.arm_fault(point, countdown)
            for size in (30, 100, 300, 900, 30, 500):
                fill(victim, b"v%d." % size, 400, size)

        end = run_child(work)
        assert end.was_killed or (countdown > 1 and end.is_fine), end
        neighbour.wake()
        neighbour.turn()
        neighbour.reclaim_slot(VICTIM)
        neighbour.check()
        fill(neighbour, b"n", 3000, 400)
        assert neighbour.get(b"n2999") is not None
        neighbour.check()
        assert neighbour.counters()["store_no_memory"] == 0
