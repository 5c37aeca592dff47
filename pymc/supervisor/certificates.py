"""Loads certificates anew while the server runs, and changes the key of tickets.

A round is one attempt: a child reads and checks the files, what it found good counts from then on,
and all workers are told. It is begun by the operator (SIGHUP, `refresh_certs`), who is told what it
came to, and when the files on disk have changed, which is looked for once a minute.
"""

import time
from collections.abc import Callable
from typing import Protocol

from pymc.core.arena import Arena
from pymc.core.errors import CoreError
from pymc.core.tls import rotate_tickets
from pymc.logs import say
from pymc.server_context import ServerContext
from pymc.tls.checker import CHECK_SECONDS, start_check
from pymc.tls.facts import DAY_SECONDS, Facts, days_left, from_text
from pymc.tls.files import Identity, identities
from pymc.tls.material import OK, Material

LOOK_SECONDS = 60.0
# After what could not be used: often it is half of a pair, and the other half comes soon.
LOOK_AGAIN_SECONDS = 5.0
# While a round is under way.
_STEP_SECONDS = 0.02
# How long workers may take to use what is new; a process that does not go on is the watchdog's.
CONFIRM_SECONDS = 5.0
_CHECKS_MAX = 5
WARN_DAYS = 14

Seen = tuple[Identity | None, ...]


class RunningCheck(Protocol):
    """A check that is under way, as pymc.tls.checker has it."""

    def verdict(self) -> str | None:
        """Returns OK or what is wrong; None as long as it is not known."""

    def give_up(self) -> str:
        """Ends it; returns what is to be said."""


class Certificates:
    """The supervisor's care for certificates. Never waits: look() goes on when it is due."""

    def __init__(
        self,
        context: ServerContext,
        material: Material,
        tell_workers: Callable[[], None],
        close_fds: tuple[int, ...] = (),
        *,
        start: Callable[[], RunningCheck] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Borrows all of them. `start` begins a check, `close_fds` are what its child must not
        keep. The material was loaded a moment ago.
        """
        self._arena: Arena = context.arena
        self._workers = context.settings.workers
        self._ticket_seconds = context.settings.tls_ticket_seconds
        self._material = material
        self._tell_workers = tell_workers
        self._start = start or (
            lambda: start_check(context.settings, material, context.arena, close_fds)
        )
        self._clock = clock
        self._wall_clock = wall_clock
        self._check: RunningCheck | None = None
        self._checks = 0
        # Until when the check, or the workers' confirmations, may take.
        self._deadline = 0.0
        self._is_confirming = False
        # Somebody wants to know what a round comes to that begins from now on.
        self._is_asked = False
        self._is_for_somebody = False
        # The files as they were before the last check, and what that came to.
        self._seen: Seen = material.seen_at_start or identities(material.parts)
        self._last_result = OK
        now = clock()
        self._look_at = now + LOOK_SECONDS
        self._rotate_at = now + self._ticket_seconds
        self._warn_at = now

    @property
    def due(self) -> float:
        """When to look again, on the monotonic clock."""
        if self.is_at_work:
            return self._clock() + _STEP_SECONDS
        return min(self._look_at, self._rotate_at, self._warn_at)

    @property
    def is_at_work(self) -> bool:
        """Whether a round is under way, or asked for."""
        return bool(self._check) or self._is_confirming or self._is_asked

    def ask(self) -> None:
        """Lets a round begin as soon as none is under way."""
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
        if self._check or self._is_confirming:
            return
        if self._is_asked:
            self._begin(now)
        elif now >= self._look_at:
            self._look_at_files(now)

    def _look_at_files(self, now: float) -> None:
        seen = identities(self._material.parts)
        is_bad = self._last_result != OK
        self._look_at = now + (LOOK_AGAIN_SECONDS if is_bad else LOOK_SECONDS)
        if seen != self._seen:
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._is_for_somebody, self._is_asked = self._is_asked, False
        self._material.begin_round()
        self._checks = 0
        self._begin_check(now)

    def _begin_check(self, now: float) -> None:
        self._seen = identities(self._material.parts)
        self._checks += 1
        self._deadline = now + CHECK_SECONDS
        try:
            self._check = self._start()
        except OSError as error:
            self._end(f"Error checking the certificates: no process: {error.strerror}", now)

    def _look_at_check(self, now: float) -> None:
        assert self._check
        verdict = self._check.verdict()
        if verdict is None:
            if now < self._deadline:
                return
            verdict = self._check.give_up()
        self._check = None
        has_changed = identities(self._material.parts) != self._seen
        if has_changed and self._checks < _CHECKS_MAX:
            # What was checked may be half old and half new.
            self._material.wipe_other()
            self._begin_check(now)
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
        self._look_at = now + (LOOK_SECONDS if result == OK else LOOK_AGAIN_SECONDS)
        if result == OK:
            facts = self._facts()
            say(
                f"pymc: certificates loaded: {facts.subject}, valid for"
                f" {days_left(facts.not_after, self._wall_clock())} days"
            )
        elif is_new or self._is_for_somebody:
            say(f"pymc: {result}{in_use}")

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
