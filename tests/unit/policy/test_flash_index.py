"""What the flash tier's index may take, and when the operator is told that it takes much."""

import pytest

from pymc.policy.flash_index import (
    index_advice,
    index_bytes_max,
    index_entries_max,
    index_percent,
    is_warning_due,
)

MIB = 1 << 20


def test_the_index_stays_within_four_fifths() -> None:
    assert index_bytes_max(100 * MIB) == 80 * MIB
    assert index_entries_max(60 * 100) == 400


@pytest.mark.parametrize(
    ("index_bytes", "limit_bytes", "percent"),
    [(0, MIB, 0), (MIB - 1, MIB, 99), (3 * MIB, 4 * MIB, 75), (5, 0, 500)],
)
def test_the_part_of_memory(index_bytes: int, limit_bytes: int, percent: int) -> None:
    assert index_percent(index_bytes, limit_bytes) == percent


def test_advice_comes_before_items_have_to_go() -> None:
    assert index_advice(59) is None
    assert index_advice(60) == "index takes 60 % of memory: fewer, larger items or more -m"
    advised_bytes = 60 * MIB
    assert index_bytes_max(100 * MIB) > advised_bytes


@pytest.mark.parametrize(
    ("percent", "since_last_seconds", "is_due"),
    [
        (59, None, False),
        (60, None, True),
        (79, 0.0, False),
        (79, 3599.9, False),
        (79, 3600.0, True),
        (10, 3600.0, False),
    ],
)
def test_once_an_hour(percent: int, since_last_seconds: float | None, is_due: bool) -> None:
    assert is_warning_due(percent, since_last_seconds) is is_due
