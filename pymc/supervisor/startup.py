"""From settings to a serving server: the order of start-up, and the loop that watches over it."""

import gc
import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from pymc import worker
from pymc.auth_file import Users
from pymc.config import Settings, StartupError, StartupStop
from pymc.core.arena import Arena
from pymc.core.flash import Flash
from pymc.core.process import lock_all_memory
from pymc.logs import attach, say, stamp
from pymc.process import WAITED_SIGNALS, name_supervisor
from pymc.server_context import Inbox, ListeningAddress, ServerContext
from pymc.slab_sizes import ladder
from pymc.stats.cpu_times import RecentCpuTimes
from pymc.supervisor import identity, sockets
from pymc.supervisor.children import Children
from pymc.supervisor.memory import create_arena, open_flash, settle_memory
from pymc.supervisor.oom import OomWatch
from pymc.supervisor.pidfile import become_user_for_pidfile, write_pidfile

if TYPE_CHECKING:
    from pymc.supervisor.guard import Guard

_STOP_SECONDS = 0.7
_STOP_SECONDS_MAX = 4.0
_GIVE_WAY_SECONDS = 0.5
_PAGE_BYTES = 1 << 20
_STOPPING = {
    signal.SIGTERM: "Signal handled: Terminated.",
    signal.SIGINT: "Signal handled: Interrupt.",
    signal.SIGUSR1: "Gracefully stopping",
}


def main(settings: Settings) -> int:
    """Serves until a signal ends it; returns the exit code.

    What keeps the server from starting is said on standard error in memcached's words.
    """
    sys.dont_write_bytecode = True
    # Blocked for ever: they are waited for, one after the other, and interrupt nothing.
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_SIGNALS)
    try:
        server = _prepare(settings)
    except StartupStop as stop:
        sys.stderr.write(stop.error_text)
        sys.stderr.flush()
        return stop.exit_code
    return server.serve()


def _prepare(settings: Settings) -> "Supervisor":
    """Everything that may fail, in the process that was called, so that the caller hears of it."""
    # Before the user changes, who may not be allowed to open it.
    attach()
    stamp(settings.log_format == "full")
    per_address = 1 if settings.unix_socket_path else settings.workers
    settings = identity.raise_limits(settings, max(len(settings.listeners), 1) * 2 * per_address)
    settings = settle_memory(settings)
    pidfile = become_user_for_pidfile(settings)
    users = None if settings.auth_file_path is None else Users(settings.auth_file_path)
    addresses = sockets.open_addresses(settings)
    for warning in sockets.warnings(settings):
        say(warning)
    arena, plan = create_arena(settings)
    flash = open_flash(settings, arena, plan)
    if settings.verbosity > 1:
        _describe(settings, addresses)
    if settings.daemon:
        identity.daemonize(settings)
    # Its number is known at last, and it has no children yet.
    if pidfile:
        write_pidfile(settings, pidfile)
    return Supervisor(settings, arena, addresses, flash, users, pidfile)


def _describe(settings: Settings, addresses: tuple[ListeningAddress, ...]) -> None:
    for number, chunk in enumerate(ladder(settings), start=1):
        say(f"slab class {number:3}: chunk size {chunk:9} perslab {_PAGE_BYTES // chunk:7}")
    shown = "auto-negotiate" if settings.protocol == "auto" else settings.protocol
    for address in addresses:
        say(f"<{address.sockets[0].fileno()} server listening ({shown})")


class Supervisor:
    """Owns what the server's processes share, and waits for signals; runs no loop of its own."""

    def __init__(
        self,
        settings: Settings,
        arena: Arena,
        addresses: tuple[ListeningAddress, ...],
        flash: Flash | None = None,
        users: Users | None = None,
        pidfile: str | None = None,
    ) -> None:
        """Call in the process that stays."""
        self._settings = settings
        self._pidfile = pidfile
        self._lifeline, self._lifeline_writer = os.pipe()
        self._context = ServerContext(
            settings=settings,
            arena=arena,
            supervisor_pid=os.getpid(),
            lifeline_fd=self._lifeline,
            addresses=addresses,
            worker_inboxes=tuple(Inbox.create() for _ in range(settings.workers)),
            keeper_inbox=Inbox.create(),
            cpu_times=RecentCpuTimes(),
            flash=flash,
            users=users,
        )
        self._socket_id = _socket_identity(settings.unix_socket_path)
        self._children = Children(self._before_life, self._gone, OomWatch(settings, arena))
        for number in range(settings.workers):
            self._children.add(f"worker {number}", (number,), partial(worker.run, self._context))

    def serve(self) -> int:
        """Starts everybody and stays until a signal says stop; returns the exit code."""
        settings = self._settings
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        name_supervisor(settings.program)
        self._lock_memory()
        # Pages that nobody writes to stay shared with all children.
        gc.freeze()
        self._children.start_due()
        if settings.port_file_path and settings.unix_socket_path is None:
            sockets.write_port_file(settings.port_file_path, self._context.addresses)
        self._give_way()
        if settings.announce:
            # Only who asks for it waits until this is loaded.
            from pymc.supervisor.announce import announcement

            say(announcement(settings, self._context.addresses, os.geteuid()))
        number = self._watch(self._complete())
        self._stop(number)
        return 0

    def _give_way(self) -> None:
        """Until all workers are there, a signal comes, or half a second: they need the processors
        more than what is still to be loaded.
        """
        deadline = time.monotonic() + _GIVE_WAY_SECONDS
        while time.monotonic() < deadline and not self._context.are_workers_there():
            if signal.sigpending() & set(WAITED_SIGNALS):
                return
            time.sleep(0.001)

    def _complete(self) -> "Guard":
        """Starts the keeper and makes the guard."""
        # A quarter of all code is the keeper's, and clients need not wait until it is loaded.
        from pymc import keeper
        from pymc.supervisor.guard import Guard

        keep = partial(keeper.run, self._context)
        self._children.add("keeper", tuple(self._context.keeper_slots), keep)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._children.start_due()
        return Guard(self._context, self._children)

    def _watch(self, guard: "Guard") -> int:
        """Replaces who dies or does not go on; returns the signal that ends the server."""
        while True:
            arrived = self._wait(guard)
            if arrived == signal.SIGHUP:
                self._reload_users()
            elif arrived in _STOPPING:
                return arrived
            self._children.reap()
            self._children.start_due()
            # A signal may tell that a child was stopped.
            guard.look()

    def _reload_users(self) -> None:
        """Reads the file of -Y anew, says what came of it, and lets the workers know."""
        if (users := self._context.users) is None:
            return
        try:
            users.reload()
        except StartupError as error:
            say(f"{error.message}; {users.counted} read before it still count")
            return
        say(f"pymc: authfile [{users.path}] read again: {users.counted}")
        self._children.signal(signal.SIGHUP, "worker")

    def _wait(self, guard: "Guard") -> int:
        """The next signal; 0 when a child is to be started or looked at first."""
        due = guard.due
        if (start := self._children.next_due()) is not None:
            due = min(due, start)
        arrived = signal.sigtimedwait(WAITED_SIGNALS, max(0.0, due - time.monotonic()))
        return arrived.si_signo if arrived else 0

    def _stop(self, number: int) -> None:
        """Ends all children: politely, then not."""
        verbosity = self._context.arena.live("verbosity")
        if number == signal.SIGUSR1 or verbosity > 0:
            say(_STOPPING[signal.Signals(number)])
        sockets.close_addresses(self._context.addresses)
        self._children.is_stopping = True
        self._children.signal(signal.SIGTERM)
        self._end_children()
        if self._context.flash:
            self._context.flash.close()
        if self._pidfile:
            identity.remove_file(self._pidfile)
        path = self._settings.unix_socket_path
        if path and self._socket_id and self._socket_id == _socket_identity(path):
            identity.remove_file(path)
        if verbosity > 0:
            say("Exiting normally")

    def _end_children(self) -> None:
        """Waits for them, kills those that do not end, and waits once more, but not for ever."""
        started = time.monotonic()
        deadline = started + _STOP_SECONDS
        while self._children.living:
            now = time.monotonic()
            if now >= started + _STOP_SECONDS_MAX:
                break
            if now >= deadline:
                self._children.signal(signal.SIGKILL)
                deadline = now + _STOP_SECONDS
            signal.sigtimedwait([signal.SIGCHLD], deadline - now)
            self._children.reap()
        # Somewhere in the kernel, waiting for a device perhaps: nobody can do anything about them.
        if stuck := [*self._children.living, *self._children.given_up]:
            pids = ", ".join(str(child.pid) for child in stuck)
            say(f"pymc: killed, but not gone yet: {pids}")

    def _gone(self, slot: int) -> None:
        """What the process in this slot had under way has ended with it."""
        if self._context.flash:
            self._context.flash.forget_writes(slot)

    def _before_life(self) -> None:
        os.close(self._lifeline_writer)
        if self._settings.lock_memory:
            lock_all_memory()

    def _lock_memory(self) -> None:
        if self._settings.lock_memory and (reason := lock_all_memory()):
            say(f"warning: -k invalid, mlockall() failed: {reason}")


def _socket_identity(path: str | None) -> tuple[int, int] | None:
    """What tells the file at `path` from one that takes its name later."""
    if path is None:
        return None
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
