"""The program's course: prepare, start workers first and the keeper behind them, then watch."""

import gc
import os
import signal
import sys
import time

from pymc.config import Settings, StartupStop
from pymc.core.arena import Role
from pymc.core.process import lock_all_memory
from pymc.launch import Holdings, Launcher, prepare
from pymc.launch.launcher import show_program
from pymc.launch.service import Service
from pymc.launch.sockets import write_port_file
from pymc.logs import say
from pymc.messages.signals import WAITED_SIGNALS
from pymc.server_context import ServerContext
from pymc.stats.general import general_lines
from pymc.supervisor.children import Children
from pymc.supervisor.oom import OomWatch

_GIVE_WAY_SECONDS = 0.5


def main(settings: Settings) -> int:
    """Serves until a signal ends it; returns the exit code.

    What keeps the server from starting is said on standard error in memcached's words.
    """
    sys.dont_write_bytecode = True
    # Blocked for ever: they are waited for, one after the other, and interrupt nothing.
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_SIGNALS)
    try:
        holdings = prepare(settings)
    except StartupStop as stop:
        sys.stderr.write(stop.error_text)
        sys.stderr.flush()
        return stop.exit_code
    service = Service()
    children = start_processes(holdings)
    service.ready("serving")
    # Loads what no worker needs.
    from pymc.supervisor.watch import Watch

    Watch(holdings, children, service).run()
    return 0


def children_of(holdings: Holdings, launcher: Launcher) -> Children:
    """Makes the register of a server's children, without any."""

    def forget_writes(slot: int) -> None:
        # What the process in this slot had under way has ended with it.
        if holdings.context.flash:
            holdings.context.flash.forget_writes(slot)

    context = holdings.context
    return Children(launcher.start, forget_writes, OomWatch(context.settings, context.arena))


def start_processes(holdings: Holdings) -> Children:
    """Starts everybody, workers first, since clients wait for them; returns the children."""
    context = holdings.context
    settings = context.settings
    # Whoever called may have ignored it, and children would be gone before they are noticed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    show_program(settings.program)
    if settings.lock_memory and (reason := lock_all_memory()):
        say(f"warning: -k invalid, mlockall() failed: {reason}")
    launcher = Launcher(holdings)
    children = children_of(holdings, launcher)
    for slot in range(settings.workers):
        children.add(Role.WORKER, (slot,))
    # Each worker would make these lines for itself when it is first asked.
    general_lines(context)
    # Pages that nobody writes to stay shared with all children.
    gc.freeze()
    children.start_due()
    if settings.port_file_path and not (settings.unix_socket_path and not settings.unix_and_tcp):
        write_port_file(settings.port_file_path, context.addresses)
    _give_way(context)
    if settings.announce:
        # Only who asks for it waits until this is loaded.
        from pymc.launch.announce import announcement

        say(announcement(settings, context.addresses, os.geteuid()))
    _start_keeper(context, launcher, children)
    return children


def _give_way(context: ServerContext) -> None:
    """Waits until all workers are there, a signal comes, or half a second is over: they need the
    processors more than what is still to be loaded.
    """
    deadline = time.monotonic() + _GIVE_WAY_SECONDS
    while time.monotonic() < deadline and not context.are_workers_there():
        if signal.sigpending() & set(WAITED_SIGNALS):
            return
        time.sleep(0.001)


def _start_keeper(context: ServerContext, launcher: Launcher, children: Children) -> None:
    launcher.load_keeper()
    # What the supervisor itself lacks comes before the freeze as well.
    import pymc.supervisor.watch  # noqa: F401

    children.add(Role.KEEPER, tuple(context.keeper_slots))
    gc.collect()
    gc.freeze()
    gc.disable()
    children.start_due()
