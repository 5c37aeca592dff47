"""Any sequence of operations of two processes means what the reference says."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.model import choices
from tests.model.machine import StoreMachine
from tests.support.core.driver import LADDER, MIB, TINY_LADDER, Shape

LIVE = {"item_bytes_max": choices.ITEM_BYTES_MAX}


class RoomyStore(StoreMachine):
    """There is memory for everything, so nothing may be forgotten."""

    shape = Shape(64 * MIB, 96 * MIB, 4, LADDER, 2, LIVE)

    @rule(slot=choices.slots, mib=st.integers(56, 96))
    def set_limit(self, slot: int, mib: int) -> None:
        assert self.actors.call(slot, "set_limit", mib * MIB) == 0


class TightStore(StoreMachine):
    """There are pages for some of it."""

    shape = Shape(3 * MIB, 8 * MIB, 4, LADDER, 2, LIVE)
    may_forget = True
    may_refuse = True

    @rule(slot=choices.slots, mib=st.integers(2, 8))
    def set_limit(self, slot: int, mib: int) -> None:
        assert self.actors.call(slot, "set_limit", mib * MIB) == 0


class PartedStore(StoreMachine):
    """A largest chunk of 4 KiB: many values have parts, and pages hold parts of many items."""

    shape = Shape(6 * MIB, 12 * MIB, 4, (*TINY_LADDER, 4096), 2, LIVE)
    may_forget = True
    may_refuse = True


class PlainStore(RoomyStore):
    """Without CAS numbers (-C) the order of stores still tells what a flush covers."""

    shape = Shape(64 * MIB, 96 * MIB, 4, LADDER, 2, {**LIVE, "cas_enabled": 0})


class FullStore(TightStore):
    """Without evictions the store refuses what does not fit, and keeps what it has."""

    shape = Shape(3 * MIB, 8 * MIB, 4, LADDER, 2, {**LIVE, "evictions_enabled": 0})
    may_forget = False
    evicts = False


MACHINES = [RoomyStore, PlainStore, TightStore, PartedStore, FullStore]


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_operations_mean_what_the_reference_says(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=40))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", MACHINES)
def test_many_operations_mean_what_the_reference_says(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=2000, stateful_step_count=100)
    )
