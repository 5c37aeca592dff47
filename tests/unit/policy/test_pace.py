"""Rests of background work, and delays before a restart."""

import pytest

from pymc.policy.pace import rest_seconds
from pymc.policy.restart import DELAY_SECONDS_MAX, count_death, restart_delay_seconds


@pytest.mark.parametrize(
    ("spent", "share", "rest"), [(1.0, 0.5, 1.0), (0.01, 0.01, 0.99), (0, 0.1, 0), (-1, 0.5, 0)]
)
def test_rest_keeps_the_share(spent: float, share: float, rest: float) -> None:
    assert rest_seconds(spent, share) == pytest.approx(rest)


def test_two_deaths_are_forgiven_then_delays_double() -> None:
    delays = [restart_delay_seconds(deaths) for deaths in range(1, 8)]
    assert delays == [0.0, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0]
    assert restart_delay_seconds(1000) == DELAY_SECONDS_MAX


def test_a_long_life_breaks_the_row() -> None:
    assert count_death(7, 0.1) == 8
    assert count_death(7, 60.0) == 1
    assert count_death(0, 0.1) == 1


def test_kills_from_outside_are_no_loop() -> None:
    assert count_death(2, 0.5, was_killed=True) == 1
    assert count_death(2, 0.5) == 3
    assert count_death(2, 0.01, was_killed=True) == 3
