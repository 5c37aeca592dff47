"""Which slab classes are searched for dead items, and how much of a core that may take.

Each second a sample of the cache tells which share of each class is dead. A class is searched as
soon as that pays: dead items then never take more than a few hundredths of the memory, and a class
in which nothing dies costs nothing but the sample.
"""

from dataclasses import dataclass

# A class is searched when at least this share of its sampled items is dead ...
DEAD_SHARE_MIN = 0.01
# ... and enough of them are, so that one dead item in a small sample decides nothing.
DEAD_SEEN_MIN = 2
# What the search may take of one core: as large a part as the items it frees are of those it
# looks at, within these bounds.
CORE_SHARE_MIN = 0.02
CORE_SHARE_MAX = 0.25


@dataclass(frozen=True, slots=True)
class ClassSample:
    """What a look at some chunks of a class found."""

    class_id: int
    items: int
    dead: int


def due_classes(samples: list[ClassSample]) -> tuple[int, ...]:
    """The classes in which a search pays now."""
    return tuple(
        one.class_id
        for one in samples
        if one.dead >= min(DEAD_SEEN_MIN, one.items) and one.dead >= one.items * DEAD_SHARE_MIN
    )


def core_share(items_seen: int, items_reclaimed: int) -> float:
    """The part of one core that a search may take, from what it has found so far."""
    found = items_reclaimed / items_seen if items_seen else CORE_SHARE_MAX
    return min(max(found, CORE_SHARE_MIN), CORE_SHARE_MAX)
