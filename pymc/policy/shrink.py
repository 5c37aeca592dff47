"""Which class gives pages back when the cache may have fewer than it has."""

from dataclasses import dataclass

from pymc.policy.snapshot import CacheState


@dataclass(frozen=True, slots=True)
class Move:
    """`pages` pages from one class to another, or to the pool (class 0)."""

    from_class: int
    to_class: int
    pages: int = 1


def choose_release(state: CacheState) -> Move | None:
    """The next page to take away; None when there are few enough.

    Free memory goes first, then what was not used for longest; the last page of a class only when
    no class has two.
    """
    if state.pages_spare >= 0:
        return None
    having = [one for one in state.classes if one.pages > 0]
    if not having:
        return None
    rich = [one for one in having if one.free_pages >= 1]
    if rich:
        return Move(max(rich, key=lambda one: one.free_pages).class_id, 0)
    several = [one for one in having if one.pages > 1] or having
    return Move(max(several, key=lambda one: (one.age_seconds, one.pages)).class_id, 0)


def choose_trim(state: CacheState) -> int:
    """How many free pages go back to the system, so that classes and pool stay in the limit."""
    return max(0, min(state.pages_pool, state.pages_used + state.pages_pool - state.pages_limit))
