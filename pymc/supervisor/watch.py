"""Watching: what goes on while a server runs, from its first processes to the end of its last."""

import signal
import time
from typing import TYPE_CHECKING

from pymc.config import StartupError
from pymc.core.arena import Role
from pymc.launch import Holdings
from pymc.launch.service import Service
from pymc.logs import say
from pymc.messages.signals import (
    CERTIFICATES_CHANGED,
    CHILD_CHANGED,
    KILL_CHILD,
    READ_USERS,
    REFRESH_CERTIFICATES,
    STOP_CHILD,
    STOP_SECONDS,
    STOP_SECONDS_MAX,
    USERS_CHANGED,
    WAITED_SIGNALS,
)
from pymc.supervisor.children import Children
from pymc.supervisor.guard import Guard

if TYPE_CHECKING:
    from pymc.supervisor.certificates import Certificates

_STOPPING = {
    signal.SIGTERM: "Signal handled: Terminated.",
    signal.SIGINT: "Signal handled: Interrupt.",
    signal.SIGUSR1: "Gracefully stopping",
}
_REFRESHING = (READ_USERS.number, REFRESH_CERTIFICATES.number)


class Watch:
    """Watches over processes that are there, whoever started them; runs no loop of Python's own."""

    def __init__(self, holdings: Holdings, children: Children, service: Service) -> None:
        """Borrows all of them. Requires: WAITED_SIGNALS are blocked."""
        self._service = service
        self._holdings = holdings
        self._context = holdings.context
        self._children = children
        self._guard = Guard(self._context, children)
        self._certificates = self._make_certificates()
        self._is_reloading = False

    def _make_certificates(self) -> "Certificates | None":
        """Only a server with TLS needs what takes care of certificates."""
        if (material := self._context.tls) is None:
            return None
        from pymc.supervisor.certificates import Certificates

        return Certificates(
            self._context,
            material,
            lambda: self._children.send(CERTIFICATES_CHANGED, Role.WORKER),
        )

    def run(self) -> None:
        """Replaces who dies or does not go on, until a signal says stop; then ends all."""
        self._stop(self._until_stop())

    def _until_stop(self) -> signal.Signals:
        """Returns the signal that ends the server."""
        while True:
            arrived = self._wait()
            if arrived == READ_USERS.number:
                self._service.reloading()
                self._is_reloading = True
                self._read_users()
            elif arrived in _STOPPING:
                return signal.Signals(arrived)
            self._look_after_certificates(arrived)
            self._children.reap()
            self._children.start_due()
            # A signal may tell that a child was stopped.
            self._guard.look()
            self._service.alive()

    def _look_after_certificates(self, arrived: int) -> None:
        """Goes on with them; who asked for a reload is told when that is done as well."""
        if self._certificates:
            if arrived in _REFRESHING:
                self._certificates.ask()
            else:
                self._certificates.look()
        if self._is_reloading and not (self._certificates and self._certificates.is_at_work):
            self._is_reloading = False
            self._service.ready("serving")

    def _wait(self) -> int:
        """Returns the next signal; 0 when a child is to be started or looked at first."""
        due = min(self._guard.due, self._service.due)
        if (start := self._children.next_due()) is not None:
            due = min(due, start)
        if self._certificates:
            due = min(due, self._certificates.due)
        arrived = signal.sigtimedwait(WAITED_SIGNALS, max(0.0, due - time.monotonic()))
        return arrived.si_signo if arrived else 0

    def _read_users(self) -> None:
        """Reads the files of -Y and -S anew, says what came of it, and lets the workers know."""
        has_changed = False
        # They are one where -S goes by the file of -Y.
        for users in dict.fromkeys((self._context.users, self._context.sasl_users)):
            if users is None:
                continue
            try:
                users.reload()
            except StartupError as error:
                say(f"{error.message}; {users.counted} read before it still count")
                continue
            say(f"pymc: authfile [{users.path}] read again: {users.counted}")
            has_changed = True
        if has_changed:
            self._children.send(USERS_CHANGED, Role.WORKER)

    def _stop(self, number: signal.Signals) -> None:
        """Ends all children, politely at first, and gives back what the server holds."""
        verbosity = self._context.arena.live("verbosity")
        if number == signal.SIGUSR1 or verbosity > 0:
            say(_STOPPING[number])
        self._service.stopping()
        self._holdings.stop_listening()
        self._children.is_stopping = True
        self._children.send(STOP_CHILD)
        self._end_children()
        self._holdings.release()
        if verbosity > 0:
            say("Exiting normally")

    def _end_children(self) -> None:
        """Waits for them, kills those that do not end, and waits once more, but not for ever."""
        started = time.monotonic()
        deadline = started + STOP_SECONDS
        while self._children.living:
            now = time.monotonic()
            if now >= started + STOP_SECONDS_MAX:
                break
            if now >= deadline:
                self._children.send(KILL_CHILD)
                deadline = now + STOP_SECONDS
            signal.sigtimedwait([CHILD_CHANGED.number], deadline - now)
            self._children.reap()
        # Somewhere in the kernel, waiting for a device perhaps: nobody can do anything about them.
        if stuck := [*self._children.living, *self._children.given_up]:
            pids = ", ".join(str(child.pid) for child in stuck)
            say(f"pymc: killed, but not gone yet: {pids}")
