"""How far ahead of eviction classes are written out, what is admitted, when a path goes."""

from dataclasses import replace

from pymc.policy.admission import AdmissionSettings, WriteRate, admit
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

SETTINGS = WriteOutSettings()
CLASS = ClassUse(5, 700, 100_000, 0)


def seen(*uses: MemoryUse) -> Trend:
    trend = Trend()
    for use in uses:
        trend = follow(trend, use)
    return trend


def test_nothing_while_memory_is_left() -> None:
    trend = seen(MemoryUse(1, 10, 100, (CLASS,)))
    assert not is_nearly_full(trend, SETTINGS)
    assert plan(trend, SETTINGS) == []
    assert plan(Trend(), SETTINGS) == []


def test_memory_that_fills_fast_is_full_sooner() -> None:
    slow = seen(MemoryUse(1, 79, 100), MemoryUse(2, 80, 100))
    fast = seen(MemoryUse(1, 20, 100), MemoryUse(2, 80, 100))
    assert not is_nearly_full(slow, SETTINGS)
    assert is_nearly_full(fast, SETTINGS)
    assert is_nearly_full(seen(MemoryUse(1, 98, 100)), SETTINGS)


def test_the_window_follows_evictions() -> None:
    quiet = plan(seen(MemoryUse(1, 100, 100, (CLASS,))), SETTINGS)
    assert quiet == [ClassWork(5, 1500, True, float("inf"))]
    busy = seen(
        MemoryUse(1, 100, 100, (CLASS,)),
        MemoryUse(1.5, 100, 100, (replace(CLASS, evicted=5000, stored=5000),)),
    )
    assert plan(busy, SETTINGS) == [ClassWork(5, 9700, True, 0.97)]
    rush = follow(busy, MemoryUse(2, 100, 100, (replace(CLASS, evicted=10**6),)))
    assert plan(rush, SETTINGS)[0].ahead_chunks == 40_000


def test_the_window_shrinks_until_something_is_missed() -> None:
    trend = seen(MemoryUse(0, 100, 100, (CLASS,)))
    for look in range(1, 200):
        trend = follow(trend, MemoryUse(look, 100, 100, (replace(CLASS, evicted=1000 * look),)))
    assert trend.window_seconds == 0.15
    late = replace(CLASS, evicted=200_000)
    trend = follow(trend, MemoryUse(200, 100, 100, (late,), missed=10))
    assert trend.window_seconds > 0.2
    idle = follow(trend, MemoryUse(201, 100, 100, (late,), missed=10))
    assert idle.window_seconds == trend.window_seconds


def test_rates_fall_slowly_and_survive_a_reset() -> None:
    trend = seen(
        MemoryUse(1, 9, 9, (replace(CLASS, evicted=0),)),
        MemoryUse(2, 9, 9, (replace(CLASS, evicted=1000),)),
        MemoryUse(3, 9, 9, (replace(CLASS, evicted=1000),)),
    )
    assert trend.rates[5].evicted == 800
    assert follow(trend, MemoryUse(4, 9, 9, (CLASS,))).rates[5].evicted == 640


def test_free_chunks_are_used_first() -> None:
    some = seen(MemoryUse(1, 9, 9, (replace(CLASS, free_chunks=1000),)))
    assert plan(some, SETTINGS)[0].ahead_chunks == 500
    many = seen(MemoryUse(1, 9, 9, (replace(CLASS, free_chunks=5000),)))
    assert plan(many, SETTINGS) == []


def test_classes_of_small_items_stay_out() -> None:
    assert plan(seen(MemoryUse(1, 9, 9, (replace(CLASS, chunk_bytes=500),))), SETTINGS) == []


def test_age_lets_items_go_while_memory_is_left() -> None:
    trend = seen(MemoryUse(1, 10, 100, (CLASS,)))
    aged = replace(SETTINGS, item_age_seconds=60)
    assert plan(trend, aged) == [ClassWork(5, 100_000, False, float("inf"))]


def test_those_that_evict_most_come_first() -> None:
    classes = (CLASS, replace(CLASS, class_id=6))
    after = (replace(CLASS, evicted=10), replace(CLASS, class_id=6, evicted=20))
    trend = seen(MemoryUse(1, 9, 9, classes), MemoryUse(2, 9, 9, after))
    assert [work.class_id for work in plan(trend, SETTINGS)] == [6, 5]


def test_admission_is_extstores_rule() -> None:
    settings = AdmissionSettings(600, 30, 5, 256, unread_percent=0)
    rules = admit(settings, WriteRate(), is_short=False)
    assert (rules.item_bytes_min, rules.idle_seconds_min, rules.low_ttl_seconds) == (600, 30, 5)
    assert (rules.unread_percent, rules.compress_bytes_min) == (0, 256)
    assert admit(settings, WriteRate(), is_short=True).idle_seconds_min == 0


def test_compression_gives_way_when_the_processor_is_short() -> None:
    behind = WriteRate(1e8, missed_per_second=1000, added_per_second=1000, device_busy_share=0.2)
    assert admit(AdmissionSettings(), behind, is_short=True).compress_bytes_min == 0
    slow_device = replace(behind, device_busy_share=0.95)
    assert admit(AdmissionSettings(), slow_device, is_short=True).compress_bytes_min == 256
