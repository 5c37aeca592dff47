"""What policies know of the flash tier: one frozen snapshot of its pages and its index."""

from dataclasses import dataclass
from enum import IntEnum


class PageUse(IntEnum):
    """Where a page is in its life."""

    FREE = 0
    OPEN = 1
    FULL = 2
    DRAINING = 3
    BAD = 4


# Streams and labels, in memcached's numbers.
DEFAULT, COMPACT, CHUNKED, LOW_TTL, COLD_COMPACT, OLD = range(6)


@dataclass(frozen=True, slots=True)
class PageState:
    """One log page. `version` rises with each opening, so the lowest is the oldest."""

    number: int
    use: PageUse
    label: int = DEFAULT
    bucket: int = DEFAULT
    version: int = 0
    # Estimated bytes of records that are still wanted.
    used_bytes: int = 0
    objects: int = 0
    objects_written: int = 0
    # Of those that are there, read since they were written.
    objects_read: int = 0
    # All its records are flushed or expired.
    is_dead: bool = False

    @property
    def read_share(self) -> float:
        """The part of its wanted objects that was read, 0 to 1."""
        return min(self.objects_read / self.objects, 1.0) if self.objects else 0.0


@dataclass(frozen=True, slots=True)
class FlashState:
    """The whole tier. `index_is_full`: no room for more entries, or nearly none."""

    page_bytes: int
    pages: tuple[PageState, ...]
    index_is_full: bool = False
    # How long write-out or compaction has waited for a free page; 0 while they have one.
    write_out_waits_seconds: float = 0.0
    compaction_waits_seconds: float = 0.0
    # Streams that have written lately.
    streams: frozenset[int] = frozenset({DEFAULT})
