"""Any sequence of commands means on flash what it means in memory, whatever the keeper does."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.flash_forgets import Forgets
from tests.model.flash_machine import KeeperWork
from tests.model.flash_same import SameAsMemory, SameInParts, SameWithoutNumbers

MACHINES = [SameAsMemory, SameInParts, SameWithoutNumbers, Forgets]


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_a_tier_means_what_memory_means(machine: type[KeeperWork]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=50, stateful_step_count=40))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", MACHINES)
def test_a_tier_means_what_memory_means_for_long(machine: type[KeeperWork]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=1500, stateful_step_count=100)
    )
