"""Which class gives pages back: when the cache may have fewer, and when nobody wants them."""

from dataclasses import dataclass

from pymc.policy.snapshot import CacheState

# When no class has got a page for so long, what is free goes back to the system.
QUIET_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Move:
    """`pages` pages from one class to another, or to the pool (class 0)."""

    from_class: int
    to_class: int
    pages: int = 1
    may_evict: bool = True


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


def choose_unwanted(state: CacheState) -> Move | None:
    """The next page that goes to the pool since nobody wants it; no item is lost for that.

    A class with a little more than a page keeps it, so that its next item need not open one.
    """
    if state.quiet_seconds < QUIET_SECONDS:
        return None
    free = [one for one in state.classes if one.pages and (one.is_free or one.free_pages >= 2)]
    if not free:
        return None
    return Move(max(free, key=lambda one: one.free_pages).class_id, 0, may_evict=False)


def choose_trim(state: CacheState) -> int:
    """How many free pages go back to the system: what is above the limit, or what nobody wants."""
    if state.quiet_seconds >= QUIET_SECONDS:
        return state.pages_pool
    return max(0, min(state.pages_pool, state.pages_used + state.pages_pool - state.pages_limit))
