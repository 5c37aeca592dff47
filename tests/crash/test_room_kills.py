"""Kills a process while it takes memory from other sizes, or at other processes' magazines."""

import pytest

from tests.crash.plan import COMPANION_SLOT, LATER_SECONDS, Companion, value_of
from tests.support.children import End, run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle

pytestmark = pytest.mark.debug

VICTIM = 1
REPAIRER = 2
BEGIN_SECONDS = 100
# What a store that needs room comes by; nobody calls for a move here.
POINTS = (
    "slab.collect.locked",
    "slab.commit.before",
    "slab.commit.after",
    "slab.drain.begun",
    "slab.drain.closed",
    "slab.drain.named",
    "slab.drain.removed",
    "slab.give.both",
    "slab.page.freed",
    "slab.page.owned",
    "slab.page.popped",
    "slab.take.named",
    "store.link.unlocked",
    "store.rescue.after",
    "store.rescue.before",
    "store.rescue.named",
    "store.rescue_part.after",
    "store.rescue_part.before",
    "store.unlink.after",
    "store.unlink.before",
)
REPAIR_POINTS = ("slab.repair.turns", "store.repair.slab", "store.repair.index")
# Sizes in turns, each for some seconds: inline, in parts, small, and so on.
PHASES = (200, 900, 2500, 60, 9000, 400)
PHASE_BYTES = 2 * MIB


def shape() -> Cache:
    return Cache(limit_bytes=5 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2)


def keys_of(phase: int, size: int) -> list[bytes]:
    return [b"%d.%d" % (phase, i) for i in range(PHASE_BYTES // (size + 60))]


def store_in_phases(handle: Handle, companion: Companion, rounds: int) -> None:
    """Each phase needs the pages of those before it, whose items are older."""
    now = BEGIN_SECONDS
    for phase in range(rounds * len(PHASES)):
        size = PHASES[phase % len(PHASES)]
        for i, key in enumerate(keys_of(phase, size)):
            if i % 50 == 0:
                now += 1
                handle.set_now(now)
                handle.turn()
                handle.rest()
                companion.visit(now)
                handle.wake()
            handle.put(key, value_of(key, phase, size))
            # Some are worth to be carried along.
            if i % 7 == 0:
                handle.get(key)
                handle.get(key)


def die(cache: Cache, point: str, countdown: int, warm_up: bool = False) -> End:
    def live() -> None:
        handle, companion = cache.open(VICTIM), Companion(cache)
        if warm_up:
            store_in_phases(handle, companion, 1)
        handle.arm_fault(point, countdown)
        store_in_phases(handle, companion, 1)

    return run_child(live)


def look_at_all(handle: Handle) -> None:
    for phase in range(2 * len(PHASES)):
        size = PHASES[phase % len(PHASES)]
        for key in keys_of(phase, size):
            found = handle.get(key)
            # The warm-up has the same keys.
            assert found in (None, value_of(key, phase, size)), (key, found and found[:80])


def classes(handle: Handle) -> range:
    return range(1, handle.slab().classes + 1)


def draining_pages(handle: Handle) -> int:
    return sum(handle.slab_class(i).draining_pages for i in classes(handle))


def collect_all(handle: Handle) -> int:
    """Begins a move of each class, which asks for the chunks of all that rest; what is left."""
    left = 0
    for class_id in classes(handle):
        move = handle.move_begin(class_id, 0)
        if move is not None:
            left += handle.slab_class(class_id).magazine_chunks
            handle.move_cancel(move)
    return left


def is_sound(cache: Cache) -> None:
    """Run by a survivor before anybody has the dead slots, and then by their new owners."""
    handle = cache.open(0)
    handle.set_now(LATER_SECONDS)
    handle.reclaim_slot(VICTIM)
    handle.reclaim_slot(COMPANION_SLOT)
    look_at_all(handle)
    # Both died with turns given away or freed by the repair: nothing stays in their magazines.
    assert collect_all(handle) == 0
    # What was theirs is used before they have new owners.
    for i in range(3000):
        key = b"0.%d" % i
        handle.put(key, value_of(key, 0, 200))
    victim = cache.open(VICTIM)
    companion = Companion(cache)
    handle.turn()
    # The moves that the dead had under way are given up; the survivor may have one of its own.
    victim.set_now(LATER_SECONDS)
    handle.set_now(LATER_SECONDS + 10)
    handle.turn()
    assert draining_pages(handle) == 0
    handle.check()
    store_in_phases(victim, companion, 1)
    look_at_all(handle)
    handle.limbo_step(1 << 20)
    handle.check()


def assert_sound(cache: Cache, *facts: object) -> None:
    after = run_child(lambda: is_sound(cache))
    assert after.is_fine, (facts, after)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_on_the_way(point: str) -> None:
    for countdown in (1, 3, 40):
        with shape() as cache:
            end = die(cache, point, countdown, warm_up=countdown > 1)
            assert end.was_killed or (countdown > 1 and end.is_fine), (point, countdown, end)
            assert_sound(cache, point, countdown)


@pytest.mark.slow
@pytest.mark.parametrize("repair_point", REPAIR_POINTS)
@pytest.mark.parametrize("point", POINTS)
def test_a_repairer_may_die_too(point: str, repair_point: str) -> None:
    with shape() as cache:
        assert die(cache, point, 1).was_killed

        def repair() -> None:
            handle = cache.open(REPAIRER)
            handle.arm_fault(repair_point)
            handle.reclaim_slot(VICTIM)

        assert run_child(repair).was_killed
        assert_sound(cache, point, repair_point)


def fill_three_pages(handle: Handle) -> None:
    for i in range(2500):
        handle.put(b"%d" % i, b"x" * 900)


@pytest.mark.parametrize("point", ["slab.drain.named", "slab.drain.closed"])
def test_a_successor_leaves_other_drains_alone(point: str) -> None:
    """The dead process's note may name a page that somebody else empties by now."""
    with shape() as cache:

        def die_with_a_note() -> None:
            handle = cache.open(VICTIM)
            fill_three_pages(handle)
            for i in range(2500):
                handle.delete(b"%d" % i)
            handle.arm_fault(point)
            move = handle.move_begin(handle.class_for(1024), 0)
            handle.move_step(move)

        def drain_all() -> None:
            handle = cache.open(0)
            handle.reclaim_slot(VICTIM)
            fill_three_pages(handle)
            class_id = handle.class_for(1024)
            pages = handle.slab_class(class_id).pages
            moves = [handle.move_begin(class_id, 0) for _ in range(pages)]
            assert None not in moves and pages == 3
            cache.open(VICTIM)
            assert handle.slab_class(class_id).draining_pages == pages
            for move in moves:
                handle.move_cancel(move)
            assert handle.slab_class(class_id).draining_pages == 0
            handle.check()

        end = run_child(die_with_a_note)
        assert end.was_killed, end
        after = run_child(drain_all)
        assert after.is_fine, after
