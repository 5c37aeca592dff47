"""From settings to all that a server needs before its first process: the order of a start."""

import os
from typing import TYPE_CHECKING

from pymc.auth_file import Users, read_password_file
from pymc.config import EXIT_USAGE, SLAB_PAGE_BYTES, Settings, StartupError
from pymc.config.errors import nearest
from pymc.core.arena import Arena
from pymc.core.engine import COMMAND_GROUPS, ListenerKind, command_words
from pymc.launch import identity, sockets
from pymc.launch.exposure import exposed
from pymc.launch.holdings import Holdings, socket_identity
from pymc.launch.memory import create_arena, open_flash, settle_memory
from pymc.launch.pidfile import become_user_for_pidfile, write_pidfile
from pymc.logs import attach, say, stamp
from pymc.messages import Inbox, Lifeline
from pymc.policy.slab_sizes import ladder
from pymc.server_context import ListeningAddress, ServerContext
from pymc.stats.cpu_times import RecentCpuTimes

if TYPE_CHECKING:
    from pymc.tls.material import Material


def prepare(settings: Settings) -> Holdings:
    """Does everything that may fail, in the process that was called, so that the caller knows.

    Returns in the process that stays, which is another one for a daemon. Raises StartupStop.
    """
    # Before the user changes, who may not be allowed to open it.
    attach()
    stamp(settings.log_format == "full")
    _check_disabled_commands(settings)
    ports = len(settings.listeners) + len(settings.udp_listeners)
    listeners = ports * settings.workers + bool(settings.unix_socket_path)
    settings = identity.raise_limits(settings, 2 * max(listeners, 1))
    settings = settle_memory(settings)
    # Root may read keys that the user of -u may not.
    tls = _load_material(settings) if settings.tls_enabled else None
    pidfile = become_user_for_pidfile(settings)
    users, sasl_users = _users(settings)
    addresses = sockets.open_addresses(settings)
    for warning in [*sockets.warnings(settings), *exposed(settings, addresses)]:
        say(warning)
    arena, plan = create_arena(settings)
    if tls:
        _try_material(settings, tls, arena)
    flash = open_flash(settings, arena, plan)
    if settings.verbosity > 1:
        _describe(settings, addresses)
    if settings.daemon:
        identity.daemonize(settings)
    # Its number is known at last, and it has no children yet.
    if pidfile:
        write_pidfile(settings, pidfile)
    identity.confine(settings)
    lifeline = Lifeline.create()
    context = ServerContext(
        settings=settings,
        arena=arena,
        supervisor_pid=os.getpid(),
        lifeline_fd=lifeline.reader_fd,
        addresses=addresses,
        worker_inboxes=tuple(Inbox.create() for _ in range(settings.workers)),
        keeper_inbox=Inbox.create(),
        cpu_times=RecentCpuTimes(),
        flash=flash,
        users=users,
        tls=tls,
        sasl_users=sasl_users,
    )
    return Holdings(context, lifeline, pidfile, socket_identity(settings.unix_socket_path))


def _load_material(settings: Settings) -> "Material":
    # Most servers do without it.
    from pymc.launch.certificates import load_material

    return load_material(settings)


def _try_material(settings: Settings, material: "Material", arena: Arena) -> None:
    from pymc.launch.certificates import try_material

    try_material(settings, material, arena)


def _check_disabled_commands(settings: Settings) -> None:
    known = (*command_words(), *COMMAND_GROUPS)
    for word in settings.disabled_commands:
        if word not in known:
            raise StartupError(
                f'disable_commands: no command is called "{word}"',
                EXIT_USAGE,
                nearest(word, known) or f"the commands are {' '.join(known)}",
            )


def _users(settings: Settings) -> tuple[Users | None, Users | None]:
    """Who may log in as a text client (-Y), and who as a binary one (-S)."""
    users = None if settings.auth_file_path is None else Users(settings.auth_file_path)
    if not settings.sasl_enabled:
        return users, None
    if settings.sasl_password_path is None:
        return users, users
    return users, Users(settings.sasl_password_path, read_password_file)


def _describe(settings: Settings, addresses: tuple[ListeningAddress, ...]) -> None:
    for number, chunk in enumerate(ladder(settings), start=1):
        say(f"slab class {number:3}: chunk size {chunk:9} perslab {SLAB_PAGE_BYTES // chunk:7}")
    shown = "auto-negotiate" if settings.protocol == "auto" else settings.protocol
    for address in addresses:
        spoken = "udp" if address.kind is ListenerKind.UDP else shown
        say(f"<{address.sockets[0].fileno()} server listening ({spoken})")
