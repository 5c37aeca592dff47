"""When each slab class is searched for expired items: often where it pays, else hourly."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pymc.policy.snapshot import CacheState, ClassState

WAIT_SECONDS_MIN = 60
WAIT_SECONDS_MAX = 3600
# A search pays when it frees this part of what it looks at.
WORTHWHILE_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """When a class is due on the cache's clock, and the wait that led there."""

    due_seconds: int
    wait_seconds: int


@dataclass(frozen=True, slots=True)
class CrawlPlan:
    """The plan of each class that ever had items."""

    classes: dict[int, ClassPlan] = field(default_factory=dict)


def due_classes(plan: CrawlPlan, state: CacheState) -> tuple[CrawlPlan, tuple[int, ...]]:
    """Which classes to search now, and the plan with classes that are new to it."""
    classes = dict(plan.classes)
    due = []
    for one in state.classes:
        if not one.items:
            continue
        known = classes.get(one.class_id)
        # The clock may jump back in tests; a plan far ahead of it is no plan.
        if known is None or known.due_seconds > state.now_seconds + WAIT_SECONDS_MAX:
            classes[one.class_id] = _plan(state.now_seconds, WAIT_SECONDS_MIN)
        elif known.due_seconds <= state.now_seconds:
            due.append(one.class_id)
    return CrawlPlan(classes), tuple(due)


def after_crawl(
    plan: CrawlPlan, before: CacheState, after: CacheState, searched: Iterable[int]
) -> CrawlPlan:
    """The plan after a search: sooner again where it paid, later where it did not."""
    classes = dict(plan.classes)
    now = after.now_seconds
    old = {one.class_id: one for one in before.classes}
    new = {one.class_id: one for one in after.classes}
    for class_id in searched:
        if class_id not in old or class_id not in new:
            continue
        wait = classes.get(class_id, _plan(now, WAIT_SECONDS_MIN)).wait_seconds
        wait = wait // 2 if _was_worthwhile(old[class_id], new[class_id]) else wait * 2
        wait = min(max(wait, WAIT_SECONDS_MIN), WAIT_SECONDS_MAX)
        classes[class_id] = _plan(now, wait)
    return CrawlPlan(classes)


def _plan(now_seconds: int, wait_seconds: int) -> ClassPlan:
    return ClassPlan(now_seconds + wait_seconds, wait_seconds)


def _was_worthwhile(before: ClassState, after: ClassState) -> bool:
    checked = after.crawler_checked - before.crawler_checked
    reclaimed = after.crawler_reclaimed - before.crawler_reclaimed
    return checked > 0 and reclaimed >= checked * WORTHWHILE_SHARE
