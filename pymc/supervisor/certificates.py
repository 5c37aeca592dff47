"""Loads certificates anew while the server runs, and changes the key of tickets.

A round is one attempt: a child reads and checks the files, what it found good counts from then on,
and all workers are told. It is begun by the operator (SIGHUP, `refresh_certs`), who is told what it
came to, and once a minute; then the child ends at once where the files are what they were.
"""

import time
from collections.abc import Callable
from typing import Protocol

from pymc.core.arena import Arena
from pymc.core.errors import CoreError
from pymc.core.tls import rotate_tickets
from pymc.logs import say
from pymc.server_context import ServerContext
from pymc.tls.checker import CHECK_SECONDS, SAME, start_check
from pymc.tls.facts import DAY_SECONDS, Facts, days_left, from_text
from pymc.tls.material import OK, Material

LOOK_SECONDS = 60.0
# After what could not be used: often it is half of a pair, and the other half comes soon.
LOOK_AGAIN_SECONDS = 5.0
# While a round is under way.
_STEP_SECONDS = 0.02
# How long workers may take to use what is new; a process that does not go on is the watchdog's.
CONFIRM_SECONDS = 5.0
# Between a round and the next one that somebody asks for: whoever may ask could keep all workers
# making contexts.
PAUSE_SECONDS = 1.0
WARN_DAYS = 14


class RunningCheck(Protocol):
    """A check that is under way, as pymc.tls.checker has it."""

    seen: str

    def verdict(self) -> str | None:
        """Returns OK, SAME or what is wrong; None as long as it is not known."""

    def give_up(self) -> str:
        """Ends it; returns what is to be said."""

    def is_gone(self) -> bool:
        """Tells of one that was given up whether its process has ended."""


# Begins a check, with what is known of the files.
StartCheck = Callable[[str], RunningCheck]


class Certificates:
    """The supervisor's care for certificates. Never waits: look() goes on when it is due.

    It does not look at the files itself either, since their file system may hang.
    """

    def __init__(
        self,
        context: ServerContext,
        material: Material,
        tell_workers: Callable[[], None],
        *,
        start: StartCheck | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Borrows all of them. The material was loaded a moment ago."""
        self._arena: Arena = context.arena
        self._workers = context.settings.workers
        self._ticket_seconds = context.settings.tls_ticket_seconds
        self._material = material
        self._tell_workers = tell_workers
        self._start = start or (
            lambda known: start_check(context.settings, material, context.arena, known)
        )
        self._clock = clock
        self._wall_clock = wall_clock
        self._check: RunningCheck | None = None
        # One that was given up and whose process is still there.
        self._stuck: RunningCheck | None = None
        # Until when the check, or the workers' confirmations, may take.
        self._deadline = 0.0
        self._is_confirming = False
        # Somebody wants to know what a round comes to that begins from now on.
        self._is_asked = False
        self._is_for_somebody = False
        # What the last check saw, and what it came to.
        self._seen = material.seen_at_start
        self._last_result = OK
        now = clock()
        # When one that is asked for may begin.
        self._ask_at = now
        self._look_at = now + LOOK_SECONDS
        self._rotate_at = now + self._ticket_seconds
        self._warn_at = now

    @property
    def due(self) -> float:
        """When to look again, on the monotonic clock."""
        if self._check or self._is_confirming:
            return self._clock() + _STEP_SECONDS
        next_round = self._ask_at if self._is_asked else self._look_at
        return min(next_round, self._rotate_at, self._warn_at)

    @property
    def is_at_work(self) -> bool:
        """Whether a round is under way, or asked for."""
        return bool(self._check) or self._is_confirming or self._is_asked

    def ask(self) -> None:
        """Lets a round begin as soon as none is under way, and has been for a second."""
        self._is_asked = True
        self.look()

    def look(self) -> None:
        """Does what is due."""
        now = self._clock()
        if now >= self._rotate_at:
            self._rotate(now)
        if now >= self._warn_at:
            self._warn(now)
        if self._check:
            self._look_at_check(now)
        if self._is_confirming:
            self._look_at_workers(now)
        if self._stuck and self._stuck.is_gone():
            self._stuck = None
            # It may have written until its end.
            self._material.wipe_other()
        if self._check or self._is_confirming:
            return
        if now >= (self._ask_at if self._is_asked else self._look_at):
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._is_for_somebody, self._is_asked = self._is_asked, False
        self._material.begin_round()
        if self._stuck:
            # One at a time, or a file system that hangs would fill the machine with them.
            self._end("Error checking the certificates: the last check still hangs", now)
            return
        self._deadline = now + CHECK_SECONDS
        known = "" if self._is_for_somebody else self._seen
        self._seen = ""
        try:
            self._check = self._start(known)
        except OSError as error:
            self._end(f"Error checking the certificates: no process: {error.strerror}", now)

    def _look_at_check(self, now: float) -> None:
        assert self._check
        verdict = self._check.verdict()
        if verdict is None:
            if now < self._deadline:
                return
            verdict = self._check.give_up()
            self._stuck = self._check
        self._seen = self._check.seen
        self._check = None
        if verdict == SAME:
            # What is known of them is what somebody is told who asked just before.
            self._material.end_round(self._last_result, counts=False)
            self._look_later(now)
        elif verdict != OK:
            self._material.wipe_other()
            self._end(verdict, now)
        else:
            self._material.publish(self._arena.seconds())
            self._is_confirming = True
            self._deadline = now + CONFIRM_SECONDS
            self._tell_workers()

    def _look_at_workers(self, now: float) -> None:
        late = self._material.late_workers(self._workers)
        if late and now < self._deadline:
            return
        self._is_confirming = False
        self._material.wipe_other()
        if late:
            names = ", ".join(f"worker {worker}" for worker in late)
            all_of = self._workers
            self._end(
                f"Error: {all_of - len(late)} of {all_of} workers use the new certificates;"
                f" {names} did not say so within {CONFIRM_SECONDS:g} s",
                now,
                in_use="",
            )
        else:
            self._end(OK, now)
        self._warn(now)

    def _end(
        self, result: str, now: float, in_use: str = "; what was loaded before stays in use"
    ) -> None:
        """Says what the round came to, once where nobody asked and it is what it was."""
        is_new = result != self._last_result
        self._last_result = result
        self._material.end_round(result)
        self._ask_at = now + PAUSE_SECONDS
        self._look_later(now)
        if result == OK:
            facts = self._facts()
            say(
                f"pymc: certificates loaded: {facts.subject}, valid for"
                f" {days_left(facts.not_after, self._wall_clock())} days"
            )
        elif is_new or self._is_for_somebody:
            say(f"pymc: {result}{in_use}")

    def _look_later(self, now: float) -> None:
        is_good = self._last_result == OK
        self._look_at = now + (LOOK_SECONDS if is_good else LOOK_AGAIN_SECONDS)

    def _rotate(self, now: float) -> None:
        self._rotate_at = now + self._ticket_seconds
        try:
            rotate_tickets(self._arena)
        except CoreError as error:
            say(f"pymc: the ticket key stays what it is: {error}")

    def _warn(self, now: float) -> None:
        """Says once a day what is over soon, and what else of the files should be known."""
        self._warn_at = now + DAY_SECONDS
        for line in warnings_of(self._facts(), self._wall_clock()):
            say(line)

    def _facts(self) -> Facts:
        return from_text(self._material.facts_text())


def warnings_of(facts: Facts, now: float) -> list[str]:
    """The lines about certificates that end within a fortnight, and about the files."""
    lines = facts.warnings.splitlines()
    ends = [("the certificate", facts.subject, facts.not_after)]
    if facts.ca_not_after:
        ends.append(("the CA", facts.ca_subject, facts.ca_not_after))
    for what, subject, not_after in ends:
        left = days_left(not_after, now)
        if left < 0:
            lines.append(f"warning: {what} {subject} has expired")
        elif left < WARN_DAYS:
            lines.append(f"warning: {what} {subject} expires in {left} days")
    if facts.crl_next_update and facts.crl_next_update - now < DAY_SECONDS:
        hours = int((facts.crl_next_update - now) // 3600)
        lines.append(
            f"warning: a list of ssl_crl is valid for {hours} more hours; after that clients of its"
            " CA are refused"
            if hours >= 0
            else "warning: a list of ssl_crl has expired: clients of its CA are refused"
        )
    return lines
