"""Which page goes first when the cache has too many."""

from dataclasses import replace

from pymc.policy.shrink import (
    QUIET_SECONDS,
    Move,
    choose_release,
    choose_trim,
    choose_unwanted,
)
from pymc.policy.snapshot import CacheState, ClassState


def state(*classes: ClassState, limit: int, pool: int = 0) -> CacheState:
    return CacheState(0, sum(one.pages for one in classes), pool, limit, classes)


def one(class_id: int, pages: int, free: int = 0, age: int = 0) -> ClassState:
    return ClassState(class_id, 100, pages, free, age)


def test_nothing_while_there_is_room() -> None:
    assert choose_release(state(one(1, 5), limit=5)) is None
    assert choose_release(state(limit=-1)) is None


def test_free_memory_first() -> None:
    full, free = one(1, 5, age=900), one(2, 5, free=250)
    assert choose_release(state(full, free, limit=9)) == Move(2, 0)
    # A whole page of it, and no less.
    assert choose_release(state(full, one(2, 5, free=100), limit=9)) == Move(2, 0)
    assert choose_release(state(full, one(2, 5, free=99), limit=9)) == Move(1, 0)


def test_then_the_oldest() -> None:
    assert choose_release(state(one(1, 5, age=9), one(2, 5, age=900), limit=9)) == Move(2, 0)


def test_last_pages_only_when_nobody_has_two() -> None:
    assert choose_release(state(one(1, 1, age=900), one(2, 2), limit=1)) == Move(2, 0)
    assert choose_release(state(one(1, 1, age=900), one(2, 1), limit=1)) == Move(1, 0)


def test_pool_pages_above_the_limit_go_back() -> None:
    assert choose_trim(state(one(1, 5), limit=7, pool=2)) == 0
    assert choose_trim(state(one(1, 5), limit=6, pool=2)) == 1
    assert choose_trim(state(one(1, 5), limit=1, pool=2)) == 2


def quiet(*classes: ClassState, pool: int = 0, seconds: int = QUIET_SECONDS) -> CacheState:
    return replace(state(*classes, limit=20, pool=pool), quiet_seconds=seconds)


def test_what_nobody_wants_goes_to_the_pool_and_then_to_the_system() -> None:
    assert choose_unwanted(quiet(one(1, 2, free=199))) is None
    assert choose_unwanted(quiet(one(1, 5, free=200))) == Move(1, 0, may_evict=False)
    assert choose_unwanted(quiet(one(1, 5), one(2, 1, free=100))) == Move(2, 0, may_evict=False)
    assert choose_unwanted(quiet(one(1, 5, free=500), seconds=QUIET_SECONDS - 1)) is None
    assert choose_trim(quiet(one(1, 5), pool=7)) == 7
    assert choose_trim(quiet(one(1, 5), pool=7, seconds=QUIET_SECONDS - 1)) == 0
