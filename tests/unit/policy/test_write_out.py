"""How far ahead of eviction classes are written out, who gets buffers, when a path goes."""

from dataclasses import replace

from pymc.policy.write_buffers import buffers_most, open_most, streams_to_begin
from pymc.policy.write_out import (
    ClassUse,
    ClassWork,
    MemoryUse,
    Trend,
    WriteOutSettings,
    follow,
    is_nearly_full,
    plan,
)

SETTINGS = WriteOutSettings(item_bytes_min=64)
CLASS = ClassUse(5, 700, 100_000, 0)


def seen(*uses: MemoryUse) -> Trend:
    trend = Trend()
    for use in uses:
        trend = follow(trend, use)
    return trend


def test_nothing_while_memory_is_left() -> None:
    trend = seen(MemoryUse(1, 10, 100, (CLASS,)))
    assert not is_nearly_full(trend, SETTINGS)
    assert is_nearly_full(Trend(), SETTINGS) is False
    assert plan(trend, SETTINGS) == []
    assert plan(Trend(), SETTINGS) == []


def test_memory_that_fills_fast_is_full_sooner() -> None:
    slow = seen(MemoryUse(1, 89, 100), MemoryUse(2, 90, 100))
    fast = seen(MemoryUse(1, 40, 100), MemoryUse(2, 90, 100))
    assert not is_nearly_full(slow, SETTINGS)
    assert is_nearly_full(fast, SETTINGS)
    assert is_nearly_full(seen(MemoryUse(1, 98, 100)), SETTINGS)


def test_the_window_follows_evictions() -> None:
    quiet = plan(seen(MemoryUse(1, 100, 100, (CLASS,))), SETTINGS)
    assert quiet == [ClassWork(5, 250, False, float("inf"))]
    busy = seen(
        MemoryUse(1, 100, 100, (CLASS,)),
        MemoryUse(1.5, 100, 100, (replace(CLASS, evicted=50_000, stored=50_000),)),
    )
    assert plan(busy, SETTINGS) == [ClassWork(5, 6000, False, 0.06)]
    rush = follow(busy, MemoryUse(2, 100, 100, (replace(CLASS, evicted=10**6),)))
    assert plan(rush, SETTINGS)[0].ahead_chunks == 10_000


def test_what_is_stored_is_not_what_is_evicted() -> None:
    """Overwrites evict nothing, so they make no window."""
    trend = seen(
        MemoryUse(1, 100, 100, (CLASS,)), MemoryUse(2, 100, 100, (replace(CLASS, stored=10**6),))
    )
    assert plan(trend, SETTINGS)[0].ahead_chunks == 250


def test_rates_fall_slowly_and_survive_a_reset() -> None:
    trend = seen(
        MemoryUse(1, 9, 9, (replace(CLASS, evicted=0),)),
        MemoryUse(2, 9, 9, (replace(CLASS, evicted=1000),)),
        MemoryUse(3, 9, 9, (replace(CLASS, evicted=1000),)),
    )
    assert trend.rates[5].evicted == 800
    assert follow(trend, MemoryUse(4, 9, 9, (CLASS,))).rates[5].evicted == 640


def test_two_looks_in_one_instant_say_nothing_of_rates() -> None:
    trend = seen(MemoryUse(1, 9, 9, (CLASS,)), MemoryUse(2, 9, 9, (replace(CLASS, evicted=50),)))
    again = follow(trend, MemoryUse(2, 9, 9, (replace(CLASS, evicted=90),)))
    assert again.rates == trend.rates
    assert follow(again, MemoryUse(3, 9, 9, (replace(CLASS, evicted=190),))).rates[5].evicted == 100


def test_free_chunks_are_used_first() -> None:
    some = seen(MemoryUse(1, 9, 9, (replace(CLASS, free_chunks=100),)))
    assert plan(some, SETTINGS)[0].ahead_chunks == 150
    many = seen(MemoryUse(1, 9, 9, (replace(CLASS, free_chunks=5000),)))
    assert plan(many, SETTINGS) == []


def test_classes_of_small_items_stay_out() -> None:
    assert plan(seen(MemoryUse(1, 9, 9, (replace(CLASS, chunk_bytes=63),))), SETTINGS) == []
    smallest = replace(CLASS, chunk_bytes=SETTINGS.item_bytes_min)
    assert len(plan(seen(MemoryUse(1, 9, 9, (smallest,))), SETTINGS)) == 1


def test_age_lets_items_go_while_memory_is_left() -> None:
    trend = seen(MemoryUse(1, 10, 100, (CLASS,)))
    aged = replace(SETTINGS, item_age_seconds=60)
    assert plan(trend, aged) == [ClassWork(5, 100_000, True, float("inf"))]


def test_age_goes_on_when_memory_is_full() -> None:
    trend = seen(MemoryUse(1, 100, 100, (CLASS,)))
    work = plan(trend, replace(SETTINGS, item_age_seconds=60))
    assert [(one.is_aged, one.ahead_chunks) for one in work] == [(False, 250), (True, 100_000)]


def test_those_that_evict_most_come_first() -> None:
    classes = (CLASS, replace(CLASS, class_id=6))
    after = (replace(CLASS, evicted=10), replace(CLASS, class_id=6, evicted=20))
    trend = seen(MemoryUse(1, 9, 9, classes), MemoryUse(2, 9, 9, after))
    assert [work.class_id for work in plan(trend, SETTINGS)] == [6, 5]


def test_buffers_take_a_part_of_memory() -> None:
    assert buffers_most(64 << 20, 4 << 20, 1, 8) == 6
    assert buffers_most(1 << 30, 4 << 20, 1, 8) == 8
    assert buffers_most(64 << 20, 4 << 20, 3, 14) == 7
    assert buffers_most(64 << 20, 4 << 20, 4, 14) == 9
    assert buffers_most(64 << 20, 4 << 20, 64, 64) == 9


def test_who_asks_gets_a_buffer_and_who_fills_them_the_rest() -> None:
    def begins(
        has: dict[int, int], wanted: set[int], busy: set[int], free: int = 4, most: int = 9
    ) -> list[int]:
        return streams_to_begin(has, frozenset(wanted), frozenset(busy), free, most)

    assert begins({}, {0}, set()) == [0]
    assert begins({0: 1}, {0}, set()) == []
    assert begins({}, {0}, set(), free=0) == []
    assert begins({}, {0, 2}, set(), free=1) == [0]
    # One stays free.
    assert begins({0: 1}, {0}, {0}) == [0, 0, 0]
    assert begins({0: 1}, {0, 2}, {0, 2}) == [2, 0, 2]
    assert begins({0: 1}, {0, 2}, {0}, free=1) == [2]
    assert begins({0: 1}, {0}, {0}, free=1) == []
    # A place in the log is taken by each.
    assert begins({0: 1}, {0, 2}, {0}, most=3) == [2, 0]
    assert begins({0: 2}, {0, 2}, {0}, most=2) == [2]


def test_a_small_log_is_not_for_what_is_to_come() -> None:
    assert open_most(16 << 20, 2 << 20) == 2
    assert open_most(1 << 30, 4 << 20) == 16
