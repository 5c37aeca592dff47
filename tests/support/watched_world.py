"""A world of children for the watchdog, in which time, beats and states are what the test says."""

from dataclasses import dataclass, field, replace

from pymc.policy.watchdog import (
    PAUSE_SECONDS,
    Kill,
    ProcessState,
    Pulse,
    Verdict,
    Watchdog,
)

LIMIT = 5.0
STOPPED = ProcessState("T", "do_signal_stop")
SLEEPING = ProcessState("S", "do_epoll_wait")


@dataclass
class World:
    """Some children and a clock; a child in `silent` does not beat."""

    watchdog: Watchdog = field(default_factory=lambda: Watchdog(LIMIT))
    now: float = 1000.0
    silent: set[int] = field(default_factory=set)
    states: dict[int, ProcessState] = field(default_factory=dict)
    pulses: dict[int, Pulse] = field(
        default_factory=lambda: {slot: Pulse(100 + slot) for slot in range(3)}
    )
    verdict: Verdict = field(default_factory=lambda: Verdict(frozenset(), (), PAUSE_SECONDS))
    kills: list[Kill] = field(default_factory=list)

    def change(self, slot: int, **changes: object) -> None:
        self.pulses[slot] = replace(self.pulses[slot], **changes)  # type: ignore[arg-type]

    def look(self, elapsed: float | None = None) -> None:
        """The next look, when it was asked for or after `elapsed`."""
        self.now += self.verdict.pause_seconds if elapsed is None else elapsed
        for slot, pulse in self.pulses.items():
            if slot not in self.silent:
                self.change(slot, beats=pulse.beats + 1)
            if pulse.waits_for is not None and self.states.get(pulse.pid) != STOPPED:
                self.change(slot, naps=pulse.naps + 1)
                holder = self.pulses.get(pulse.waits_for)
                if holder:
                    self.change(pulse.waits_for, waited_us=holder.waited_us + 1000)
        self.verdict = self.watchdog.look(
            self.now, self.pulses, lambda pid: self.states.get(pid, SLEEPING)
        )
        self.kills += self.verdict.kills

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds - 1e-9
        while self.now < end:
            self.look()

    def seconds_until_killed(self) -> float:
        """How long it takes until somebody is."""
        start = self.now
        while not self.kills and self.now < start + 100:
            self.look()
        return self.now - start

    @property
    def killed(self) -> list[int]:
        return [kill.slot for kill in self.kills]
