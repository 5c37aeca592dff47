"""How far ahead of eviction each slab class is copied to flash.

Who evicts copies a victim that has no copy yet, so nothing is lost without this. Copies that were
made before take that work from the request path; but each that is made too early may be for
nothing, since its item may change. So a small window of the items that are next in line is kept
clean: what is evicted until the next looks. ext_item_age, when given, sends older items there too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_AGE = 2**32 - 1
# The window in parts of the class, and in seconds of evictions.
WINDOW_SHARE_MIN = 0.0025
WINDOW_SHARE_MAX = 0.1
WINDOW_SECONDS = 0.06
WINDOW_CHUNKS_MIN = 64
# Memory that runs out within this time is used up.
FILL_SECONDS = 0.25
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


@dataclass(frozen=True, slots=True)
class Rates:
    """Events per second of one class."""

    evicted: float = 0.0


@dataclass(frozen=True, slots=True)
class Trend:
    """What changed between two looks."""

    last: MemoryUse | None = None
    pages_per_second: float = 0.0
    rates: Mapping[int, Rates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteOutSettings:
    """ext_item_size, ext_item_age, and the part of memory to keep free."""

    item_bytes_min: int = 64
    item_age_seconds: int = NO_AGE
    free_share: float = 0.01


@dataclass(frozen=True, slots=True)
class ClassWork:
    """How many items of a class to look at, of each kind; `is_aged`: only idle ones."""

    class_id: int
    ahead_chunks: int
    is_aged: bool
    # How long the window lasts at the present rate of evictions.
    lasts_seconds: float


def follow(trend: Trend, now: MemoryUse) -> Trend:
    """The trend with one more look. Rates rise at once and fall slowly, as bursts come again."""
    if trend.last is None or now.seconds <= trend.last.seconds:
        return Trend(now, 0.0, trend.rates)
    passed = now.seconds - trend.last.seconds
    before = {one.class_id: one for one in trend.last.classes}
    rates = {}
    for one in now.classes:
        old = before.get(one.class_id)
        known = trend.rates.get(one.class_id, Rates())
        # After a reset of the counters all that is left was counted since.
        evicted = one.evicted - old.evicted if old and one.evicted >= old.evicted else 0
        rates[one.class_id] = Rates(_followed(known.evicted, evicted / passed))
    pages = max(now.pages_used - trend.last.pages_used, 0) / passed
    return Trend(now, _followed(trend.pages_per_second, pages), rates)


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
    has_age = settings.item_age_seconds != NO_AGE
    work: list[ClassWork] = []
    for one in use.classes:
        # Not its items: a class may hold nothing but parts of large ones.
        if one.free_chunks >= one.chunks or one.chunk_bytes < settings.item_bytes_min:
            continue
        rates = trend.rates.get(one.class_id, Rates())
        # Free chunks are used before anything is evicted.
        ahead = _window(one, rates) - one.free_chunks
        if is_full and ahead > 0:
            lasts = ahead / rates.evicted if rates.evicted else float("inf")
            work.append(ClassWork(one.class_id, ahead, False, lasts))
        if has_age:
            work.append(ClassWork(one.class_id, one.chunks, True, float("inf")))
    rate_of = {class_id: rates.evicted for class_id, rates in trend.rates.items()}
    return sorted(work, key=lambda one: (one.is_aged, -rate_of.get(one.class_id, 0.0)))


def _window(one: ClassUse, rates: Rates) -> int:
    """Items that are to be clean: a part of the class, more where much is evicted."""
    least = max(one.chunks * WINDOW_SHARE_MIN, min(WINDOW_CHUNKS_MIN, one.chunks))
    most = max(one.chunks * WINDOW_SHARE_MAX, least)
    return int(min(max(least, rates.evicted * WINDOW_SECONDS), most))
