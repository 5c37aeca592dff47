"""When classes are searched for expired items."""

from dataclasses import replace

from pymc.policy.crawl import (
    WAIT_SECONDS_MAX,
    WAIT_SECONDS_MIN,
    ClassPlan,
    CrawlPlan,
    after_crawl,
    due_classes,
)
from pymc.policy.snapshot import CacheState, ClassState


def state(now: int, *classes: ClassState) -> CacheState:
    return CacheState(now, 10, 0, 10, classes)


def one(class_id: int, items: int = 1, checked: int = 0, reclaimed: int = 0) -> ClassState:
    return ClassState(
        class_id, 100, 1, 0, items, crawler_checked=checked, crawler_reclaimed=reclaimed
    )


def test_new_classes_wait_a_little() -> None:
    plan, due = due_classes(CrawlPlan(), state(10, one(1), one(2, items=0)))
    assert due == ()
    assert plan.classes == {1: ClassPlan(10 + WAIT_SECONDS_MIN, WAIT_SECONDS_MIN)}
    _, due = due_classes(plan, state(10 + WAIT_SECONDS_MIN, one(1)))
    assert due == (1,)


def test_wait_grows_where_nothing_is_found_and_shrinks_where_it_pays() -> None:
    plan = CrawlPlan({1: ClassPlan(100, 400)})
    before = state(100, one(1))
    idle = after_crawl(plan, before, state(110, one(1, checked=1000)), [1])
    assert idle.classes[1] == ClassPlan(910, 800)
    busy = after_crawl(plan, before, state(110, one(1, checked=1000, reclaimed=10)), [1])
    assert busy.classes[1] == ClassPlan(310, 200)


def test_wait_stays_in_bounds() -> None:
    for wait, reclaimed, expected in [
        (WAIT_SECONDS_MAX, 0, WAIT_SECONDS_MAX),
        (WAIT_SECONDS_MIN, 100, WAIT_SECONDS_MIN),
    ]:
        plan = CrawlPlan({1: ClassPlan(0, wait)})
        after = state(5, one(1, checked=100, reclaimed=reclaimed))
        assert after_crawl(plan, state(0, one(1)), after, [1]).classes[1].wait_seconds == expected


def test_classes_that_came_meanwhile_stay_as_they_are() -> None:
    plan = CrawlPlan({1: ClassPlan(5, 60)})
    assert after_crawl(plan, state(0), state(9, one(2)), [2]) == plan


def test_a_clock_that_went_back_makes_a_new_plan() -> None:
    plan = CrawlPlan({1: ClassPlan(1_000_000, 60)})
    plan, due = due_classes(plan, state(10, one(1)))
    assert due == ()
    assert plan.classes[1].due_seconds == 70


def test_classes_without_items_are_left_alone() -> None:
    plan = CrawlPlan({1: ClassPlan(0, 60)})
    assert due_classes(plan, state(10, replace(one(1), items=0)))[1] == ()
