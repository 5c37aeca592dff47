"""Limits, user and background: what the process becomes before it serves."""

import contextlib
import os
import pwd
import resource

from pymc.config import EXIT_FAILURE, EXIT_NO_USER, EXIT_OS_ERROR, Settings, StartupError
from pymc.core.errors import SystemCallError
from pymc.core.process import allow_core_dumps, give_up_privileges, hide_memory
from pymc.logs import attach, say
from pymc.record import replace

# Descriptors of a process besides clients and listeners: loop, inboxes, standard streams.
_OWN_FDS = 64
_FDS_PER_WORKER = 4


def raise_limits(settings: Settings, listening_sockets: int) -> Settings:
    """Raises limits of core files, open files and locked memory; returns the settings with as many
    connections as may be.

    Raises StartupError in memcached's words.
    """
    if settings.core_dumps and not _raise_limit(resource.RLIMIT_CORE, resource.RLIM_INFINITY):
        _raise_limit_to_hard(resource.RLIMIT_CORE)
        if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
            raise StartupError("failed to ensure core file creation", EXIT_OS_ERROR)
    own = listening_sockets + _OWN_FDS + settings.workers * _FDS_PER_WORKER
    settings = _raise_open_files(settings, own)
    if settings.lock_memory:
        # Only root may, and only before it becomes somebody else; mlockall() says when it failed.
        _raise_limit(resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY)
    return settings


def _raise_open_files(settings: Settings, own: int) -> Settings:
    """Sets aside descriptors for all clients and the process itself, or as many as may be.

    Each worker has descriptors of its own and clients are spread over all workers, so a hard limit
    of just -c, and often less, serves them all. Where it does not, -c is lowered to what it serves.
    """
    wanted = settings.connections_max + own
    if _raise_limit(resource.RLIMIT_NOFILE, wanted):
        return settings
    _raise_limit_to_hard(resource.RLIMIT_NOFILE)
    have, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    served = (have - own) * settings.workers
    if served >= settings.connections_max:
        return settings
    failed = (
        "failed to set rlimit for open files. Try starting as root or requesting smaller maxconns"
        " value."
    )
    limits = f"-c {settings.connections_max} wants {wanted} open files, the hard limit is {have}"
    if served <= 0:
        hint = f"{limits}, of which the server itself takes {own}"
        raise StartupError(failed, EXIT_OS_ERROR, hint)
    say(f"warning: {failed} {limits}: at most {served} connections are served")
    return replace(settings, connections_max=served)


def become_user(settings: Settings, *, keeps_root: bool = False) -> None:
    """Gives up root for the user of -u. Raises StartupError.

    With `keeps_root` not for good: root stays the saved user id until keep_user().
    """
    if os.geteuid() != 0 or not settings.user:
        return
    try:
        user = pwd.getpwnam(settings.user)
    except KeyError:
        raise StartupError(
            f"can't find the user {settings.user} to switch to", EXIT_NO_USER
        ) from None
    try:
        os.setgroups([])
        os.setgid(user.pw_gid)
        saved = 0 if keeps_root else user.pw_uid
        os.setresuid(user.pw_uid, user.pw_uid, saved)
    except OSError:
        raise StartupError(
            f"failed to assume identity of user {settings.user}", EXIT_OS_ERROR
        ) from None
    if settings.core_dumps:
        allow_core_dumps()


def keep_user(settings: Settings, user_id: int) -> None:
    """Stays that user for good; who is it already stays as it is."""
    if os.getresuid() == (user_id,) * 3:
        return
    os.setresuid(user_id, user_id, user_id)
    if settings.core_dumps:
        allow_core_dumps()


def confine(settings: Settings) -> None:
    """Gives up what no process of the server needs once root is given up.

    Who holds keys or passwords is kept out of core files, unless -r asks for them.
    """
    with contextlib.suppress(SystemCallError):
        # Kernels before 3.5 do not know it; then it is as it was.
        give_up_privileges()
    holds_secrets = settings.tls_enabled or settings.sasl_enabled or settings.auth_file_path
    if holds_secrets and not settings.core_dumps:
        hide_memory()


def daemonize(settings: Settings) -> None:
    """Goes on in a process of its own session; the one that was started ends with 0.

    With -r the folder stays as it is, so that core files land there; with -v the streams do.
    """
    try:
        for _ in range(2):
            if os.fork() != 0:
                os._exit(0)
            with contextlib.suppress(PermissionError):
                os.setsid()
        if not settings.core_dumps:
            os.chdir("/")
        if settings.verbosity == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(null, stream)
            os.close(null)
            attach()
    except OSError:
        raise StartupError("failed to daemon() in order to daemonize", EXIT_FAILURE) from None


def _raise_limit(kind: int, wanted: int) -> bool:
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


def _raise_limit_to_hard(kind: int) -> None:
    """Raises a soft limit as far as it may go."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (hard, hard))


def _is_enough(limit: int, wanted: int) -> bool:
    if limit == resource.RLIM_INFINITY:
        return True
    return wanted != resource.RLIM_INFINITY and limit >= wanted
