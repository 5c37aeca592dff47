"""The store against the reference, step by step, with much and with little memory."""

import pytest
from hypothesis import HealthCheck, settings

from tests.model.store_machine import StoreMachine, TightMachine

CALM = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TestMuchMemory = pytest.mark.slow(StoreMachine.TestCase)
TestMuchMemory.settings = CALM
TestLittleMemory = pytest.mark.slow(TightMachine.TestCase)
TestLittleMemory.settings = CALM
