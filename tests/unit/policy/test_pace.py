"""Rests of background work, and delays before a restart."""

import pytest

from pymc.policy.pace import rest_seconds
from pymc.policy.restart import (
    DELAY_SECONDS_MAX,
    OOM_DELAY_SECONDS_MAX,
    OOM_ROW_SECONDS,
    count_death,
    count_oom_kill,
    oom_delay_seconds,
    restart_delay_seconds,
)


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


def test_pauses_grow_while_memory_is_short() -> None:
    delays = [oom_delay_seconds(kills) for kills in range(1, 8)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert oom_delay_seconds(1000) == OOM_DELAY_SECONDS_MAX


def test_a_row_of_kills_is_as_long_as_they_follow_each_other() -> None:
    assert count_oom_kill(0, 1e9) == 1
    assert count_oom_kill(3, OOM_ROW_SECONDS - 1) == 4
    assert count_oom_kill(3, OOM_ROW_SECONDS) == 1
    # The longest pause must not end a row.
    assert OOM_ROW_SECONDS > 2 * OOM_DELAY_SECONDS_MAX
