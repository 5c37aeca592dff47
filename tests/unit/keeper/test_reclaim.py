"""What the policy of pages is told of those that cannot be written: late and full paths."""

import pytest

from pymc.core.flash import PageInfo, PageState
from pymc.keeper.reclaim import _use_of
from pymc.policy.flash_snapshot import PageUse


def page(state: PageState, *, is_writable: bool, objects: int = 5) -> PageInfo:
    return PageInfo(1, 4096, 4096, 1, 0, objects, objects, 0, state, 0, 0, 0, is_writable)


@pytest.mark.parametrize("state", list(PageState))
def test_where_records_may_go_pages_are_what_they_are(state: PageState) -> None:
    assert _use_of(page(state, is_writable=True), is_dead=False) is PageUse(state)


@pytest.mark.parametrize("state", [PageState.FREE, PageState.DRAINING])
def test_a_page_that_nobody_can_write_is_not_free(state: PageState) -> None:
    assert _use_of(page(state, is_writable=False), is_dead=False) is PageUse.BAD


def test_wanted_items_are_not_given_up_for_nothing() -> None:
    full = page(PageState.FULL, is_writable=False)
    assert _use_of(full, is_dead=False) is PageUse.OPEN
    assert _use_of(full, is_dead=True) is PageUse.FULL
    empty = page(PageState.FULL, is_writable=False, objects=0)
    assert _use_of(empty, is_dead=False) is PageUse.FULL
