"""What a process of the server does to itself: its name, its limits."""

import resource
import signal
import sys

from setproctitle import setproctitle, setthreadtitle

# Signals that the supervisor waits for; in its children most act (csrc/base/process.c).
WAITED_SIGNALS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
)


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
