"""Kills processes that work on the fingerprint index: at every fault point, at any moment."""

import random
import threading
from pathlib import Path

import pytest

from tests.crash.flash_plan import PlanJournal, empty, look, operations, work
from tests.crash.points import fault_points
from tests.support.children import Child, End, run_child
from tests.support.core.flash_index_driver import NO_MEMORY, Handle, Tier, hash_of
from tests.support.deadline import wait_until

POINTS = [name for name in fault_points() if name.startswith("flash.index.")]
REPAIR_POINTS = [name for name in POINTS if name.startswith("flash.index.repair.")]
# Reached only by who finds what a dead process left in a bucket that was not in use yet.
CLEAR_POINTS = [name for name in POINTS if name.startswith("flash.index.clear.")]
WORK_POINTS = [name for name in POINTS if name not in REPAIR_POINTS + CLEAR_POINTS]
OWN_THREAD = threading.get_native_id()
VICTIM = 1
SURVIVOR = 2
OPERATIONS_MAX = 9000
# Room for a few buckets more than at the start: overflow buckets run out.
TIGHT_BYTES = 20 * 1024


def threads_sleep() -> bool:
    """Tells whether all other threads of this process wait for something."""
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != str(OWN_THREAD)]
    try:
        states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks]
    except OSError:
        # One has just ended.
        return False
    return all(state == "S" for state in states)


@pytest.fixture(autouse=True)
def quiet() -> None:
    """A thread of the test runner that has just begun may hold a sanitizer's lock in a fork."""
    wait_until(threads_sleep, "the test runner's threads are at rest")


def die_at(tier: Tier, point: str, countdown: int, seed: int, journal: PlanJournal) -> End:
    """Works in a child until the point is reached for the countdown-th time."""

    def action() -> None:
        handle = tier.open(VICTIM)
        handle.arm_fault(point, countdown)
        work(handle, seed, VICTIM, journal, OPERATIONS_MAX)

    return run_child(action)


def work_and_look(handle: Handle, seed: int, page: int) -> None:
    journal = PlanJournal()
    work(handle, seed, page, journal, 2000)
    look(handle, seed, page, journal)


def survive(tier: Tier, seed: int, journal: PlanJournal) -> None:
    """Run in a child: repairs, looks at everything, goes on, and a successor as well."""
    handle = tier.open(SURVIVOR)
    handle.repair(VICTIM)
    look(handle, seed, VICTIM, journal)
    tier.check()
    work_and_look(handle, seed, SURVIVOR)
    empty(tier, handle, 1)
    with tier.open(VICTIM) as successor:
        work_and_look(successor, seed + 1, VICTIM)
    empty(tier, handle, 0)


class TestPoints:
    pytestmark = pytest.mark.debug

    def test_there_are_points(self) -> None:
        assert len(WORK_POINTS) >= 15
        assert len(REPAIR_POINTS) == 3

    @pytest.mark.parametrize("point", WORK_POINTS)
    def test_nothing_is_lost(self, point: str) -> None:
        for countdown in (1, 2, 9, 40):
            with Tier() as tier:
                journal = PlanJournal()
                end = die_at(tier, point, countdown, countdown, journal)
                if not end.was_killed:
                    assert countdown > 2, f"{point} is not reached: {end.text}"
                    continue
                after = run_child(lambda: survive(tier, countdown, journal))  # noqa: B023
                assert after.is_fine, (point, countdown, after)

    @pytest.mark.parametrize("point", WORK_POINTS)
    def test_nothing_is_wrong_when_the_index_is_full(self, point: str) -> None:
        for countdown in (1, 5):
            with Tier(index_bytes_max=TIGHT_BYTES) as tier:
                journal = PlanJournal()
                end = die_at(tier, point, countdown, countdown + 50, journal)
                assert end.was_killed or countdown > 1, f"{point} is not reached: {end.text}"
                after = run_child(lambda: survive(tier, countdown + 50, journal))  # noqa: B023
                assert after.is_fine, (point, countdown, after)

    @pytest.mark.parametrize("point", WORK_POINTS)
    def test_a_repairer_may_die_too(self, point: str) -> None:
        for repair_point in (*REPAIR_POINTS, "flash.index.overflow.given"):
            with Tier() as tier:
                journal = PlanJournal()
                assert die_at(tier, point, 2, 7, journal).was_killed

                def repair() -> None:
                    handle = tier.open(3)
                    handle.arm_fault(repair_point)  # noqa: B023
                    handle.repair(VICTIM)

                end = run_child(repair)
                assert end.was_killed or end.is_fine, end
                after = run_child(lambda: survive(tier, 7, journal))  # noqa: B023
                assert after.is_fine, (point, repair_point, after)

    @pytest.mark.parametrize("point", CLEAR_POINTS)
    def test_what_a_split_left_is_cleared(self, point: str) -> None:
        """A chain of entries that all move was copied but nobody could see it."""
        with Tier() as tier:

            def fill(slot: int, fault: str) -> None:
                handle = tier.open(slot)
                handle.repair(VICTIM)
                handle.arm_fault(fault)
                for i in range(50):
                    handle.remove_all(hash_of(0, 2 * i + 1))
                    assert handle.insert(hash_of(0, 2 * i + 1), i) == 0
                for i in range(2000):
                    assert handle.insert(hash_of(1 + i % 63, i), 1000 + i) != NO_MEMORY

            assert run_child(lambda: fill(VICTIM, "flash.index.split.copied")).was_killed
            assert run_child(lambda: fill(SURVIVOR, point)).was_killed

            def finish() -> None:
                handle = tier.open(3)
                handle.repair(SURVIVOR)
                tier.check()
                assert all(handle.find(hash_of(0, 2 * i + 1)) for i in range(50))
                for i in range(2000):
                    assert handle.insert(hash_of(1 + i % 63, i), 4000 + i) != NO_MEMORY
                assert all(handle.find(hash_of(0, 2 * i + 1)) for i in range(50))
                empty(tier, handle, 2)

            end = run_child(finish)
            assert end.is_fine, end


def rounds(tier: Tier, seed: int, count: int) -> None:
    """Workers with a page each; some are killed at random moments, the others go on."""
    dice = random.Random(seed)
    for number in range(count):
        journals = {slot: PlanJournal() for slot in (1, 2, 3)}
        children = {
            slot: Child(lambda: work(tier.open(slot), seed + number, slot, journal, 1 << 30))  # noqa: B023
            for slot, journal in journals.items()
        }
        victims = dice.sample((1, 2, 3), dice.choice((1, 1, 2, 3)))
        until = dice.randrange(1, 4000)
        wait_until(
            lambda: all(journals[victim].begun >= until for victim in victims),  # noqa: B023
            "the workers get on with their plans",
            pause_seconds=0.0002,
        )
        for victim in victims:
            children[victim].kill()
        for slot, child in children.items():
            journals[slot].stop()
            end = child.wait()
            assert end.was_killed if slot in victims else end.is_fine, (seed, number, end)

        def finish() -> None:
            handle = tier.open(0)
            for slot, journal in journals.items():  # noqa: B023
                handle.repair(slot)
                look(handle, seed + number, slot, journal)  # noqa: B023
            empty(tier, handle, len(victims))  # noqa: B023

        end = run_child(finish)
        assert end.is_fine, (seed, number, end)


def test_a_refused_entry_is_not_missed_and_any_other_is() -> None:
    """Others fill the index, so that insertions of a plan are refused though nobody dies."""
    small = Tier(index_bytes_max=1)
    with small as tier, tier.open(SURVIVOR) as other, tier.open(VICTIM) as handle:
        statuses = (other.insert(hash_of(i % 64, i << 8), i) for i in range(1 << 12))
        assert next(status for status in statuses if status) == NO_MEMORY
        journal = PlanJournal()
        work(handle, 1, VICTIM, journal, 2000)
        assert journal.refused
        look(handle, 1, VICTIM, journal)
        there = next(
            one for one in operations(1, VICTIM) if handle.entry_at(one.key_hash, one.address)
        )
        other.remove(there.key_hash, there.address)
        with pytest.raises(AssertionError, match="missing"):
            look(handle, 1, VICTIM, journal)


@pytest.mark.slow
def test_random_kills() -> None:
    with Tier(index_bytes_max=64 << 20) as tier:
        rounds(tier, 1, 12)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_random_kills() -> None:
    with Tier(index_bytes_max=64 << 20) as tier:
        rounds(tier, 1000, 500)
