"""When a path that was given up, or that does not answer, is tried, and when it is used again."""

from dataclasses import dataclass, replace

PROBE_SECONDS = 1.0
# Slower is not in time, and so many in time, one after the other, bring a path back.
GOOD_PROBE_SECONDS = 0.5
GOOD_PROBES = 3
# A path that was taken out is left alone for so long first; twice as long after each probe that
# failed, and each time that it went out again soon after it had come back.
OUT_SECONDS = 10.0
OUT_SECONDS_MAX = 640.0
SOON_SECONDS = 600.0
# A write that is under way for longer than this makes its path late.
WRITE_SECONDS = 5.0
# A full file system is tried again this often.
FULL_SECONDS = 5.0
# Where all pages have blocks it is full no more when writes have gone well for so long.
FULL_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far a path is on its way back. `pause_seconds` is what follows a bad probe."""

    since: float
    due: float
    pause_seconds: float
    is_growing: bool = False
    good_probes: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the path may be used again."""
        return self.good_probes >= GOOD_PROBES


def late(now: float) -> Recovery:
    """A path that does not answer: probed each second."""
    return Recovery(now, now + PROBE_SECONDS, PROBE_SECONDS)


def taken_out(now: float, before: Recovery | None = None, returned: float = 0.0) -> Recovery:
    """A path that was taken out, and `before` when it had come back at `returned`."""
    pause = OUT_SECONDS
    if before is not None and now - returned < SOON_SECONDS:
        pause = min(before.pause_seconds * 2, OUT_SECONDS_MAX)
    return Recovery(now, now + pause, pause, is_growing=True)


def after_probe(recovery: Recovery, now: float, *, is_good: bool) -> Recovery:
    """One more probe has ended."""
    if is_good:
        return replace(recovery, due=now + PROBE_SECONDS, good_probes=recovery.good_probes + 1)
    pause = recovery.pause_seconds
    if recovery.is_growing:
        pause = min(pause * 2, OUT_SECONDS_MAX)
    return replace(recovery, due=now + pause, pause_seconds=pause, good_probes=0)
