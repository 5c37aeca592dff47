"""Waits for a condition with a deadline: the one place where a test may pause."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# How many times slower this machine is than two cores that do little else.
SLOWNESS = float(os.environ.get("PYMC_TEST_SLOWNESS", "1"))


def scaled(seconds: float) -> float:
    """A deadline as long as this machine needs it; no test has a deadline that is not scaled."""
    return seconds * SLOWNESS


# Generous: two busy cores must never turn a passing test into a failing one.
WAIT_SECONDS = scaled(20.0)


class DeadlineError(AssertionError):
    """The condition did not become true in time."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    timeout_seconds: float = WAIT_SECONDS,
    pause_seconds: float = 0.005,
) -> T:
    """Calls `condition` until its result is true, and returns that result.

    Raises DeadlineError that names `what` after `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise DeadlineError(f"not within {timeout_seconds} s: {what}")
        time.sleep(pause_seconds)
