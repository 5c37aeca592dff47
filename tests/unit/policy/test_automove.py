"""Automove: who gives and who gets, as rows of states over some seconds."""

from pymc.policy.automove import AutomoveSettings, History, Move, choose_moves, observe
from pymc.policy.snapshot import CacheState, ClassState

CAREFUL = AutomoveSettings(level=1, ratio=0.8, window_seconds=4)
EAGER = AutomoveSettings(level=2, ratio=0.8, window_seconds=4)
OFF = AutomoveSettings(level=0, ratio=0.8, window_seconds=4)


def one(class_id: int, age: int, *, pages: int = 10, free: int = 0, **counts: int) -> ClassState:
    return ClassState(class_id, 100, pages, free, 100, age_seconds=age, **counts)


def state(*classes: ClassState, spare: int = 0) -> CacheState:
    used = sum(one.pages for one in classes)
    return CacheState(100, used, 0, used + spare, classes)


def moves_after(settings: AutomoveSettings, *states: CacheState) -> list[Move]:
    history = History()
    for one_state in states:
        history = observe(history, one_state, settings.window_seconds)
    return choose_moves(history, settings)


def evicting(age: int, second: int) -> ClassState:
    return one(2, age, evicted=100 * second)


def test_old_gives_to_young_that_evicts() -> None:
    states = [state(one(1, 1000), evicting(300, second)) for second in range(5)]
    assert moves_after(CAREFUL, *states) == [Move(1, 2)]
    assert moves_after(OFF, *states) == []


def test_much_younger_gets_more_at_once() -> None:
    states = [state(one(1, 1000, pages=200), evicting(10, second)) for second in range(5)]
    assert moves_after(CAREFUL, *states) == [Move(1, 2, 10)]


def test_nothing_before_the_window_is_full() -> None:
    states = [state(one(1, 1000), evicting(10, second)) for second in range(3)]
    assert moves_after(CAREFUL, *states) == []


def test_nothing_while_pages_are_spare() -> None:
    states = [state(one(1, 1000), evicting(10, second), spare=1) for second in range(5)]
    assert moves_after(CAREFUL, *states) == []


def test_nothing_between_equals() -> None:
    states = [state(one(1, 1000), evicting(900, second)) for second in range(5)]
    assert moves_after(CAREFUL, *states) == []


def test_one_burst_of_evictions_decides_nothing() -> None:
    burst = [state(one(1, 1000), one(2, 10, evicted=min(second, 1))) for second in range(5)]
    assert moves_after(CAREFUL, *burst) == []


def test_few_pages_are_left_alone() -> None:
    states = [state(one(1, 1000, pages=2), evicting(10, second)) for second in range(5)]
    assert moves_after(CAREFUL, *states) == []


def test_eager_moves_at_the_first_eviction() -> None:
    states = [state(one(1, 1000), evicting(10, second)) for second in range(2)]
    assert moves_after(EAGER, *states) == [Move(1, 2)]
    assert moves_after(CAREFUL, *states) == []


def test_free_memory_of_a_quiet_class_goes_to_the_pool() -> None:
    quiet = one(1, 0, free=300)
    assert moves_after(CAREFUL, *[state(quiet, one(2, 5))] * 5) == [Move(1, 0)]
    # Somebody may take a page already: nobody waits for more.
    assert moves_after(CAREFUL, *[state(quiet, one(2, 5), spare=1)] * 5) == []


def test_who_had_to_refuse_items_waits_for_nothing() -> None:
    before = state(one(1, 0, free=150), one(3, 900, pages=20), one(2, 0, pages=1))
    after = state(one(1, 0, free=150), one(3, 900, pages=20), one(2, 0, pages=1, out_of_memory=5))
    assert moves_after(CAREFUL, before, after) == [Move(1, 2)]
    # Without free memory anywhere the oldest class gives.
    before = state(one(1, 5), one(3, 900), one(2, 0, pages=1))
    after = state(one(1, 5), one(3, 900), one(2, 0, pages=1, out_of_memory=5))
    assert moves_after(CAREFUL, before, after) == [Move(3, 2)]


def test_several_wait_for_nothing_while_there_is_something() -> None:
    hungry = [one(class_id, 0, pages=0) for class_id in range(2, 6)]
    refused = [one(class_id, 0, pages=0, out_of_memory=class_id) for class_id in range(2, 6)]
    before, after = state(one(1, 9, free=250), *hungry), state(one(1, 9, free=250), *refused)
    # Two pages are free; after that the class gives what it uses, as long as it keeps some.
    assert moves_after(CAREFUL, before, after) == [Move(1, class_id) for class_id in (5, 4, 3, 2)]
    before, after = state(one(1, 9, pages=4), *hungry), state(one(1, 9, pages=4), *refused)
    assert moves_after(CAREFUL, before, after) == [Move(1, 5), Move(1, 4)]


def test_reset_counters_are_no_negative_events() -> None:
    high = state(one(1, 1000), one(2, 10, evicted=10_000, out_of_memory=9))
    reset = state(one(1, 1000), one(2, 10))
    history = observe(observe(History(), high, 4), reset, 4)
    sample = history.samples[2][-1]
    assert (sample.evicted, sample.out_of_memory) == (0, 0)


def test_the_window_forgets() -> None:
    history = History()
    for _ in range(10):
        history = observe(history, state(one(1, 1)), 3)
    assert len(history.samples[1]) == 3
