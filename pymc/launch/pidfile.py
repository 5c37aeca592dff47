"""The file of `-P`: tried before root's rights go, written with the same rights when all is open.

Between the two the process acts as its user already and keeps root as its saved user id, which
ends before the first child is there.
"""

import contextlib
import os

from pymc.config import EXIT_OS_ERROR, Settings, StartupError
from pymc.launch.identity import become_user, keep_user
from pymc.logs import say


def become_user_for_pidfile(settings: Settings) -> str | None:
    """Becomes the user of -u; returns where to write the pid file, if there will be one.

    Raises StartupError when it cannot be written and the server is to be a daemon: nobody would
    find it again, or hear why. In the foreground the server goes on, as memcached does.
    """
    if not settings.pidfile_path:
        become_user(settings)
        return None
    # A daemon changes its folder.
    path = os.path.abspath(settings.pidfile_path)
    fault = _fault_of(path)
    become_user(settings, keeps_root=not fault)
    if fault and os.geteuid() != 0:
        # Root under systemd may lack the right to write into its user's folder, as /run/memcached.
        fault = _fault_of(path)
    if not fault:
        return path
    said = f"Could not open the pid file {_temporary(path)} for writing: {fault}"
    if settings.daemon:
        raise StartupError(said, EXIT_OS_ERROR)
    say(said)
    return None


def write_pidfile(settings: Settings, path: str) -> None:
    """Writes this process's id, whole or not at all, and gives up root for good."""
    with contextlib.suppress(OSError, ValueError):
        with open(path, encoding="ascii") as file:
            other = int(file.read())
        if other > 0 and _is_running(other):
            say(f"WARNING: The pid file contained the following (running) pid: {other}")
    real_user, _, saved_user = os.getresuid()
    if saved_user == 0:
        os.seteuid(0)
    try:
        with os.fdopen(_create(path), "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        os.rename(_temporary(path), path)
    except OSError as error:
        say(f"Could not write the pid file {path}: {error.strerror}")
    keep_user(settings, real_user)


def _fault_of(path: str) -> str:
    """Returns why there cannot be a file; empty when there can."""
    if os.path.isdir(path):
        return "Is a directory"
    try:
        os.close(_create(path))
        os.unlink(_temporary(path))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _create(path: str) -> int:
    temporary = _temporary(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    # Whoever else may write into the folder must not lead root to another file.
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)


def _temporary(path: str) -> str:
    return f"{path}.tmp"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
