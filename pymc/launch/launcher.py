"""Forks the processes of a server: the first ones, and those that replace others."""

import os
import sys
from collections.abc import Callable

from setproctitle import setproctitle, setthreadtitle

from pymc import worker
from pymc.core.arena import Role
from pymc.core.process import fork_child, lock_all_memory
from pymc.launch.holdings import Holdings
from pymc.logs import say_exception, set_role
from pymc.server_context import ServerContext

_CRASHED = 70

# What a process does in its slot, until it returns its exit code.
Life = Callable[[ServerContext, int], int]


class Launcher:
    """Starts processes for whoever watches over them; knows nothing of those that run."""

    def __init__(self, holdings: Holdings) -> None:
        """Borrows the holdings. Only workers can be started before load_keeper()."""
        self._holdings = holdings
        self._lives: dict[Role, Life] = {Role.WORKER: worker.run}

    def load_keeper(self) -> None:
        """Loads the keeper's code, a quarter of all, here and not in each keeper for itself."""
        from pymc import keeper

        self._lives[Role.KEEPER] = keeper.run

    def start(self, kind: Role, slot: int) -> int:
        """Forks a process that takes this slot; returns its pid. Raises OSError.

        Requires: whoever had the slot is gone, and no thread runs.
        """
        pid = fork_child()
        if pid == 0:
            self._live(kind, slot)
        return pid

    def _live(self, kind: Role, slot: int) -> None:
        """Lives the whole life of the child process; never returns to the supervisor's code."""
        code, name = _CRASHED, name_of(kind, slot)
        try:
            show_name(f"pymc: {name}")
            set_role(name)
            self._holdings.lifeline.close_writer()
            if self._holdings.context.settings.lock_memory:
                lock_all_memory()
            code = self._lives[kind](self._holdings.context, slot)
        except BaseException:
            say_exception(f"pymc: {name}")
        finally:
            os._exit(code)


def name_of(kind: Role, slot: int) -> str:
    """Returns what the log and the list of processes call a process, as `worker 0`."""
    return f"worker {slot}" if kind is Role.WORKER else "keeper"


def show_name(name: str) -> None:
    """Shows this name of the process in place of its command line and its thread's name."""
    setproctitle(name)
    setthreadtitle(name)


def show_program(program: str) -> None:
    """Shows the program's name and its options in place of the interpreter's.

    What the launcher program started has its own words already, each for itself, and keeps them.
    """
    if sys.orig_argv != sys.argv:
        setproctitle(" ".join([program, *sys.argv[1:]]))
    setthreadtitle(program)
