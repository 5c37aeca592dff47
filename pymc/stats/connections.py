"""`stats conns`: who is connected, and what listens."""

import socket
from collections.abc import Iterator

from pymc.core.engine import ListenerKind
from pymc.core.snapshots import ConnectionSnapshot, ConnectionState, read_connections
from pymc.server_context import ListeningAddress, ServerContext
from pymc.stats.lines import stat_lines

_STATES = {
    ConnectionState.FREE: "conn_closed",
    ConnectionState.READ: "conn_read",
    ConnectionState.NREAD: "conn_nread",
    ConnectionState.SWALLOW: "conn_swallow",
    ConnectionState.WRITE: "conn_mwrite",
    # Who waits for an answer of ours, such as this one.
    ConnectionState.PARKED: "conn_parse_cmd",
    # Who waits for a read from flash.
    ConnectionState.IO_QUEUE: "conn_io_queue",
    ConnectionState.WATCH: "conn_watch",
}

Pair = tuple[str, object]

_RECORDS_AT_ONCE = 8


def connection_parts(server: ServerContext) -> Iterator[bytes]:
    """The lines, a connection's at a time, with the END."""
    settings = server.settings
    now = server.arena.seconds()
    unix_path = next((str(a.name) for a in server.addresses if a.kind is ListenerKind.UNIX), "")
    most = settings.connections_max + settings.workers
    for some in read_connections(server.arena, _RECORDS_AT_ONCE):
        for one in some:
            yield stat_lines(_connection(one, now, unix_path))
    for number, address in enumerate(server.addresses, start=most):
        yield stat_lines(_listener(f"{number}", address, now))
    yield b"END\r\n"


def _connection(one: ConnectionSnapshot, now: int, unix_path: str) -> Iterator[Pair]:
    if one.peer is None or one.local is None:
        yield f"{one.id}:addr", f"unix:{unix_path}"
        yield f"{one.id}:listen_addr", f"unix:{unix_path}"
    else:
        yield f"{one.id}:addr", shown_address(*one.peer)
        yield f"{one.id}:listen_addr", shown_address(*one.local)
    if one.identity:
        yield f"{one.id}:identity", one.identity.replace(" ", "%20")
    yield f"{one.id}:state", _STATES[one.state]
    yield f"{one.id}:secs_since_last_cmd", max(now - one.last_command_seconds, 0)


def _listener(number: str, address: ListeningAddress, now: int) -> Iterator[Pair]:
    is_udp = address.kind is ListenerKind.UDP
    if is_udp:
        yield f"{number}:UDP", "UDP"
    if isinstance(address.name, str):
        yield f"{number}:addr", f"unix:{address.name}"
    else:
        shown = shown_address(*address.name, family=address.family)
        yield f"{number}:addr", shown.replace("tcp", "udp", 1) if is_udp else shown
    yield f"{number}:state", "conn_read" if is_udp else "conn_listening"
    yield f"{number}:secs_since_last_cmd", now


def shown_address(host: str, port: int, family: int = socket.AF_UNSPEC) -> str:
    """An address as memcached writes it."""
    if family == socket.AF_INET6 or ":" in host:
        return f"tcp6:[{host}]:{port}"
    return f"tcp:{host}:{port}"
