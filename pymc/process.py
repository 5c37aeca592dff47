"""What a process of the server does to itself: its name, its limits, its end with the parent."""

import ctypes
import os
import resource
import signal
import sys

from setproctitle import setproctitle, setthreadtitle

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
# Signals that the supervisor waits for; everywhere else they act.
WAITED_SIGNALS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
)
_libc = ctypes.CDLL(None, use_errno=True)


def name_supervisor(program: str) -> None:
    """Shows the program's name and its options in place of the interpreter's.

    What the launcher started has its own words already, each for itself, and keeps them.
    """
    if sys.orig_argv != sys.argv:
        setproctitle(" ".join([program, *sys.argv[1:]]))
    setthreadtitle(program)


def name_child(role: str) -> None:
    """Shows what a child does, as `pymc: worker 0`."""
    setproctitle(f"pymc: {role}")
    setthreadtitle(f"pymc: {role}")


def die_with_parent(parent_pid: int) -> None:
    """Lets the kernel kill this process when its parent ends, even with SIGKILL."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # It may have ended before that.
    if os.getppid() != parent_pid:
        os._exit(1)


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


def become_child() -> None:
    """Gives signals their usual meaning in a process that the supervisor forked.

    SIGINT reaches the whole terminal's group; the supervisor alone answers it.
    """
    for number in (*WAITED_SIGNALS, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Who has something to read again asks for it; until then it has the newest anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
