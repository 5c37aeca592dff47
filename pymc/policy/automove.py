"""Which slab class gives a page to which other one, from how old items get in each of them.

A class whose items are evicted young needs memory more than one whose items grow old. Ages and
evictions are watched over a window of seconds, so that a burst decides nothing.
"""

from dataclasses import dataclass, field, replace

from pymc.policy.snapshot import CacheState, ClassState

# A class gives to another only what leaves it this many pages.
SOURCE_PAGES_MIN = 3
# A class with more free pages than this gives one back for everybody.
FREE_PAGES_KEPT = 2.5
# Ages that differ by this factor call for more than one page at a time.
URGENT_FACTOR = 4
URGENT_SHARE = 20
# So many classes without memory get some at once.
STARVED_MAX = 8


@dataclass(frozen=True, slots=True)
class AutomoveSettings:
    """`level` 0 moves nothing by itself, 1 watches a window, 2 acts at each eviction."""

    level: int
    ratio: float
    window_seconds: int


@dataclass(frozen=True, slots=True)
class Move:
    """`pages` pages from one class to another, or to the pool (class 0)."""

    from_class: int
    to_class: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened to one class in one second."""

    age_seconds: int
    pages: int
    evicted: int
    out_of_memory: int
    is_quiet: bool


@dataclass(frozen=True, slots=True)
class History:
    """The samples of the window for each class, the newest last, and the state they end with."""

    last: CacheState | None = None
    samples: dict[int, tuple[Sample, ...]] = field(default_factory=dict)


def observe(history: History, state: CacheState, window_seconds: int) -> History:
    """The history with one more second."""
    before = {one.class_id: one for one in history.last.classes} if history.last else {}
    samples = {}
    for one in state.classes:
        sample = _sample(before.get(one.class_id, one), one)
        kept = history.samples.get(one.class_id, ())
        samples[one.class_id] = (*kept, sample)[-max(window_seconds, 1) :]
    return History(state, samples)


def _sample(before: ClassState, now: ClassState) -> Sample:
    # After a reset of the counters all that is left was counted since.
    evicted = now.evicted - before.evicted if now.evicted >= before.evicted else now.evicted
    failed = now.out_of_memory - before.out_of_memory
    if failed < 0:
        failed = now.out_of_memory
    is_quiet = not evicted and not failed and now.pages == before.pages
    return Sample(now.age_seconds, now.pages, evicted, failed, is_quiet)


def choose_moves(history: History, settings: AutomoveSettings) -> list[Move]:
    """What to move now; empty most of the time. At level 0 nothing."""
    state = history.last
    if state is None or settings.level == 0 or state.pages_spare > 0:
        return []
    classes = {one.class_id: one for one in state.classes}
    if moves := _for_starved(history, classes):
        return moves
    if settings.level == 2 and (move := _at_each_eviction(history, classes)):
        return [move]
    full = [
        class_id
        for class_id in classes
        if len(history.samples[class_id]) >= max(settings.window_seconds, 1)
    ]
    if move := _spare_pages(history, classes, full):
        return [move]
    move = _from_old_to_young(history, classes, full, settings.ratio)
    return [move] if move else []


def _age(history: History, class_id: int) -> float:
    samples = history.samples[class_id]
    return sum(sample.age_seconds for sample in samples) / len(samples)


def _richest(classes: dict[int, ClassState], besides: int) -> int | None:
    """The class with the most free memory, of those with a whole page of it."""
    rich = [c for c in classes.values() if c.class_id != besides and c.free_pages >= 1 and c.pages]
    return max(rich, key=lambda one: one.free_pages).class_id if rich else None


def _oldest(history: History, classes: dict[int, ClassState], besides: int) -> int | None:
    able = [
        one.class_id
        for one in classes.values()
        if one.class_id != besides and one.pages >= SOURCE_PAGES_MIN
    ]
    return max(able, key=lambda class_id: _age(history, class_id)) if able else None


def _for_starved(history: History, classes: dict[int, ClassState]) -> list[Move]:
    """Pages for classes that had to refuse items, or to borrow: they cannot wait for a window."""
    starved = [
        (history.samples[class_id][-1].out_of_memory, class_id)
        for class_id in classes
        if history.samples[class_id][-1].out_of_memory
    ]
    left = dict(classes)
    moves = []
    for _, to_class in sorted(starved, reverse=True)[:STARVED_MAX]:
        source = _richest(left, to_class) or _oldest(history, left, to_class)
        if source is None:
            break
        moves.append(Move(source, to_class))
        # What one class gave, the next one cannot have.
        given = left[source]
        free = max(given.free_chunks - given.chunks_per_page, 0)
        left[source] = replace(given, pages=given.pages - 1, free_chunks=free)
    return moves


def _at_each_eviction(history: History, classes: dict[int, ClassState]) -> Move | None:
    evicting = [
        (history.samples[class_id][-1].evicted, class_id)
        for class_id in classes
        if history.samples[class_id][-1].evicted
    ]
    if not evicting:
        return None
    to_class = max(evicting)[1]
    source = _richest(classes, to_class) or _oldest(history, classes, to_class)
    if not source or _age(history, source) <= _age(history, to_class):
        return None
    return Move(source, to_class)


def _spare_pages(history: History, classes: dict[int, ClassState], full: list[int]) -> Move | None:
    """A page of a quiet class with much free memory, for whoever asks next."""
    for class_id in full:
        is_quiet = all(sample.is_quiet for sample in history.samples[class_id])
        if is_quiet and classes[class_id].free_pages > FREE_PAGES_KEPT:
            return Move(class_id, 0)
    return None


def _from_old_to_young(
    history: History, classes: dict[int, ClassState], full: list[int], ratio: float
) -> Move | None:
    young = [
        (_age(history, class_id), class_id)
        for class_id in full
        if _evicting_seconds(history, class_id) > len(history.samples[class_id]) / 2
    ]
    if not young:
        return None
    youngest_age, youngest = min(young)
    oldest = _oldest(history, {i: classes[i] for i in full}, youngest)
    if oldest is None or not youngest_age < _age(history, oldest) * ratio:
        return None
    pages = 1
    if youngest_age * URGENT_FACTOR < _age(history, oldest):
        pages = max(1, classes[oldest].pages // URGENT_SHARE)
    return Move(oldest, youngest, pages)


def _evicting_seconds(history: History, class_id: int) -> int:
    return sum(1 for sample in history.samples[class_id] if sample.evicted)
