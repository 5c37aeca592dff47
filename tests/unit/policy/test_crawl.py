"""When classes are searched for dead items, and what that may cost."""

import pytest

from pymc.policy.crawl import (
    CORE_SHARE_MAX,
    CORE_SHARE_MIN,
    ClassSample,
    core_share,
    due_classes,
)


def test_nothing_dead_nothing_due() -> None:
    assert due_classes([]) == ()
    assert due_classes([ClassSample(1, 2000, 0), ClassSample(2, 1, 0)]) == ()


def test_a_hundredth_is_worth_it() -> None:
    assert due_classes([ClassSample(3, 2000, 20), ClassSample(4, 2000, 19)]) == (3,)


def test_one_stray_item_in_a_sample_decides_nothing_unless_it_is_all_there_is() -> None:
    assert due_classes([ClassSample(1, 50, 1)]) == ()
    assert due_classes([ClassSample(1, 50, 2)]) == (1,)
    assert due_classes([ClassSample(2, 1, 1)]) == (2,)


@pytest.mark.parametrize(
    ("seen", "reclaimed", "share"),
    [
        (0, 0, CORE_SHARE_MAX),
        (1000, 0, CORE_SHARE_MIN),
        (1000, 100, 0.1),
        (1000, 1000, CORE_SHARE_MAX),
    ],
)
def test_the_share_follows_what_is_found(seen: int, reclaimed: int, share: float) -> None:
    assert core_share(seen, reclaimed) == share
