"""Which log pages are freed, compacted or dropped."""

from dataclasses import replace

import pytest

from pymc.policy.compaction import (
    Compact,
    Plan,
    ReclaimSettings,
    Rescue,
    choose,
    target_free,
)
from pymc.policy.flash_index import index_bytes_max, index_entries_max
from pymc.policy.flash_snapshot import (
    CHUNKED,
    COLD_COMPACT,
    COMPACT,
    DEFAULT,
    LOW_TTL,
    OLD,
    FlashState,
    PageState,
    PageUse,
)

PAGE_BYTES = 1000
READ = ReclaimSettings()
ALL = ReclaimSettings(rescue=Rescue.ALL)


def full(version: int, used: int = 1000, read: int = 0, **more: object) -> PageState:
    page = PageState(version, PageUse.FULL, DEFAULT, DEFAULT, version, used, 100, 100, read)
    return replace(page, **more)  # type: ignore[arg-type]


def log(*pages: PageState, free: int = 0, **more: object) -> FlashState:
    """These pages by number, behind one that is open, and free ones at the end."""
    opened = PageState(0, PageUse.OPEN, version=1000)
    first = max((page.number for page in pages), default=0) + 1
    rest = [PageState(first + number, PageUse.FREE) for number in range(free)]
    state = FlashState(PAGE_BYTES, (opened, *pages, *rest))
    return replace(state, **more)  # type: ignore[arg-type]


def pages(count: int, used: int = 1000, read: int = 0) -> list[PageState]:
    return [full(version, used, read) for version in range(1, count + 1)]


def test_nothing_while_pages_are_free() -> None:
    assert choose(log(*pages(10, used=10), free=5), READ) == Plan()
    assert choose(log(), READ) == Plan()


def test_empty_and_dead_pages_go_at_once() -> None:
    state = log(full(1, objects=0), full(2, is_dead=True), full(3), free=5)
    assert choose(state, READ) == Plan(free=(1,), drain=(2,))


@pytest.mark.parametrize("settings", [READ, ALL])
def test_of_little_use_is_compacted_first(settings: ReclaimSettings) -> None:
    few = log(*pages(20), full(21, used=300), full(22, used=200), free=3)
    settings = replace(settings, compact_under_pages=4)
    assert choose(few, settings).compact == Compact(22, read_only=False)
    assert choose(few, replace(settings, max_frag=0.1)).compact is None


def test_what_is_old_and_unread_is_not_rescued_when_space_is_short() -> None:
    few = log(full(1, used=600), *[full(version) for version in range(2, 20)], free=2)
    settings = replace(READ, compact_under_pages=3)
    assert choose(few, settings).compact == Compact(1, read_only=True)
    assert choose(few, replace(settings, rescue=Rescue.ALL)).compact == Compact(1, read_only=False)
    little = log(full(1, used=200), *[full(version) for version in range(2, 20)], free=2)
    assert choose(little, settings).compact == Compact(1, read_only=False)


def test_the_oldest_goes_unread_or_is_rescued_in_part() -> None:
    unread = choose(log(*pages(20), free=1), READ)
    assert unread == Plan(drain=(1,), evicted=frozenset({1}))
    read = choose(log(*pages(20, read=20), free=1), READ)
    assert read == Plan(compact=Compact(1, read_only=True))
    # That would write too much again.
    assert choose(log(*pages(20, read=30), free=1), READ).drain == (1,)


def test_extstores_rule_waits_until_none_is_left() -> None:
    assert choose(log(*pages(20), free=1), ALL) == Plan()
    assert choose(log(*pages(20), free=0), ALL).drain == (1, 2)
    unread = replace(ALL, drop_unread=True)
    assert choose(log(*pages(20), free=1), unread).compact == Compact(1, read_only=True)


def test_low_ttl_is_never_compacted() -> None:
    low = [replace(page, bucket=LOW_TTL) for page in pages(20, used=100, read=50)]
    plan = choose(log(*low, free=1), READ)
    assert (plan.compact, plan.drain) == (None, (1,))


def test_compaction_gets_help_only_when_it_cannot_go_on() -> None:
    none_free = log(*pages(40, read=30))
    assert choose(none_free, READ, compacting=1) == Plan()
    stuck = choose(replace(none_free, compaction_waits_seconds=0.1), READ, compacting=1)
    assert stuck.drain and 1 not in stuck.drain
    late = choose(replace(none_free, write_out_waits_seconds=0.6), READ, compacting=1)
    assert late.drain and late.compact is None
    patient = choose(replace(none_free, write_out_waits_seconds=0.49), READ, compacting=1)
    assert patient == Plan()
    assert choose(replace(none_free, write_out_waits_seconds=0.5), READ, compacting=1).drain
    assert choose(replace(none_free, write_out_waits_seconds=0.1), READ, compacting=1) == Plan()


def test_nothing_is_read_back_when_space_is_urgent() -> None:
    """One page is left of three: the oldest go at once, however much of them was read."""
    urgent = log(*pages(62, read=10), free=1)
    assert target_free(urgent, READ) == 3
    assert choose(urgent, READ) == Plan(drain=(1, 2), evicted=frozenset({1, 2}))
    # Where all is to be kept, not before the last one is gone.
    assert choose(urgent, ALL) == Plan()


@pytest.mark.parametrize("free", [0, 1])
def test_nothing_is_dropped_while_little_of_a_page_is_wanted(free: int) -> None:
    """A small log of which everything is overwritten: what is live fits and stays."""
    log_of_nine = log(*[full(version, used=250 + version) for version in range(1, 9 - free)])
    state = replace(log_of_nine, pages=(*log_of_nine.pages, *log(free=free).pages[1:]))
    assert choose(state, READ).compact == Compact(1, read_only=False)
    assert choose(state, READ).drain == ()


def test_draining_pages_count_as_coming() -> None:
    draining = [replace(page, use=PageUse.DRAINING) for page in pages(3)]
    assert choose(log(*draining, *[full(n) for n in range(4, 20)]), READ) == Plan()


def test_a_sweep_serves_several_pages_of_a_large_log() -> None:
    plan = choose(log(*pages(640), free=0), READ)
    assert plan.drain == tuple(range(1, 11))


def test_a_full_index_lets_the_oldest_go() -> None:
    assert choose(log(*pages(10), free=10, index_is_full=True), READ).drain == (1,)


def test_labels_are_looked_after_apart() -> None:
    chunked = [replace(page, label=CHUNKED, bucket=CHUNKED) for page in pages(4)]
    plan = choose(log(*chunked, *[full(n) for n in range(5, 9)], free=5), READ)
    assert plan.drain == (1,)


def test_rescued_items_go_by_worth_where_labels_are() -> None:
    settings = replace(ALL, compact_under_pages=30)
    old = PageState(90, PageUse.FREE, OLD)
    cold = PageState(91, PageUse.FREE, COLD_COMPACT)
    young = full(9, used=10)
    oldest = full(1, used=10)
    assert choose(log(full(2), young, old, free=2), settings).compact == Compact(9, False, COMPACT)
    assert choose(log(full(2), oldest, old, free=2), settings).compact == Compact(1, False, OLD)
    assert choose(log(full(2), young, cold, free=2), settings).compact == Compact(
        9, False, COLD_COMPACT
    )


@pytest.mark.parametrize(("read", "stream"), [(4, COLD_COMPACT), (5, COMPACT)])
def test_what_little_was_read_of_is_cold(read: int, stream: int) -> None:
    """Of a hundred objects; at USEFUL_READ_SHARE they are worth as much as any."""
    settings = replace(ALL, compact_under_pages=30)
    cold = PageState(91, PageUse.FREE, COLD_COMPACT)
    state = log(full(2), full(9, used=10, read=read), cold, free=2)
    assert choose(state, settings).compact == Compact(9, False, stream)


@pytest.mark.parametrize(
    ("count", "streams", "wanted"),
    [
        (1, 1, 0),
        (2, 1, 1),
        (3, 1, 1),
        (4, 1, 1),
        (5, 1, 2),
        (9, 2, 2),
        (16, 2, 2),
        (64, 2, 4),
        (2000, 3, 20),
    ],
)
def test_target_of_free_pages(count: int, streams: int, wanted: int) -> None:
    free = tuple(PageState(number, PageUse.FREE) for number in range(count))
    state = FlashState(PAGE_BYTES, free, streams=frozenset(range(streams)))
    assert target_free(state, READ) == wanted


def test_pages_that_cannot_be_used_are_none_of_the_log() -> None:
    good = tuple(PageState(number, PageUse.FREE) for number in range(32))
    bad = tuple(PageState(number, PageUse.BAD) for number in range(32, 64))
    assert target_free(FlashState(PAGE_BYTES, (*good, *bad), streams=frozenset({0})), READ) == 2
    more = tuple(PageState(number, PageUse.FREE) for number in range(32, 64))
    assert target_free(FlashState(PAGE_BYTES, (*good, *more), streams=frozenset({0})), READ) == 3


def test_a_label_with_a_free_page_is_left_alone() -> None:
    chunked = [replace(page, label=CHUNKED, bucket=CHUNKED) for page in pages(4, used=10)]
    free = PageState(90, PageUse.FREE, label=CHUNKED)
    assert choose(log(*chunked, free, free=5), READ) == Plan()


def test_the_cheapest_of_the_oldest_tenth_is_given_up() -> None:
    made = pages(20, read=20)
    made[1], made[2] = full(2, read=10), full(3, read=6)
    assert choose(log(*made, free=1), READ).compact == Compact(2, read_only=True)


@pytest.mark.parametrize(("read", "is_rescued"), [(4, False), (5, True), (24, True), (25, False)])
def test_how_much_of_the_oldest_is_worth_writing_again(read: int, is_rescued: bool) -> None:
    """At least a twentieth of it, and less than a quarter of the page."""
    plan = choose(log(*pages(19, read=read), free=1), READ)
    assert plan.compact == (Compact(1, read_only=True) if is_rescued else None)
    assert plan.drain == (() if is_rescued else (1,))


def test_nothing_is_given_up_where_all_pages_are_being_filled() -> None:
    opened = tuple(PageState(number, PageUse.OPEN, version=number + 1) for number in range(5))
    state = FlashState(PAGE_BYTES, (*opened, PageState(5, PageUse.FREE)), streams=frozenset({0}))
    assert target_free(state, READ) == 2
    assert choose(state, READ) == Plan()


@pytest.mark.parametrize(("version", "read_only"), [(3, True), (4, False)])
def test_of_the_older_half_only_what_was_read_is_rescued(version: int, read_only: bool) -> None:
    """Two of six pages are older than the third one, three than the fourth."""
    made = pages(6)
    made[version - 1] = full(version, used=600)
    assert choose(log(*made, free=1), READ).compact == Compact(version, read_only=read_only)


@pytest.mark.parametrize(("used", "read_only"), [(500, False), (501, True)])
def test_a_page_of_which_half_is_wanted_is_cheap(used: int, read_only: bool) -> None:
    made = [full(1, used=used), *pages(6)[1:]]
    found = choose(log(*made, free=1), READ).compact
    assert found == Compact(1, read_only=read_only)
    assert found.is_cheap is not read_only


def test_a_tiny_log_still_turns_over() -> None:
    assert choose(log(full(1)), READ).drain == (1,)


def test_index_leaves_memory_for_items() -> None:
    assert index_bytes_max(1000) == 800
    assert index_entries_max(1200) == 80
