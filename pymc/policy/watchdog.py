"""Which process of the server does not go on, and whether it is to be killed.

Only time counts in which the supervisor itself was woken when it had asked for it. So a machine
that stands still, a suspended or moved container and a busy processor look like themselves and not
like the death of a process. The wall clock is never asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Between two looks: while all is well, and while somebody is late or waited for.
PAUSE_SECONDS = 0.5
CLOSE_PAUSE_SECONDS = 0.02
# A look that comes no later than this after the one before is in time, also between close ones.
IN_TIME_SECONDS = PAUSE_SECONDS + 0.05
# Who rests beats once a second; who misses half a beat more gets no new connections.
LATE_SECONDS = 1.5
# And no limit is shorter than two beats.
LIMIT_SECONDS_MIN = 2.0
# Who stands still within a lock that others wait for has so long to go on.
HALTED_SECONDS = 0.05
# Who was killed and has not gone by then waits for a device: another may take its place.
GONE_SECONDS = 3.0
# A process that starts repairs what its predecessor left.
START_FACTOR = 4
# When nobody moves it is the machine rather than all of them.
ALL_FACTOR = 2
# Who wants the processor and gets less of it than this is not stuck.
PROCESSOR_SHARE_MIN = 0.1
_FREEZERS = ("do_freezer_trap", "__refrigerator", "refrigerator")


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the system says of a process; letters as in /proc/PID/stat."""

    letter: str = "?"
    # The function in which the kernel holds it, "" when unknown.
    where: str = ""
    cpu_seconds: float = 0.0
    is_dumping: bool = False

    @property
    def is_halted(self) -> bool:
        """True when it does not run, whatever it would like to do."""
        return self.letter in ("T", "t") or self.is_dumping or self.where in _FREEZERS


StateOf = Callable[[int], ProcessState]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What is seen of one child. Numbers only matter by their changes."""

    pid: int
    beats: int = 0
    # It has not taken its slot yet.
    is_starting: bool = False
    # The system said that it was stopped.
    is_stopped: bool = False
    # The slot of who holds the lock it waits for; `naps` change as long as it goes on waiting.
    waits_for: int | None = None
    naps: int = 0
    # How long others have waited for locks that it holds.
    waited_us: int = 0


@dataclass(frozen=True, slots=True)
class Kill:
    """A process to kill, and why."""

    slot: int
    pid: int
    silent_seconds: float
    reason: str
    state: ProcessState


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a look."""

    late: frozenset[int]
    kills: tuple[Kill, ...]
    # When to look again.
    pause_seconds: float


@dataclass(slots=True)
class _Track:
    """What is remembered of a child between looks; seconds are those that count."""

    pulse: Pulse
    # Since its last beat; since its last sign of any kind; of waiting for one and the same owner.
    silent: float = 0.0
    still: float = 0.0
    waiting: float = 0.0
    # What others had waited for it when it last beat.
    beat_waited_us: int = 0
    # Since it was first seen halted, and what others had waited for it then; None while it runs.
    halted: float = 0.0
    halted_waited_us: int | None = None
    # The processor time it had when it was first looked at in this silence.
    cpu_seconds: float | None = None
    cpu_still: float = 0.0
    was_killed: bool = False

    def see(self, pulse: Pulse, counted: float) -> None:
        """Compares with the last look; `counted` seconds have passed."""
        last, self.pulse = self.pulse, pulse
        if pulse.beats != last.beats or pulse.is_starting != last.is_starting:
            self.silent = self.still = self.waiting = self.halted = 0.0
            self.halted_waited_us = self.cpu_seconds = None
            self.beat_waited_us = pulse.waited_us
            return
        self.silent += counted
        self.halted += counted
        is_waiting = pulse.waits_for is not None and pulse.naps != last.naps
        self.still = 0.0 if is_waiting else self.still + counted
        is_same = is_waiting and pulse.waits_for == last.waits_for
        self.waiting = self.waiting + counted if is_same else 0.0

    @property
    def is_late(self) -> bool:
        return self.pulse.is_stopped or self.was_killed or self.silent >= LATE_SECONDS

    @property
    def delays_others(self) -> bool:
        """True when others have waited for it since its last beat."""
        return self.silent > 0 and self.pulse.waited_us != self.beat_waited_us

    @property
    def delays_others_halted(self) -> bool:
        """True when they have done so since it was seen halted."""
        return self.halted_waited_us not in (None, self.pulse.waited_us)


class Watchdog:
    """Remembers what was seen; `limit_seconds` 0 kills nobody."""

    def __init__(self, limit_seconds: float, *, spares_dumps: bool = False) -> None:
        """`spares_dumps`: core files were asked for and may take as long as they like."""
        self._limit = max(limit_seconds, LIMIT_SECONDS_MIN) if limit_seconds > 0 else 0.0
        self._spares_dumps = spares_dumps
        self._tracks: dict[int, _Track] = {}
        self._last: float | None = None

    def look(self, now: float, pulses: Mapping[int, Pulse], state_of: StateOf) -> Verdict:
        """One look at all children, by slot; `now` is monotonic."""
        counted = self._counted(now)
        for slot in [slot for slot in self._tracks if slot not in pulses]:
            del self._tracks[slot]
        for slot, pulse in pulses.items():
            track = self._tracks.get(slot)
            if track is None or track.pulse.pid != pulse.pid:
                self._tracks[slot] = _Track(pulse, beat_waited_us=pulse.waited_us)
            else:
                track.see(pulse, counted)
        kills: dict[int, Kill] = {}
        for slot, track in self._tracks.items():
            _watch_halted(track, state_of)
            if found := self._judge(slot, state_of):
                kills.setdefault(found.slot, found)
        for kill in kills.values():
            self._count_anew(kill.slot)
        tracks = self._tracks.values()
        late = frozenset(slot for slot, track in self._tracks.items() if track.is_late)
        is_close = bool(late) or any(track.delays_others for track in tracks)
        pause = CLOSE_PAUSE_SECONDS if is_close else PAUSE_SECONDS
        return Verdict(late, tuple(kills.values()), pause)

    def _counted(self, now: float) -> float:
        """The part of the time since the last look that counts: the later, the less."""
        elapsed = now - self._last if self._last is not None else 0.0
        self._last = now
        if elapsed <= IN_TIME_SECONDS:
            return max(elapsed, 0.0)
        return PAUSE_SECONDS * PAUSE_SECONDS / elapsed

    def _judge(self, slot: int, state_of: StateOf) -> Kill | None:
        """Who is to be killed because this child does not go on."""
        track = self._tracks[slot]
        if not self._limit:
            return None
        if track.delays_others_halted and track.halted >= HALTED_SECONDS:
            return self._kill(slot, "halted within a lock that others wait for", state_of)
        limit = self._limit_of(track)
        if track.waiting >= limit:
            holder = self._holder(slot)
            reason = f"process {track.pulse.pid} waited {track.waiting:.1f} s for its lock"
            return None if holder is None else self._kill(holder, reason, state_of)
        if track.still >= limit / 2 and track.cpu_seconds is None:
            track.cpu_seconds = state_of(track.pulse.pid).cpu_seconds
            track.cpu_still = track.still
        return self._kill(slot, "no beat", state_of) if track.still >= limit else None

    def _limit_of(self, track: _Track) -> float:
        if track.pulse.is_starting and not track.pulse.is_stopped:
            return self._limit * START_FACTOR
        nobody_moves = all(t.still >= self._limit / 2 for t in self._tracks.values())
        return self._limit * (ALL_FACTOR if nobody_moves and len(self._tracks) > 1 else 1)

    def _holder(self, slot: int) -> int | None:
        """The end of the chain of waiters; of a ring the lowest. None for one that is no child."""
        met = [slot]
        while self._tracks[met[-1]].waiting:
            owner = self._tracks[met[-1]].pulse.waits_for
            if owner is None or owner not in self._tracks:
                return None
            if owner in met:
                return min(met[met.index(owner) :])
            met.append(owner)
        return met[-1]

    def _kill(self, slot: int, reason: str, state_of: StateOf) -> Kill | None:
        track = self._tracks[slot]
        state = state_of(track.pulse.pid)
        if state.is_dumping and self._spares_dumps:
            return None
        if self._lacks_processor(track, state):
            return None
        return Kill(slot, track.pulse.pid, track.silent, reason, state)

    def _lacks_processor(self, track: _Track, state: ProcessState) -> bool:
        """True for one that could run and is not let."""
        if state.letter != "R" or track.cpu_seconds is None:
            return False
        watched = track.still - track.cpu_still
        return state.cpu_seconds - track.cpu_seconds < watched * PROCESSOR_SHARE_MIN

    def _count_anew(self, slot: int) -> None:
        """Counting begins anew for who was killed and for all who waited for it."""
        self._tracks[slot].was_killed = True
        for number, track in self._tracks.items():
            if number == slot or track.pulse.waits_for == slot:
                track.silent = track.still = track.waiting = track.halted = 0.0
                track.halted_waited_us = None


def _watch_halted(track: _Track, state_of: StateOf) -> None:
    """Notes since when a child that others wait for, or that was stopped, does not run."""
    may_be_halted = track.delays_others or (track.pulse.is_stopped and track.silent > 0)
    if not may_be_halted:
        return
    if not state_of(track.pulse.pid).is_halted:
        track.halted_waited_us = None
    elif track.halted_waited_us is None:
        track.halted, track.halted_waited_us = 0.0, track.pulse.waited_us
