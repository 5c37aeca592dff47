"""Kills worker and keeper at every fault point that the flash tier has; what is on flash stays."""

from pathlib import Path

import pytest

from tests.crash.flash_rig import ROOMY, SURVIVOR, TIGHT, VICTIM, Plan, Rig, allowed_values, work
from tests.crash.flash_verify import check_values, judge
from tests.crash.points import FLASH_POINTS
from tests.support.children import Journal, run_child

pytestmark = pytest.mark.debug

# Only an index that outgrows its first size, and shrinks again, comes there.
GROWTH = ("chain", "pull", "split", "detach")
# Reached by who repairs: test_flash_index.py.
LEFT_OUT = ("flash.index.repair.",)
OPERATIONS_MAX = 1200
RUSH = 2400


POINTS = [name for name in FLASH_POINTS if not name.startswith(LEFT_OUT)]
GROWTH_POINTS = [
    name for name in POINTS if name.startswith(tuple(f"flash.index.{g}" for g in GROWTH))
]


def die_at(rig: Rig, point: str, countdown: int, plan: Plan, most: int) -> tuple[bool, int]:
    """Works in a child until the point is reached, if it is; and how many commands were begun."""
    journal = Journal()

    def begin(number: int) -> None:
        journal.begun = number

    def live() -> None:
        rig.enter(VICTIM)
        rig.arm(point, countdown)
        work(rig, plan, most, begin)
        rig.take_out_path(1)
        rig.bring_in_path(1)

    end = run_child(live)
    assert end.was_killed or end.is_fine, (point, end)
    return end.was_killed, journal.begun


def survive(rig: Rig, plan: Plan, begun: int, most_missing: int | None) -> None:
    """Run by a survivor, who meets the dead ones' locks and takes their slots over."""
    before, after = allowed_values(plan, begun)
    rig.enter(SURVIVOR)
    check_values(rig, before, after)
    rig.cache.open(VICTIM).close()
    judge(rig, plan, begun, most_missing)


@pytest.mark.parametrize("point", [name for name in POINTS if name not in GROWTH_POINTS])
def test_one_item_is_lost_at_most(tmp_path: Path, point: str) -> None:
    reached = 0
    for countdown in (1, 20):
        folder = tmp_path / str(countdown)
        folder.mkdir()
        plan = Plan(seed=countdown)
        with Rig(folder, ROOMY) as rig:
            rig.may_drop = False
            was_killed, begun = die_at(rig, point, countdown, plan, OPERATIONS_MAX)
            reached += was_killed
            if was_killed:
                # A path that is taken out takes all with it that only it has.
                most = None if point in ("flash.path.out", "flash.path.in") else 1
                end = run_child(lambda: survive(rig, plan, begun, most))  # noqa: B023
                assert end.is_fine, (point, countdown, end)
    assert reached


@pytest.mark.parametrize("point", GROWTH_POINTS)
def test_while_the_index_grows(tmp_path: Path, point: str) -> None:
    plan = Plan(seed=3, operations_per_step=150, rush=RUSH)
    with Rig(tmp_path, ROOMY) as rig:
        rig.may_drop = False
        was_killed, begun = die_at(rig, point, 1, plan, 2 * RUSH)
        assert was_killed
        end = run_child(lambda: survive(rig, plan, begun, 1))
        assert end.is_fine, (point, end)


@pytest.mark.parametrize("point", [name for name in POINTS if name not in GROWTH_POINTS])
def test_no_wrong_value_while_pages_are_dropped(tmp_path: Path, point: str) -> None:
    plan = Plan(seed=7)
    with Rig(tmp_path, TIGHT) as rig:
        was_killed, begun = die_at(rig, point, 3, plan, OPERATIONS_MAX)
        if was_killed:
            end = run_child(lambda: survive(rig, plan, begun, None))
            assert end.is_fine, (point, end)
