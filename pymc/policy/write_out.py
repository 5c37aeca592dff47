"""How far ahead of eviction each slab class is copied to flash.

While memory is left nothing goes there, unless ext_item_age says so. Once it is nearly used up, a
window of the items that are next in line is kept clean: large enough for what is evicted until the
next look, small enough that few items are written which would have changed or been read before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pymc.policy.admission import NO_AGE

# The window in parts of the class, and in seconds of evictions.
WINDOW_SHARE_MIN = 0.015
WINDOW_SHARE_MAX = 0.4
# Long at first and after items were evicted that were not on flash yet, shorter while all goes
# well: what is written early may be written for nothing.
WINDOW_SECONDS_MIN = 0.15
WINDOW_SECONDS_MAX = 1.0
WINDOW_GROWS = 1.5
WINDOW_SHRINKS = 0.97
MISSED_SHARE = 0.002
WINDOW_CHUNKS_MIN = 64
# Memory that runs out within this time is used up.
FILL_SECONDS = 0.5
FREE_PAGES_MIN = 2


@dataclass(frozen=True, slots=True)
class ClassUse:
    """One slab class. Counts of events only grow, except when `stats reset` clears them."""

    class_id: int
    chunk_bytes: int
    chunks: int
    free_chunks: int
    evicted: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Pages of the whole cache and its classes, at a time on the monotonic clock."""

    seconds: float
    pages_used: int
    pages_limit: int
    classes: tuple[ClassUse, ...] = ()
    # Items evicted before they were on flash, though large enough.
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """Events per second of one class."""

    evicted: float = 0.0
    stored: float = 0.0


@dataclass(frozen=True, slots=True)
class Trend:
    """What changed between two looks."""

    last: MemoryUse | None = None
    pages_per_second: float = 0.0
    rates: Mapping[int, Rates] = field(default_factory=dict)
    window_seconds: float = WINDOW_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class WriteOutSettings:
    """ext_item_size, ext_item_age, and the part of memory to keep free."""

    item_bytes_min: int = 512
    item_age_seconds: int = NO_AGE
    free_share: float = 0.01


@dataclass(frozen=True, slots=True)
class ClassWork:
    """How many items of a class to look at, of each kind; `is_short`: whatever their age."""

    class_id: int
    ahead_chunks: int
    is_short: bool
    # How long the window lasts at the present rate of evictions.
    lasts_seconds: float


def follow(trend: Trend, now: MemoryUse) -> Trend:
    """The trend with one more look. Rates rise at once and fall slowly, as bursts come again."""
    if trend.last is None or now.seconds <= trend.last.seconds:
        return Trend(now, 0.0, trend.rates, trend.window_seconds)
    passed = now.seconds - trend.last.seconds
    before = {one.class_id: one for one in trend.last.classes}
    rates = {}
    all_evicted = 0
    for one in now.classes:
        old = before.get(one.class_id)
        known = trend.rates.get(one.class_id, Rates())
        # After a reset of the counters all that is left was counted since.
        evicted = one.evicted - old.evicted if old and one.evicted >= old.evicted else 0
        stored = one.stored - old.stored if old and one.stored >= old.stored else 0
        all_evicted += evicted
        rates[one.class_id] = Rates(
            _followed(known.evicted, evicted / passed), _followed(known.stored, stored / passed)
        )
    pages = max(now.pages_used - trend.last.pages_used, 0) / passed
    window = trend.window_seconds
    if all_evicted:
        missed = now.missed - trend.last.missed
        window *= WINDOW_GROWS if missed > MISSED_SHARE * all_evicted else WINDOW_SHRINKS
        window = min(max(window, WINDOW_SECONDS_MIN), WINDOW_SECONDS_MAX)
    return Trend(now, _followed(trend.pages_per_second, pages), rates, window)


def _followed(old: float, new: float) -> float:
    return new if new >= old else old * 0.8 + new * 0.2


def is_nearly_full(trend: Trend, settings: WriteOutSettings) -> bool:
    """Whether memory is used up, or will be before the next looks."""
    use = trend.last
    if use is None:
        return False
    left = use.pages_limit - use.pages_used
    kept = max(FREE_PAGES_MIN, settings.free_share * use.pages_limit)
    return left <= max(kept, trend.pages_per_second * FILL_SECONDS)


def plan(trend: Trend, settings: WriteOutSettings) -> list[ClassWork]:
    """The classes to work on, those that evict most first; empty when there is nothing to do."""
    use = trend.last
    if use is None:
        return []
    is_full = is_nearly_full(trend, settings)
    work: list[ClassWork] = []
    for one in use.classes:
        # Not its items: a class may hold nothing but parts of large ones.
        if one.free_chunks >= one.chunks or one.chunk_bytes < settings.item_bytes_min:
            continue
        rates = trend.rates.get(one.class_id, Rates())
        window = _window(one, rates, trend.window_seconds)
        # Free chunks are used before anything is evicted.
        ahead = window - one.free_chunks
        if is_full and ahead > 0:
            lasts = ahead / rates.evicted if rates.evicted else float("inf")
            work.append(ClassWork(one.class_id, ahead, True, lasts))
        elif settings.item_age_seconds != NO_AGE:
            work.append(ClassWork(one.class_id, one.chunks, False, float("inf")))
    rate_of = {class_id: rates.evicted for class_id, rates in trend.rates.items()}
    return sorted(work, key=lambda one: -rate_of.get(one.class_id, 0.0))


def _window(one: ClassUse, rates: Rates, seconds: float) -> int:
    """Items that are to be clean: a part of the class, more where much is evicted."""
    least = max(one.chunks * WINDOW_SHARE_MIN, min(WINDOW_CHUNKS_MIN, one.chunks))
    # Until something was evicted, what is stored tells how fast that will go.
    speed = rates.evicted or rates.stored
    most = max(one.chunks * WINDOW_SHARE_MAX, least)
    return int(min(max(least, speed * seconds), most))
