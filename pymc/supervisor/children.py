"""The processes of a server: which there are to be, how they end, and when they start again."""

import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from pymc.core.arena import Role
from pymc.launch import name_of
from pymc.logs import say
from pymc.messages.signals import KILL_CHILD, SignalMessage
from pymc.policy.restart import (
    count_death,
    count_oom_kill,
    oom_delay_seconds,
    restart_delay_seconds,
)

# Starts a process of this kind in this slot; its pid. Raises OSError when it cannot.
Start = Callable[[Role, int], int]


class OomNotice(Protocol):
    """Who knows whether the kernel killed for want of memory, and what to do then."""

    def has_risen(self) -> bool:
        """Tells whether it did since the last call."""

    def advice(self) -> str:
        """Returns what the operator should change."""


class Child:
    """One place for a process; `pid` is 0 while none is there."""

    def __init__(
        self, kind: Role, slot: int, pid: int = 0, spare_slots: tuple[int, ...] = ()
    ) -> None:
        """`slot` is its process slot; `spare_slots` are those that its successors may have when it
        does not go.
        """
        self.kind = kind
        self.name = name_of(kind, slot)
        self.slot = slot
        self.spare_slots = list(spare_slots)
        self.pid = pid
        self.started = 0.0
        self.deaths_in_row = 0
        # The system said that it was stopped, as by SIGSTOP.
        self.is_stopped = False
        # By the watchdog, which has said so.
        self.was_killed = False
        self.killed = 0.0
        # When to start it, on the monotonic clock, while it is not there.
        self.due = 0.0


class Children:
    """All children of the supervisor. It does not know how one is started, or what it does."""

    def __init__(
        self,
        start: Start,
        gone: Callable[[int], None] = lambda _slot: None,
        oom: OomNotice | None = None,
    ) -> None:
        """Has nobody yet. `gone` is called with the slot of each process that has ended."""
        self._start_one = start
        self._children: list[Child] = []
        # Killed, and the system does not let them go; their places are others'.
        self.given_up: list[Child] = []
        self._oom = oom
        self._oom_kills_in_row = 0
        self._oom_killed = 0.0
        self._gone = gone
        # Deaths are then as they should be, and nobody is started again.
        self.is_stopping = False

    def add(self, kind: Role, slots: tuple[int, ...]) -> None:
        """Adds a process that is to be there, in the first of these slots, for start_due()."""
        self._children.append(Child(kind, slots[0], spare_slots=slots[1:]))

    def adopt(self, kind: Role, slots: tuple[int, ...], pid: int) -> None:
        """Adds a process that is there already, in the first of these slots, whoever started it.

        Requires: the system takes it for a child of this process, as it does after an exec.
        """
        child = Child(kind, slots[0], pid, spare_slots=slots[1:])
        child.started = time.monotonic()
        self._children.append(child)

    @property
    def living(self) -> list[Child]:
        """Returns the children that are there."""
        return [child for child in self._children if child.pid]

    @property
    def absent(self) -> list[Child]:
        """Returns the children that are not there and wait for their start."""
        return [child for child in self._children if not child.pid]

    def next_due(self) -> float | None:
        """Returns when the next absent child is due, in monotonic seconds; None for nobody."""
        return min((child.due for child in self.absent), default=None)

    def start_due(self) -> None:
        """Starts the absent children whose time has come."""
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.due <= now:
                self._start(child)

    def reap(self) -> list[Child]:
        """Takes note of children that ended, and returns them; they are due again at once or later.

        Also of those that were stopped or go on again.
        """
        ended: list[Child] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            for child in self._children:
                if child.pid != pid:
                    continue
                child.is_stopped = os.WIFSTOPPED(status)
                if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                    self._gone(child.slot)
                    self._take_note(child, status)
                    ended.append(child)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._take_back(pid)

    def send(self, message: SignalMessage, kind: Role | None = None) -> None:
        """Sends a signal to the living children of this kind; None means to all."""
        for child in self.living:
            if kind in (None, child.kind):
                os.kill(child.pid, message.number)

    def kill(self, child: Child) -> None:
        """Ends one that does not go on; it counts as a crash."""
        child.was_killed, child.killed = True, time.monotonic()
        os.kill(child.pid, KILL_CHILD.number)

    def give_up(self, child: Child) -> None:
        """Waits no longer for one that was killed: its successor gets another slot, at once.

        Requires: it has a spare one.
        """
        gone = Child(child.kind, child.slot, child.pid)
        gone.name = child.name
        self.given_up.append(gone)
        child.slot, child.pid = child.spare_slots.pop(0), 0
        child.was_killed = child.is_stopped = False
        child.due = time.monotonic()

    def _take_back(self, pid: int) -> None:
        """Takes a slot back whose process was given up and has ended after all."""
        for gone in [child for child in self.given_up if child.pid == pid]:
            self.given_up.remove(gone)
            self._gone(gone.slot)
            for child in self._children:
                if child.name == gone.name:
                    child.spare_slots.append(gone.slot)
            if not self.is_stopping:
                say(f"pymc: {gone.name} (pid {pid}), which did not go, is gone")

    def _start(self, child: Child) -> None:
        try:
            child.pid = self._start_one(child.kind, child.slot)
        except OSError as error:
            say(f"pymc: cannot start {child.name}: {error.strerror}")
            child.deaths_in_row = count_death(child.deaths_in_row, 0.0)
            child.due = time.monotonic() + max(restart_delay_seconds(child.deaths_in_row), 0.05)
            return
        child.started = time.monotonic()

    def _take_note(self, child: Child, status: int) -> None:
        now = time.monotonic()
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        was_killed = was_killed and not child.was_killed
        child.deaths_in_row = count_death(child.deaths_in_row, now - child.started, was_killed)
        delay = restart_delay_seconds(child.deaths_in_row)
        why = ""
        if was_killed and self._oom and self._oom.has_risen():
            self._oom_kills_in_row = count_oom_kill(self._oom_kills_in_row, now - self._oom_killed)
            self._oom_killed = now
            delay = max(delay, oom_delay_seconds(self._oom_kills_in_row))
            why = f" because memory ran out ({self._oom.advice()})"
        # Of the watchdog's kill there is a line.
        if not self.is_stopping and not (child.was_killed and not delay):
            say(_end_text(child, status, delay, why))
        child.pid = 0
        child.was_killed = False
        child.due = now + delay


def _end_text(child: Child, status: int, delay: float, why: str) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code}"
    when = f"starting it again in {delay:.2f} s" if delay else "starting it again"
    return f"pymc: {child.name} (pid {child.pid}) {how}{why}; {when}"
