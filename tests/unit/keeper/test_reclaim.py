"""What the keeper's job about pages remembers, and what its policy is told of each page."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymc.core.flash import PageInfo, PageState
from pymc.keeper import reclaim as reclaim_module
from pymc.keeper.keeper import Keeper
from pymc.keeper.reclaim import Reclaim, _use_of
from pymc.policy.compaction import Plan
from pymc.policy.flash_snapshot import PageUse
from tests.support.deadline import scaled
from tests.support.inprocess import InProcess
from tests.support.keeper_tier import fill, tier, until


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[InProcess, Keeper]]:
    """A tier with a full page."""
    with tier(tmp_path, more=",ext_compress=0") as (server, keeper):
        fill(server, keeper, 12_000)
        until(keeper, lambda: bool(full_pages(server, keeper)), "a page is full")
        yield server, keeper


def reclaim_of(keeper: Keeper) -> Reclaim:
    assert keeper._tier is not None
    return keeper._tier._reclaim


def full_pages(server: InProcess, keeper: Keeper) -> list[int]:
    """Those that get no entries any more."""
    flash, writer = server.context.flash, reclaim_of(keeper)._writer
    assert flash is not None
    full = [n for n, page in enumerate(flash.pages()) if page.state is PageState.FULL]
    return [n for n in full if n not in writer.pages()]


def test_a_stream_that_lacks_a_page_is_in_a_hurry(filled: tuple[InProcess, Keeper]) -> None:
    _, keeper = filled
    reclaim = reclaim_of(keeper)
    far = time.monotonic() + scaled(60)
    reclaim._look_due = far
    reclaim.step()
    assert reclaim._look_due == far
    reclaim._writer.needs_page = True
    reclaim.step()
    # The look is near, or was made at once and the next one is due in its time.
    assert reclaim._look_due < far - scaled(30)
    assert not reclaim._writer.needs_page


def test_a_page_that_is_dropped_counts_as_evicted_and_a_rescued_one_does_not(
    filled: tuple[InProcess, Keeper],
) -> None:
    server, keeper = filled
    reclaim, flash = reclaim_of(keeper), server.context.flash
    assert flash is not None
    page = full_pages(server, keeper)[0]
    objects, used_bytes = flash.page(page).objects, flash.page(page).used_bytes
    assert objects and used_bytes
    names = ("ext_page_evictions", "ext_objects_evicted", "ext_bytes_evicted")

    def counted() -> list[int]:
        counters = reclaim._store.counters()
        return [counters[name] for name in names]

    before = counted()
    reclaim._apply(Plan(drain=(page,), evicted=frozenset()), flash.pages())
    assert counted() == before
    reclaim._apply(Plan(drain=(page,), evicted=frozenset({page})), flash.pages())
    assert counted() == [before[0] + 1, before[1] + objects, before[2] + used_bytes]


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


class Swept:
    """Two draining pages, a sweep that ends with its second step, and who can be freed then."""

    def __init__(self, freeable: set[int]) -> None:
        self.freeable = freeable
        self.states = dict.fromkeys((1, 2), PageState.DRAINING)
        self.steps_left = 2

    def sweep(self, buckets: int) -> bool:
        self.steps_left -= 1
        return self.steps_left > 0

    def free(self, number: int) -> None:
        if number in self.freeable:
            self.states[number] = PageState.FREE

    def page(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(state=self.states[number])


@pytest.mark.parametrize(("freeable", "count"), [({1, 2}, 2), ({2}, 1), (set(), 0)])
def test_a_swept_page_counts_when_it_is_free_and_the_next_look_is_made_at_once(
    tmp_path: Path, freeable: set[int], count: int
) -> None:
    with tier(tmp_path) as (_server, keeper):
        reclaim = reclaim_of(keeper)
        before = keeper._store.counters()["ext_page_reclaims"]
        reclaim._look_due, reclaim._sweeping = math.inf, frozenset({1, 2})
        reclaim._pages = reclaim._flash = cast(Any, Swept(freeable))
        reclaim._sweep()
        assert reclaim.is_sweeping and reclaim._look_due == math.inf
        reclaim._sweep()
        assert not reclaim.is_sweeping and reclaim._look_due == 0.0
        assert keeper._store.counters()["ext_page_reclaims"] - before == count
        assert reclaim.has_freed is (count > 0)


def test_pages_that_get_entries_yet_are_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a buffer still names would be missed, and the page would have to be swept again."""
    with tier(tmp_path) as (_server, keeper):
        reclaim = reclaim_of(keeper)
        pages = [page._replace(state=PageState.DRAINING) for page in reclaim._flash.pages()[:3]]
        monkeypatch.setattr(reclaim_module, "choose", lambda *_: Plan())
        monkeypatch.setattr(reclaim._flash, "pages", lambda: pages)
        monkeypatch.setattr(reclaim._writer, "pages", lambda: frozenset({1}))
        reclaim._look(0.0)
        assert reclaim._sweeping == {0, 2}
