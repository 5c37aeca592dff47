"""What a process of the server does to itself: its name, its limits."""

import ctypes
import os
import resource
import signal
import sys

from setproctitle import setproctitle, setthreadtitle

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
# Signals that the supervisor waits for; in its children they act (csrc/base/child.c).
WAITED_SIGNALS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
)
_libc = ctypes.CDLL(None, use_errno=True)


def name_supervisor(program: str) -> None:
    """Shows the program's name and its options in place of the interpreter's."""
    setproctitle(" ".join([program, *sys.argv[1:]]))
    setthreadtitle(program)


def name_child(role: str) -> None:
    """Shows what a child does, as `pymc: worker 0`."""
    setproctitle(f"pymc: {role}")
    setthreadtitle(f"pymc: {role}")


def allow_core_dumps() -> None:
    """Lets this process dump core although it changed its user."""
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def lock_all_memory() -> str:
    """Keeps this process in RAM, each page once it is touched; what went wrong, "" if nothing."""
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return ""
    return os.strerror(ctypes.get_errno())


def raise_limit(kind: int, wanted: int) -> bool:
    """Raises a soft limit to `wanted` at least, and the hard one where that is needed."""
    soft, hard = resource.getrlimit(kind)
    if _is_enough(soft, wanted):
        return True
    new_hard = hard if _is_enough(hard, wanted) else wanted
    try:
        resource.setrlimit(kind, (wanted, new_hard))
    except (ValueError, OSError):
        return False
    return True


def raise_limit_to_hard(kind: int) -> None:
    """Raises a soft limit as far as it may go."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (hard, hard))


def _is_enough(limit: int, wanted: int) -> bool:
    if limit == resource.RLIM_INFINITY:
        return True
    return wanted != resource.RLIM_INFINITY and limit >= wanted
