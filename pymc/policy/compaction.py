"""Which log pages are freed, compacted or dropped, from how much of each is still wanted and read.

Free pages are kept ready, so that write-out never waits for one. The cheapest way comes first:
pages that hold nothing, pages that are dead as a whole, pages of which little is wanted
(extstore's way), and at last the oldest. What was read since it was written is worth writing
again, what nobody read is not: that keeps the device's writes down at little cost in hits.
"""

from dataclasses import dataclass, field
from enum import Enum

from pymc.policy.flash_snapshot import (
    CHUNKED,
    COLD_COMPACT,
    COMPACT,
    DEFAULT,
    LOW_TTL,
    OLD,
    FlashState,
    PageState,
    PageUse,
)

# Writers are to find this many pages free besides one for each stream, in a small log fewer: one
# for what is written and one for what compaction rescues.
SPARE_PAGES = 2
SPARE_SHARE = 1 / 16
SMALL_LOG_PAGES = 5
# All of a page is rescued where no more than this part of it is wanted.
CHEAP_SHARE = 0.5
# Of an oldest page's objects, this part read makes it worth a compaction.
USEFUL_READ_SHARE = 0.05
# More of a page than this is not written again for having been read once.
RESCUED_SHARE_MAX = 0.25
# Among this part of the pages, the oldest, the one that costs least to give up is looked for.
OLDEST_SHARE = 0.1
# A sweep goes over the whole index, so it serves this part of all pages at once.
DROP_SHARE = 1 / 64
# When compaction cannot keep up and only this part of the wanted free pages is left.
URGENT_SHARE = 0.5
# Writers rather wait so long for a compaction than that wanted items are dropped.
STUCK_SECONDS = 0.5


class Rescue(Enum):
    """What compaction keeps when space is short."""

    READ = "read"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ReclaimSettings:
    """ext_compact_under and ext_drop_under in pages (0: a hundredth of them), and the rules."""

    compact_under_pages: int = 0
    drop_under_pages: int = 0
    max_frag: float = 0.8
    drop_unread: bool = False
    rescue: Rescue = Rescue.READ


@dataclass(frozen=True, slots=True)
class Compact:
    """Rescue the wanted records of a page, or only those read, to a stream; then free it."""

    page: int
    read_only: bool
    bucket: int = COMPACT
    # Little of the page is wanted.
    is_cheap: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. Pages to free hold nothing; those to drain are let go with all they hold."""

    free: tuple[int, ...] = ()
    drain: tuple[int, ...] = ()
    # Of those, the ones that were wanted: evicted, not merely dead.
    evicted: frozenset[int] = frozenset()
    compact: Compact | None = None


def hundredth(pages: int) -> int:
    """The default of both thresholds."""
    return max(1, pages // 100)


def target_free(state: FlashState, settings: ReclaimSettings, label: int = DEFAULT) -> int:
    """How many pages of a label are to be free for writers."""
    count = sum(1 for page in state.pages if page.label == label and page.use != PageUse.BAD)
    if label != DEFAULT:
        return min(1, count)
    small = 2 if count >= SMALL_LOG_PAGES else 1
    wanted = min(SPARE_PAGES + len(state.streams), max(small, int(count * SPARE_SHARE)))
    return min(max(settings.drop_under_pages or hundredth(count), wanted), max(count - 1, 0))


def choose(state: FlashState, settings: ReclaimSettings, compacting: int | None = None) -> Plan:
    """What to do about the pages; `compacting` is the page that is being compacted, if any."""
    full = [page for page in state.pages if page.use == PageUse.FULL and page.number != compacting]
    empty = tuple(page.number for page in full if not page.objects)
    dead = tuple(page.number for page in full if page.objects and page.is_dead)
    gone = {*empty, *dead}
    living = [page for page in full if page.number not in gone]
    drain: list[int] = []
    compact: Compact | None = None
    for label in sorted({page.label for page in state.pages}):
        mine = [page for page in living if page.label == label]
        coming = sum(
            1
            for page in state.pages
            if page.label == label
            and (page.use in (PageUse.FREE, PageUse.DRAINING) or page.number in gone)
        )
        drop, job = _for_label(state, settings, label, mine, coming, compacting is not None)
        drain += drop
        compact = compact or job
    if state.index_is_full and not drain and not dead:
        drain = _oldest_to_drop(state, living, 1)
    if compact and compact.page in drain:
        compact = None
    return Plan(empty, (*dead, *drain), frozenset(drain), compact if compacting is None else None)


def _for_label(
    state: FlashState,
    settings: ReclaimSettings,
    label: int,
    living: list[PageState],
    coming: int,
    is_busy: bool,
) -> tuple[list[int], Compact | None]:
    """Pages of one label to drop, and one to compact; `coming` are free already or soon."""
    count = sum(1 for page in state.pages if page.label == label)
    target = target_free(state, settings, label)
    compact_under = settings.compact_under_pages or hundredth(count)
    if label != DEFAULT:
        compact_under = min(compact_under, hundredth(count))
    is_urgent = coming < target * URGENT_SHARE
    if is_busy:
        is_late = is_urgent and _compaction_is_stuck(state)
        return (_oldest_to_drop(state, living, target - coming) if is_late else []), None
    if coming >= max(compact_under, target):
        return [], None
    victim = _fragmented(state, settings, living)
    # What is cheap to rescue frees more than it writes, however short space is.
    if victim and (victim.is_cheap or not is_urgent):
        return [], victim
    if is_urgent and (settings.rescue is Rescue.READ or coming == 0):
        return _oldest_to_drop(state, living, target - coming), None
    if coming >= target:
        return [], None
    if settings.rescue is Rescue.READ:
        return _give_up_oldest(state, settings, living, target - coming)
    if settings.drop_unread and living:
        oldest = min(living, key=_age)
        if oldest.bucket != LOW_TTL:
            return [], Compact(oldest.number, read_only=True, bucket=_bucket_for(state, oldest))
    return [], None


def _compaction_is_stuck(state: FlashState) -> bool:
    """Whether the compaction that is under way has to be helped out."""
    return state.compaction_waits_seconds > 0 or state.write_out_waits_seconds >= STUCK_SECONDS


def _age(page: PageState) -> int:
    return page.version


def _fragmented(
    state: FlashState, settings: ReclaimSettings, living: list[PageState]
) -> Compact | None:
    """The page of which least is wanted, when that is little enough.

    By extstore's rule all of it is rescued. When only what was read is to survive a shortage of
    space, that holds where the rest is worth its writing: not for pages of the younger half, whose
    items had no time to be read, and not where there is little to write.
    """
    able = [page for page in living if page.bucket != LOW_TTL]
    if not able:
        return None
    victim = min(able, key=lambda page: (page.used_bytes, page.version))
    if victim.used_bytes >= state.page_bytes * settings.max_frag:
        return None
    older = sum(1 for page in living if page.version < victim.version)
    is_cheap = victim.used_bytes <= state.page_bytes * CHEAP_SHARE
    read_only = settings.rescue is Rescue.READ and not is_cheap and older < len(living) / 2
    return Compact(victim.number, read_only, _bucket_for(state, victim), is_cheap)


def _give_up_oldest(
    state: FlashState, settings: ReclaimSettings, living: list[PageState], wanted: int
) -> tuple[list[int], Compact | None]:
    """Drops the oldest page, or rescues what was read of it when that is a useful part."""
    if not living:
        return [], None
    oldest = sorted(living, key=_age)[: max(1, int(len(living) * OLDEST_SHARE))]
    cheapest = min(oldest, key=lambda page: (_rescued_bytes(page), page.version))
    is_useful = cheapest.read_share >= USEFUL_READ_SHARE and cheapest.bucket != LOW_TTL
    if is_useful and _rescued_bytes(cheapest) < state.page_bytes * RESCUED_SHARE_MAX:
        return [], Compact(cheapest.number, read_only=True, bucket=_bucket_for(state, cheapest))
    return _oldest_to_drop(state, living, wanted), None


def _rescued_bytes(page: PageState) -> float:
    return page.used_bytes * page.read_share


def _oldest_to_drop(state: FlashState, living: list[PageState], wanted: int) -> list[int]:
    """The oldest pages: as many as are wanted, or as one sweep should serve."""
    number = max(wanted, int(len(state.pages) * DROP_SHARE), 1)
    return [page.number for page in sorted(living, key=_age)[:number]]


def _bucket_for(state: FlashState, page: PageState) -> int:
    """The stream for what is rescued: kept apart by worth where paths have labels for that."""
    labels = {one.label for one in state.pages}
    if page.bucket == CHUNKED:
        return COMPACT
    if OLD in labels and page.version == min(
        one.version for one in state.pages if one.use == PageUse.FULL
    ):
        return OLD
    if COLD_COMPACT in labels and page.read_share < USEFUL_READ_SHARE:
        return COLD_COMPACT
    return COMPACT
