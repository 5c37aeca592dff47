"""Listening sockets: one per worker for each TCP or UDP address, one for all on a unix path.

All are bound before the first one listens, and the supervisor keeps them open, so that the death
of a worker resets no connection that waits to be accepted.
"""

import errno
import os
import socket
import stat

from pymc.config import EXIT_OS_ERROR, Listener, Settings, StartupError, Tls
from pymc.core.engine import ListenerKind, ListenerOptions, ListenerTls, Protocol
from pymc.logs import say
from pymc.server_context import ListeningAddress

_FASTOPEN_SYSCTL = "/proc/sys/net/ipv4/tcp_fastopen"
_FASTOPEN_SERVER_BIT = 2
_UDP_SEND_BYTES = 4 << 20
_SOMAXCONN_SYSCTL = "/proc/sys/net/core/somaxconn"


class BindError(Exception):
    """An address cannot be listened on; `reason` is the system's word for it."""

    def __init__(self, reason: str, details: str = "", hint: str = "") -> None:
        """`details` are lines to print before the message, `hint` is one for behind it."""
        super().__init__(reason)
        self.reason = reason
        self.details = details
        self.hint = hint


def open_addresses(settings: Settings) -> tuple[ListeningAddress, ...]:
    """Binds and listens on all that the settings name. Raises StartupError as memcached does."""
    addresses: list[ListeningAddress] = []
    try:
        for listener in settings.listeners:
            addresses += _open_ports(listener, settings, ListenerKind.TCP)
        for address in addresses:
            _listen(address, settings)
    except BindError as error:
        if settings.listen:
            where = f"one of interface(s) {','.join(settings.listen)}"
        else:
            where = f"TCP port {settings.port}"
        raise StartupError(
            f"{error.details}failed to listen on {where}: {error.reason}", EXIT_OS_ERROR, error.hint
        ) from None
    try:
        addresses += _open_udp(settings)
        if settings.unix_socket_path is not None:
            addresses.append(_open_unix(settings))
    except BaseException:
        for address in addresses:
            address.close()
        raise
    return tuple(addresses)


def _open_udp(settings: Settings) -> list[ListeningAddress]:
    try:
        return [
            address
            for listener in settings.udp_listeners
            for address in _open_ports(listener, settings, ListenerKind.UDP)
        ]
    except BindError as error:
        raise StartupError(
            f"{error.details}failed to listen on UDP port {settings.udp_port}: {error.reason}",
            EXIT_OS_ERROR,
            error.hint,
        ) from None


def _hint(number: int, host: str | None, port: int) -> str:
    """Returns what memcached's words for a failed bind() leave out."""
    where = f"{host or 'any address'}, port {port}"
    if number == errno.EADDRINUSE:
        return f"{where}: another program listens there"
    if number == errno.EACCES:
        return f"{where}: ports this low are for root, or who has CAP_NET_BIND_SERVICE"
    if number == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address"
    return where


def _listen(address: ListeningAddress, settings: Settings) -> None:
    try:
        for one in address.sockets:
            one.listen(settings.listen_backlog)
    except OSError as error:
        raise BindError(error.strerror or str(error)) from None


def warnings(settings: Settings) -> list[str]:
    """Lists what the system's settings will take away from what was asked for."""
    found = []
    somaxconn = _read_number(_SOMAXCONN_SYSCTL)
    if somaxconn is not None and settings.listen_backlog > somaxconn:
        found.append(
            f"WARNING: net.core.somaxconn is {somaxconn}:"
            f" the listen backlog of {settings.listen_backlog} is cut down to it."
        )
    fastopen = _read_number(_FASTOPEN_SYSCTL)
    is_allowed = fastopen is None or fastopen & _FASTOPEN_SERVER_BIT
    if settings.tcp_fastopen_queue and not is_allowed:
        found.append(
            f"WARNING: net.ipv4.tcp_fastopen is {fastopen}:"
            " it has to include 2 for TCP Fast Open to work on this server."
        )
    return found


def _read_number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _open_ports(
    listener: Listener, settings: Settings, kind: ListenerKind
) -> list[ListeningAddress]:
    """Binds each address that the host's name stands for; those that are busy are left out.

    Raises BindError when none is left, or when one fails for another reason than being busy.
    """
    try:
        found = socket.getaddrinfo(
            listener.host,
            listener.port,
            socket.AF_UNSPEC,
            socket.SOCK_DGRAM if kind is ListenerKind.UDP else socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        details = f"getaddrinfo(): {error.strerror}\n"
        raise BindError("Success", details, f"no address is known for {listener.host}") from None
    opened = []
    # Datagrams are never encrypted.
    tls = Tls.NONE if kind is ListenerKind.UDP else listener.tls
    options = _options(kind, tls, listener.protocol)
    for family, stream, protocol, _, name in found:
        try:
            sockets = _bind_group((family, stream, protocol), name, settings)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            # A machine without IPv6 still resolves to it.
            if error.errno == errno.EAFNOSUPPORT and len(found) > 1:
                continue
            raise BindError(
                os.strerror(errno.EINVAL),
                f"bind(): {error.strerror}\n",
                _hint(error.errno or 0, str(name[0]), listener.port),
            ) from None
        host, port = sockets[0].getsockname()[:2]
        opened.append(ListeningAddress(options, (host, port), family, sockets, listener.tag))
    if not opened:
        hint = _hint(errno.EADDRINUSE, listener.host, listener.port)
        raise BindError(os.strerror(errno.EADDRINUSE), hint=hint)
    return opened


def _bind_group(
    kind: tuple[int, int, int], name: tuple[object, ...], settings: Settings
) -> tuple[socket.socket, ...]:
    """Binds a socket per worker to one address.

    SO_REUSEPORT alone would let a second server of the same user in, and the kernel would deal out
    connections to both: so a socket without it is bound first, which fails beside any listener.
    """
    with _port_socket(kind, settings) as probe:
        probe.bind(name)
        name = (name[0], probe.getsockname()[1], *name[2:])
        if kind[1] == socket.SOCK_DGRAM:
            # Beside it none could be bound.
            probe.close()
        sockets: list[socket.socket] = []
        try:
            for _ in range(settings.workers):
                one = _port_socket(kind, settings)
                sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.bind(name)
        except BaseException:
            for one in sockets:
                one.close()
            raise
    return tuple(sockets)


def _port_socket(kind: tuple[int, int, int], settings: Settings) -> socket.socket:
    one = socket.socket(*kind)
    one.setblocking(False)
    if kind[0] == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind[1] == socket.SOCK_DGRAM:
        # An answer of many datagrams leaves in one go.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UDP_SEND_BYTES)
        return one
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit these two.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if settings.tcp_fastopen_queue:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, settings.tcp_fastopen_queue)
    return one


def _open_unix(settings: Settings) -> ListeningAddress:
    path = settings.unix_socket_path or ""
    _remove_old_socket(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.setblocking(False)
    old_mask = os.umask(~settings.unix_socket_mode & 0o777)
    try:
        one.bind(path)
    except OSError as error:
        one.close()
        reason = error.strerror or str(error)
        raise StartupError(
            f"bind(): {reason}\nfailed to listen on UNIX socket: {path}:"
            f" {os.strerror(errno.EINVAL)}",
            EXIT_OS_ERROR,
        ) from None
    finally:
        os.umask(old_mask)
    one.listen(settings.listen_backlog)
    options = _options(ListenerKind.UNIX, Tls.NONE, settings.protocol)
    return ListeningAddress(options, path, socket.AF_UNIX, (one,))


def _options(kind: ListenerKind, tls: Tls, protocol: str) -> ListenerOptions:
    return ListenerOptions(kind, ListenerTls[tls.name], Protocol[protocol.upper()])


def _remove_old_socket(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError:
        pass


def write_port_file(path: str, addresses: tuple[ListeningAddress, ...]) -> None:
    """Writes the TCP and UDP ports to a file, whole or not at all; says so when it cannot."""
    temporary = f"{path}.lck"
    families = {socket.AF_INET: "INET", socket.AF_INET6: "INET6"}
    lines = [
        f"{address.kind.name} {families[socket.AddressFamily(address.family)]}: {address.name[1]}\n"
        for address in addresses
        if address.kind is not ListenerKind.UNIX
    ]
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines(lines)
        os.rename(temporary, path)
    except OSError as error:
        say(f'Failed to open "{temporary}": {error.strerror}')
