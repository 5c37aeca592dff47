"""When a path of the flash tier fails so often that it is taken out of service.

Errors are weighed against what went well in the same time. A few bad reads are lost records and
nothing more; a device of which a good part fails, all at once or every now and then, is broken.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

WRITE_ERRORS_IN_ROW = 3
# A device that has gone away, or that gives back anything but what was written, shows within this.
SHORT_SECONDS = 2.5
SHORT_BAD_READS = 32
SHORT_BAD_SHARE = 0.5
# What fails now and then is looked at over this.
LONG_SECONDS = 60.0
LONG_READ_ERRORS = 100
# One bad write makes many records bad, of which nothing follows for the rest.
LONG_BAD_RECORDS = 2000
LONG_BAD_SHARE = 0.02
# So many reads of which the device itself says that they failed are too many at any share.
LONG_READ_ERRORS_MAX = 1000
LONG_WRITE_ERRORS = 5
LONG_WRITE_SHARE = 0.1


class Failing(Enum):
    """What is wrong with a path that is to go."""

    WRITES_IN_ROW = auto()
    WRITES = auto()
    READS = auto()
    CHECKSUMS = auto()


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of a path since the start; `reads` and `writes` are good and bad ones."""

    reads: int = 0
    read_errors: int = 0
    # Records whose checksum is wrong although their page is valid.
    bad_records: int = 0
    writes: int = 0
    write_errors: int = 0

    def since(self, before: "Counts") -> "Counts":
        """What came since then."""
        return Counts(
            self.reads - before.reads,
            self.read_errors - before.read_errors,
            self.bad_records - before.bad_records,
            self.writes - before.writes,
            self.write_errors - before.write_errors,
        )

    @property
    def bad_reads(self) -> int:
        """Reads that came to nothing, whoever noticed."""
        return self.read_errors + self.bad_records


@dataclass(frozen=True, slots=True)
class PathHistory:
    """What was seen of one path: the counts of the last looks, and writes that failed in a row."""

    looks: tuple[tuple[float, Counts], ...] = ()
    write_errors_in_row: int = 0


def after_write(history: PathHistory, *, is_good: bool) -> PathHistory:
    """The history with one more write."""
    return replace(history, write_errors_in_row=0 if is_good else history.write_errors_in_row + 1)


def after_look(history: PathHistory, now: float, counts: Counts) -> PathHistory:
    """The history with one more look; of those that are too old only the newest counts."""
    looks = (*history.looks, (now, counts))
    first = max((n for n, (at, _) in enumerate(looks) if at <= now - LONG_SECONDS), default=0)
    return replace(history, looks=looks[first:])


def failing(history: PathHistory) -> Failing | None:
    """Why the path is to go; None while it may stay."""
    if history.write_errors_in_row >= WRITE_ERRORS_IN_ROW:
        return Failing.WRITES_IN_ROW
    short, long = _within(history, SHORT_SECONDS), _within(history, LONG_SECONDS)
    if long.write_errors >= max(LONG_WRITE_ERRORS, long.writes * LONG_WRITE_SHARE):
        return Failing.WRITES
    if short.bad_reads >= max(SHORT_BAD_READS, short.reads * SHORT_BAD_SHARE):
        return Failing.READS if short.read_errors >= short.bad_records else Failing.CHECKSUMS
    share = long.reads * LONG_BAD_SHARE
    if long.read_errors >= min(max(LONG_READ_ERRORS, share), LONG_READ_ERRORS_MAX):
        return Failing.READS
    return Failing.CHECKSUMS if long.bad_records >= max(LONG_BAD_RECORDS, share) else None


def _within(history: PathHistory, seconds: float) -> Counts:
    """What came in the last so many seconds, or since the first look."""
    if not history.looks:
        return Counts()
    now, counts = history.looks[-1]
    before = history.looks[0][1]
    for at, seen in history.looks:
        if at > now - seconds:
            break
        before = seen
    return counts.since(before)
